//! Baked-in images: in containerd at each boot before the kubelet starts, without a network, whatever was lost before;
//! and never cleared away.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use basalt_image::io::digest::Digest;
use basalt_image::oci::Architecture;
use basalt_image::pause::pause;
use e2e::images::{self, PodImage, Recipe};
use e2e::namespaces::Machine;
use e2e::peers::peer;
use e2e::pod_host::{KUBELET_DROP_INS, MANIFESTS, PodHost};
use e2e::tree::Tree;
use e2e::wait::until;
use e2e::{checkout, programs};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(90);
/// The kubelet forgets ended containers once a minute, and images that nobody uses some time after that.
const CLEARING_LIMIT: Duration = Duration::from_secs(240);
const PAUSE: &str = "localhost/basalt/pause:1";
const BILL: &str = "/usr/lib/basalt/image.json";
const ARCHIVES: &str = "/usr/share/basalt/images";
const CTR: [&str; 3] = ["ctr", "--namespace", "k8s.io"];

/// A node with two baked-in images: the pause image of the build, and one that a pod uses.
struct Node {
    host: PodHost,
    web: PodImage,
    _folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Option<Node> {
        let folder = tempfile::tempdir().unwrap();
        let host = PodHost::new(folder.path())?;
        let recipe = Recipe::of_busybox(
            "web",
            "1",
            &["sh", "httpd"],
            &["/usr/bin/httpd", "-f", "-p", "127.0.0.1:8099", "-h", "/etc"],
        );
        let web = images::make(&recipe, &peer("busybox")?, folder.path()).unwrap();
        Some(Node { host, web, _folder: folder })
    }

    /// A tree with the programs, the units of the image and the archives; nothing is imported yet.
    fn tree(&self) -> Option<Tree> {
        let (tree, agent) = (Tree::debian()?, programs::agent()?);
        self.host.equip(&tree, "n1", "127.0.0.1").unwrap();
        fs::copy(agent, tree.path("/usr/bin/basalt-agent")).unwrap();
        for unit in ["basalt-images.service", "basalt-images.timer"] {
            let text = fs::read(checkout::root().join("agent/dist/images").join(unit)).unwrap();
            tree.write(&format!("/usr/lib/systemd/system/{unit}"), text, 0o644).unwrap();
        }
        enable(&tree, "kubelet.service.wants", "/usr/lib/systemd/system/basalt-images.service");
        enable(&tree, "multi-user.target.wants", "/etc/systemd/system/kubelet.service");
        let sandbox = format!(
            "version = 3\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\n  sandbox = '{PAUSE}'\n"
        );
        tree.write("/etc/containerd/conf.d/95-pause.toml", sandbox, 0o644).unwrap();
        fs::create_dir_all(tree.path(ARCHIVES)).unwrap();
        let pause = pause(Architecture::Amd64).unwrap();
        let rows = json!([
            bake(&tree, &self.web.reference(), &fs::read(&self.web.archive).unwrap()),
            bake(&tree, &format!("{PAUSE}@{}", pause.manifest), &pause.archive),
        ]);
        bill(&tree.root(), &rows);
        tree.write(&format!("{MANIFESTS}/web.yaml"), self.manifest(), 0o644).unwrap();
        Some(tree)
    }

    fn manifest(&self) -> String {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: kube-system}}
spec:
  hostNetwork: true
  priorityClassName: system-node-critical
  priority: 2000001000
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: {}
      imagePullPolicy: Never
",
            self.web.reference()
        )
    }

    /// The names that the store has to have.
    fn names(&self) -> [String; 4] {
        let pause = pause(Architecture::Amd64).unwrap().manifest;
        [
            PAUSE.to_owned(),
            format!("localhost/basalt/pause@{pause}"),
            self.web.tagged(),
            format!("{}@{}", self.web.repository, self.web.digest),
        ]
    }
}

fn enable(tree: &Tree, folder: &str, unit: &str) {
    let folder = tree.path("/etc/systemd/system").join(folder);
    fs::create_dir_all(&folder).unwrap();
    symlink(unit, folder.join(Path::new(unit).file_name().unwrap())).unwrap();
}

/// Puts an archive where the image has it, and gives its row of the bill.
fn bake(tree: &Tree, reference: &str, archive: &[u8]) -> Value {
    let sha256 = Digest::of(archive).hex();
    tree.write(&format!("{ARCHIVES}/{sha256}.tar"), archive, 0o644).unwrap();
    json!({"reference": reference, "sha256": sha256})
}

