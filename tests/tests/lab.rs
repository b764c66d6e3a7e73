//! The lab itself: what it starts, it ends; what it makes, it removes. Also when a test fails, or is killed.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::command::run;
use e2e::namespaces::Machine;
use e2e::needs::lab_or_skip;
use e2e::peers::peer;
use e2e::tree::Tree;
use e2e::wait;

const LIMIT: Duration = Duration::from_secs(30);
/// Makes this test binary the one that gets killed: the file it writes its traces to.
const VICTIM_VARIABLE: &str = "BASALT_TEST_VICTIM";

/// What a machine leaves on its host while it runs.
#[derive(Debug)]
struct Traces {
    folder: PathBuf,
    cgroup: PathBuf,
    /// The pid namespace: every process of the machine is in it. Open, so that the kernel does not give its number to
    /// the next machine.
    namespace: File,
}

impl Traces {
    fn of(machine: &Machine) -> Self {
        let folder = machine.tree().beside().to_owned();
        Self { folder, cgroup: machine.cgroup(), namespace: namespace_of(machine.init_pid()) }
    }

    fn processes(&self) -> Vec<PathBuf> {
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let number = self.namespace.metadata().unwrap().ino();
        let namespace = |process: &PathBuf| fs::metadata(process.join("ns/pid"));
        all.filter(|process| namespace(process).is_ok_and(|file| file.ino() == number)).collect()
    }

    fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = self.folder.to_str().unwrap();
        mounts.lines().filter(|line| line.contains(folder)).map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_present(&self) {
        assert!(self.folder.is_dir());
        assert!(self.cgroup.is_dir());
        assert!(self.processes().len() > 3, "{:?}", self.processes());
    }

    #[track_caller]
    fn assert_gone(&self) {
        assert_eq!(self.processes(), [] as [PathBuf; 0]);
        assert_eq!(self.mounts(), [] as [String; 0]);
        assert!(!self.cgroup.exists(), "{}", self.cgroup.display());
        assert!(!self.folder.exists(), "{}", self.folder.display());
    }
}

fn namespace_of(pid: i32) -> File {
    File::open(format!("/proc/{pid}/ns/pid")).unwrap()
}

#[test]
fn nothing_stays_of_a_machine_that_powered_off() {
    let Some(tree) = Tree::debian() else { return };
    let machine = Machine::boot(tree).unwrap();
    let traces = Traces::of(&machine);
    traces.assert_present();
    let tree = machine.poweroff().unwrap();
    assert_eq!(traces.processes(), [] as [PathBuf; 0]);
    assert!(!traces.cgroup.exists());
    drop(tree);
    traces.assert_gone();
}

#[test]
fn nothing_stays_of_a_machine_whose_test_failed() {
    let Some(tree) = Tree::debian() else { return };
    let machine = Machine::boot(tree).unwrap();
    let traces = Traces::of(&machine);
    traces.assert_present();
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _machine = machine;
        panic!("this panic is part of the test");
    }));
    assert!(failed.is_err());
    traces.assert_gone();
}

/// A killed process removes nothing. Its machine dies with it all the same, and the next test removes the rest.
#[test]
fn nothing_stays_of_a_machine_whose_test_was_killed() {
    if let Some(file) = std::env::var_os(VICTIM_VARIABLE) {
        let machine = Machine::boot(Tree::debian().unwrap()).unwrap();
        let Traces { folder, cgroup, .. } = Traces::of(&machine);
        let (folder, cgroup) = (folder.display(), cgroup.display());
        let text = format!("{folder}\n{cgroup}\n{}", machine.init_pid());
        let file = Path::new(&file);
        fs::write(file.with_extension("new"), text).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
        let _ = wait::until("being killed", Duration::from_secs(600), || None::<()>);
        return;
    }
    if !lab_or_skip() || Tree::debian().is_none() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("traces");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_stays_of_a_machine_whose_test_was_killed"])
        .env(VICTIM_VARIABLE, &file)
        .env_remove(e2e::report::VARIABLE)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = wait::until("the victim to boot its machine", Duration::from_secs(180), || {
        fs::read_to_string(&file).ok()
    });
    let lines = lines.unwrap();
    let [folder, cgroup, init] = lines.lines().collect::<Vec<_>>().try_into().unwrap();
    let namespace = namespace_of(init.parse().unwrap());
    let traces = Traces { folder: folder.into(), cgroup: cgroup.into(), namespace };
    traces.assert_present();
    victim.kill().unwrap();
    victim.wait().unwrap();
    let is_dead = || traces.processes().is_empty().then_some(());
    wait::until("the machine to die with its test", LIMIT, is_dead).unwrap();
    // Or somebody's who runs beside this one and came first.
    drop(Tree::debian().unwrap());
    traces.assert_gone();
}