fn bill(root: &Path, rows: &Value) {
    let text = json!({"schema": 1, "preload": rows}).to_string();
    let path = root.join(BILL.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn inside(machine: &Machine, path: &str) -> PathBuf {
    machine.root().join(path.trim_start_matches('/'))
}

fn ctr(machine: &Machine, arguments: &[&str]) -> String {
    machine.output(&[&CTR, arguments].concat()).unwrap()
}

/// The names in the store whose images are pinned, but for ids: containerd pins that of the sandbox by itself.
fn pinned(machine: &Machine) -> Vec<String> {
    let filter = "labels.\"io.cri-containerd.pinned\"==pinned";
    let names = ctr(machine, &["images", "list", "--quiet", filter]);
    names.lines().filter(|name| !name.starts_with("sha256:")).map(str::to_owned).collect()
}

#[track_caller]
fn serves(machine: &Machine) {
    let get = || machine.output(&["curl", "-fsS", "http://127.0.0.1:8099/passwd"]).ok();
    if let Err(error) = until("the pod to serve", LIMIT, get) {
        let journal = machine.output(&["journalctl", "--no-pager", "-n120"]).unwrap();
        panic!("{error}\n{journal}");
    }
}

/// The container of the pod, as long as it runs.
fn container(machine: &Machine) -> String {
    let filter = "labels.\"io.kubernetes.container.name\"==web";
    ctr(machine, &["containers", "list", "--quiet", filter])
}

fn import(machine: &Machine) -> (Option<i32>, String) {
    let output = machine.run(&["basalt-agent", "images", "import"]).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Failure modes of a store: never filled, emptied by a person, damaged, wiped between two boots.
#[test]
fn a_pod_finds_its_image_without_a_network_whatever_was_lost() {
    let Some(node) = Node::new() else { return };
    let Some(tree) = node.tree() else { return };
    let machine = Machine::boot(tree).unwrap();
    serves(&machine);
    assert_eq!(pinned(&machine), sorted(node.names()));

    let start = Instant::now();
    assert_eq!(import(&machine), (Some(0), String::new()));
    println!("a look at two images took {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    // `crictl rmi --prune` asks nobody about pins.
    let mut remove = vec!["images", "remove", "--sync"];
    let names = node.names();
    remove.extend(names.iter().map(String::as_str));
    ctr(&machine, &remove);
    assert!(pinned(&machine).is_empty());
    let imported = format!("{}: imported\n{PAUSE}: imported\n", node.web.tagged());
    assert_eq!(import(&machine), (Some(0), imported));
    assert_eq!(pinned(&machine), sorted(node.names()));

    // A blob that containerd believes to have.
    let blobs = inside(&machine, "/var/lib/containerd/io.containerd.content.v1.content/blobs");
    let blob = blobs.join(node.web.digest.replace(':', "/"));
    fs::remove_file(&blob).unwrap();
    assert_eq!(import(&machine), (Some(0), format!("{}: imported\n", node.web.tagged())));
    assert!(blob.exists());

    // All of it, as after a new file system: the kubelet's start alone brings it back.
    machine.output(&["systemctl", "stop", "kubelet", "containerd"]).unwrap();
    let wipe = "pkill -9 containerd-shim; pkill -9 httpd; sleep 1; \
        umount -l $(grep -o '/run/containerd/[^ ]*' /proc/mounts) 2>/dev/null; \
        rm -rf /run/containerd/* /var/lib/containerd/*";
    machine.output(&["sh", "-c", &format!("{wipe}; true")]).unwrap();
    machine.output(&["systemctl", "start", "kubelet"]).unwrap();
    serves(&machine);
    assert_eq!(pinned(&machine), sorted(node.names()));
}

fn sorted<const N: usize>(mut names: [String; N]) -> [String; N] {
    names.sort();
    names
}

#[test]
fn what_cannot_be_imported_is_told() {
    let Some(node) = Node::new() else { return };
    let Some(tree) = node.tree() else { return };
    let archive = fs::read(&node.web.archive).unwrap();
    let path = format!("{ARCHIVES}/{}.tar", Digest::of(&archive).hex());
    let mut damaged = archive.clone();
    damaged[archive.len() / 2] ^= 1;
    tree.write(&path, &damaged, 0o644).unwrap();
    let mut lab: Value = serde_json::from_slice(&fs::read(lab_node()).unwrap()).unwrap();
    lab["containerd"]["sandbox_image"] = json!("registry.lab.example/pause:9");
    tree.write("/etc/basalt/node.json", lab.to_string(), 0o644).unwrap();
    let machine = Machine::boot(tree).unwrap();
    machine.wait_for_unit("basalt-images.service", "failed", LIMIT).unwrap();

    let (code, text) = import(&machine);
    assert_eq!(code, Some(1));
    let found = Digest::of(&damaged);
    let web = node.web.tagged();
    assert!(
        text.contains(&format!(
            "{web}: missing: the archive `{path}` is damaged: it has the digest {found}\n  hint: "
        )),
        "{text}"
    );
    assert!(
        text.contains("registry.lab.example/pause:9: missing: the pause image is not"),
        "{text}"
    );
    let check = machine.run(&["basalt-agent", "check"]).unwrap();
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    assert_eq!(check.status.code(), Some(1));
    assert!(told.contains(&web) && told.contains("registry.lab.example/pause:9"), "{told}");

    fs::remove_file(inside(&machine, &path)).unwrap();
    assert!(
        import(&machine).1.contains(&format!("cannot read the archive `{path}`: No such file"))
    );
    // Mended, the next look finds it.
    fs::write(inside(&machine, &path), &archive).unwrap();
    assert!(import(&machine).1.starts_with(&format!("{web}: imported\n")));
    machine.output(&["systemctl", "stop", "containerd"]).unwrap();
}

fn lab_node() -> PathBuf {
    checkout::cluster("lab").join("dist/nodes/n1/node.json")
}

/// The kubelet clears up when space is short. What is not pinned goes; pinned images stay, and so does the pod, which
/// has no other place to be.
#[test]
fn pressure_takes_neither_pinned_images_nor_static_pods() {
    let Some(node) = Node::new() else { return };
    let Some(tree) = node.tree() else { return };
    let machine = Machine::boot(tree).unwrap();
    serves(&machine);
    let container_before = container(&machine);
    // Another image than the one that is in use: not pinned, and nobody's.
    let unused = unused_image(&machine);

    let pressure = "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {imagefs.available: 99%, nodefs.available: 99%}
evictionPressureTransitionPeriod: 1s
imageMinimumGCAge: 1s
imageMaximumGCAge: 2s
";
    fs::write(inside(&machine, &format!("{KUBELET_DROP_INS}/95-pressure.conf")), pressure).unwrap();
    machine.output(&["systemctl", "restart", "kubelet"]).unwrap();
    let gone = || (!ctr(&machine, &["images", "list", "--quiet"]).contains(&unused)).then_some(());
    until("the kubelet to clear up", CLEARING_LIMIT, gone).unwrap();
    assert_eq!(pinned(&machine), sorted(node.names()));
    serves(&machine);
    assert_eq!(container(&machine), container_before, "never evicted, never restarted");

    // What is no longer baked in is unpinned, and goes like any other as soon as no pod uses it.
    let pause = pause(Architecture::Amd64).unwrap();
    let row = json!({"reference": format!("{PAUSE}@{}", pause.manifest), "sha256": Digest::of(&pause.archive).hex()});
    bill(&machine.root(), &json!([row]));
    assert_eq!(import(&machine), (Some(0), String::new()));
    assert_eq!(pinned(&machine), sorted(node.names())[..2]);
    fs::remove_file(inside(&machine, &format!("{MANIFESTS}/web.yaml"))).unwrap();
    let gone = || {
        let names = ctr(&machine, &["images", "list", "--quiet"]);
        (!names.contains(&node.web.repository)).then_some(())
    };
    until("the retired image to go", CLEARING_LIMIT, gone).unwrap();
    assert_eq!(pinned(&machine), sorted(node.names())[..2]);
}

/// Gives containerd an image of nobody's, and its name.
fn unused_image(machine: &Machine) -> String {
    let folder = tempfile::tempdir().unwrap();
    let recipe = Recipe::of_busybox("unused", "1", &["true"], &["true"]);
    let image = images::make(&recipe, &peer("busybox").unwrap(), folder.path()).unwrap();
    fs::copy(&image.archive, inside(machine, "/var/unused.tar")).unwrap();
    ctr(machine, &["images", "import", "/var/unused.tar"]);
    image.tagged()
}