#[test]
fn a_machine_that_cannot_boot_says_why() {
    let Some(tree) = Tree::debian() else { return };
    fs::remove_file(tree.path("/usr/sbin/init")).unwrap();
    let error = format!("{:#}", Machine::boot(tree).unwrap_err());
    assert!(error.contains("/sbin/init"), "{error}");
    assert!(error.contains("before it booted"), "{error}");
}

#[test]
fn a_tree_is_changed_for_itself_only() {
    let (Some(first), Some(second)) = (Tree::debian(), Tree::debian()) else { return };
    first.write("/etc/own/note", "first", 0o600).unwrap();
    fs::remove_file(first.path("/etc/hostname")).unwrap();
    assert_eq!(first.read("/etc/own/note").unwrap(), "first");
    assert!(!second.path("/etc/own").exists());
    assert_eq!(second.read("/etc/hostname").unwrap(), "localhost\n");
    // Links are followed inside the tree: the host's file of that name is another one.
    std::os::unix::fs::symlink("/etc/own/note", second.path("/etc/link")).unwrap();
    second.write("/etc/own/note", "second", 0o600).unwrap();
    assert_eq!(second.read("/etc/link").unwrap(), "second");
}

#[test]
fn a_tree_can_be_a_copy() {
    // A colon separates the layers of an overlay: this original cannot be one.
    let Some(tree) = Tree::debian() else { return };
    let original = tree.beside().join("a:b");
    fs::create_dir(&original).unwrap();
    fs::write(original.join("file"), "text").unwrap();
    let copy = Tree::clone_of(&original).unwrap();
    copy.write("/file", "other", 0o600).unwrap();
    assert_eq!(copy.read("file").unwrap(), "other");
    assert_eq!(fs::read_to_string(original.join("file")).unwrap(), "text");
}

#[test]
fn layers_go_over_the_tree_and_never_through_its_links() {
    let Some(tree) = Tree::debian() else { return };
    let layer = tempfile::tempdir().unwrap();
    fs::create_dir_all(layer.path().join("usr/bin")).unwrap();
    fs::write(layer.path().join("usr/bin/new"), "program").unwrap();
    tree.lay_over(layer.path()).unwrap();
    assert_eq!(tree.read("/bin/new").unwrap(), "program");
    // Debian's /bin is a link: a layer with a folder of that name does not fit this image.
    fs::create_dir(layer.path().join("bin")).unwrap();
    assert!(tree.lay_over(layer.path()).is_err());
}

#[test]
fn images_are_unpacked_over_the_tree() {
    let Some(umoci) = peer("umoci") else { return };
    let Some(tree) = Tree::debian() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (layout, program) = (folder.path().join("layout"), folder.path().join("program"));
    fs::write(&program, "program").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o750)).unwrap();
    let umoci_does =
        |arguments: &[&str]| run(Command::new(&umoci.program).args(arguments)).unwrap();
    let image = format!("{}:node", layout.display());
    umoci_does(&["init", "--layout", layout.to_str().unwrap()]);
    umoci_does(&["new", "--image", &image]);
    umoci_does(&["insert", "--image", &image, program.to_str().unwrap(), "/usr/libexec/program"]);

    tree.unpack_image(&umoci, &layout, "node").unwrap();
    assert_eq!(tree.read("/usr/libexec/program").unwrap(), "program");
    let mode = tree.path("/usr/libexec/program").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
    assert!(tree.unpack_image(&umoci, &layout, "other").is_err());
}
