//! What the shipped kubelet does with its folder of manifests: the rules that the agent's care is built on. Each is seen
//! on the running kubelet, and what would hurt is refused by the linter before it is written.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "kubelet_rules/scene.rs"]
mod scene;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use basalt_static_pods::import;
use basalt_static_pods::lint::{self, Effect, Rules, lint};
use e2e::checkout;
use e2e::wait::until;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::scene::{LIMIT, Scene};

/// A pod starts in a tenth of this.
const LONG: Duration = Duration::from_secs(8);

/// Numbers of capabilities, capabilities(7).
const NET_ADMIN: u32 = 12;
const SYS_NICE: u32 = 23;

/// The linter says this of a folder with these files.
#[track_caller]
fn foreseen(files: &[(&str, &str)], effect: Effect) {
    let files: Vec<lint::File<'_>> =
        files.iter().map(|(name, text)| lint::File { name, bytes: text.as_bytes() }).collect();
    let findings = lint(&files, Rules::Kubelet);
    assert!(findings.iter().any(|finding| finding.effect == effect), "{findings:?}");
}

/// What the kubelet makes of a pod that is never of use.
enum Made {
    /// It does not even list it.
    Nothing,
    /// It refuses it at admission, for this reason.
    Failed(&'static str),
    /// It tries to get the image, for ever.
    NoImage,
    /// It runs it, and never calls it ready.
    Unready,
}

/// Pods by name, with what becomes of each.
type Never = Vec<(&'static str, Made)>;

/// Manifests that look well and never serve anybody. All but the one about the image are what the linter refuses; that one
/// depends on the host.
fn write_what_never_serves(scene: &Scene) -> Never {
    let plain = |name: &str, spec: &str| scene.manifest(name, "one", "", spec);
    let secret =
        "    env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: a, optional: true}}}]\n";
    let mirror = "  annotations: {kubernetes.io/config.mirror: abc}\n";
    let forwards = "  securityContext: {sysctls: [{name: net.ipv4.ip_forward, value: \"1\"}]}\n";
    let unsafe_setting = "  securityContext: {sysctls: [{name: kernel.sem, value: \"250\"}]}\n";
    let port = "    ports: [{containerPort: 81}]\n";
    let absent = plain("absent", "")
        .replace(&scene.image.reference(), "registry.lab.example/basalt/absent:1")
        .replace("Never", "IfNotPresent");
    let unready = "    readinessProbe: {httpGet: {path: /, port: undeclared}}\n";
    let first = plain("first", "") + port;
    let cases = [
        ("secret", plain("secret", "") + secret, Effect::Refused, Made::Nothing),
        ("mirror", scene.manifest("mirror", "one", mirror, ""), Effect::NeverStarts, Made::Nothing),
        ("forwards", plain("forwards", forwards), Effect::Refused, Made::Nothing),
        (
            "unsafe",
            plain("unsafe", unsafe_setting),
            Effect::NotAdmitted,
            Made::Failed("SysctlForbidden"),
        ),
        (
            "huge",
            plain("huge", "") + "    resources: {requests: {memory: 100000Ti}}\n",
            Effect::NotAdmitted,
            Made::Failed("UnexpectedAdmissionError"),
        ),
        ("second", plain("second", "") + port, Effect::NotAdmitted, Made::Failed("NodePorts")),
        ("absent", absent, Effect::Host, Made::NoImage),
        ("unready", plain("unready", "") + unready, Effect::NeverStarts, Made::Unready),
    ];
    scene.write("first.yaml", &first);
    scene.wait_for("first");
    let mut never = Never::new();
    for (name, text, effect, made) in cases {
        let file = format!("{name}.yaml");
        match made {
            // Both together: they want the same port.
            Made::Failed("NodePorts") => {
                foreseen(&[("first.yaml", &first), (&file, &text)], effect)
            }
            Made::NoImage => {}
            _ => foreseen(&[(&file, &text)], effect),
        }
        scene.write(&file, &text);
        never.push((name, made));
    }
    never
}

/// By now each has had its chance.
fn check_what_never_serves(scene: &Scene, never: &Never) {
    let (running, listed) = (scene.running().unwrap(), scene.listed().unwrap());
    for (name, made) in never {
        let (runs, status) = (running.contains_key(*name), listed.get(*name));
        let reason = |status: &Value| status["reason"].as_str().unwrap_or_default().to_owned();
        let waits = |status: &Value| {
            let waiting = &status["containerStatuses"][0]["state"]["waiting"]["reason"];
            ["ErrImagePull", "ImagePullBackOff"].iter().any(|reason| waiting == reason)
        };
        let is_ready = |status: &Value| {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let mut ready = conditions.filter(|condition| condition["type"] == "Ready");
            ready.any(|condition| condition["status"] == "True")
        };
        let is_so = match (made, status) {
            (Made::Nothing, None) => !runs,
            (Made::Failed(expected), Some(status)) => !runs && reason(status) == *expected,
            (Made::NoImage, Some(status)) => !runs && waits(status),
            (Made::Unready, Some(status)) => runs && !is_ready(status),
            _ => false,
        };
        assert!(is_so, "{name} runs: {runs}, {status:#?}");
        scene.remove(&format!("{name}.yaml"));
    }
    scene.remove("first.yaml");
}

/// A quadlet that mounts an image and a part of it, as the importer carries it: the kubelet mounts both, and neither can
/// be written to.
#[test]
fn an_imported_mount_of_an_image() {
    let Some(scene) = Scene::start() else { return };
    let container = "[Container]
Image=shell.image
Mount=type=image,source=shell.image,destination=/whole
Mount=type=image,source=shell.image,destination=/part,subpath=usr/bin
Volume=/srv:/srv
Exec=\"ls /whole/usr/bin/sleep /part/sleep > /srv/seen 2>&1; touch /whole/new /part/new 2>> /srv/seen; touch /srv/done; exec sleep 86400\"
";
    let image = format!("[Image]\nImage={}\n", scene.image.reference());
    let sources = [("web.container", container), ("shell.image", image.as_str())];
    let sources = sources.map(|(name, text)| import::Source { name, text });
    let imported = import::import(&sources, &mut |_| Err(import::Unread::Absent));
    let broken: Vec<_> =
        imported.notes.iter().filter(|note| note.fate >= import::Fate::Broken).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let [pod] = &imported.pods[..] else { panic!("{:#?}", imported.pods) };
    fs::create_dir_all(scene.machine.root().join("srv")).unwrap();
    scene.write("web.yaml", &pod.manifest);
    let file = |name: &str| fs::read_to_string(scene.machine.root().join("srv").join(name)).ok();
    scene.wait("the container to look at the mounts", |_| file("done").map(drop));
    let seen = file("seen").unwrap();
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(&lines[..2], ["/part/sleep", "/whole/usr/bin/sleep"], "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
}

#[test]
fn what_is_in_the_folder_is_what_runs() {
    let Some(scene) = Scene::start() else { return };
    let plain = |name: &str| scene.manifest(name, "one", "", "");
    for name in ["kept", "spoilt"] {
        scene.write(&format!("{name}.yaml"), &plain(name));
    }
    let (kept, spoilt) = (scene.wait_for("kept"), scene.wait_for("spoilt"));
    let container = scene.containers("kept");
    let never = write_what_never_serves(&scene);
    // Written bit by bit: what is there counts, as soon as it is a pod.
    let rest = "    env: [{name: WHOLE, value: \"yes\"}]\n";
    let mut slowly = File::create(scene.folder().join("half.yaml")).unwrap();
    slowly.write_all(plain("half").as_bytes()).unwrap();
    let half = scene.wait_for("half");

    // No ending of a name keeps a file out, a dot at its begin does, and so does a folder.
    scene.write(".hidden.yaml", &plain("hidden"));
    fs::create_dir(scene.folder().join("below")).unwrap();
    scene.write("below/hidden.yaml", &plain("hidden"));
    scene.write("temporary.yaml.tmp", &plain("temporary"));
    scene.wait_for("temporary");
    scene.remove("temporary.yaml.tmp");
    scene.wait_for_end("temporary");

    // Two files for one pod are one pod, that of the last name; nobody is told.
    scene.write("a-twin.yaml", &scene.manifest("twin", "first", "", ""));
    let first = scene.wait_for("twin");
    let last = scene.manifest("twin", "last", "", "");
    scene.write("b-twin.yaml", &last);
    slowly.write_all(rest.as_bytes()).unwrap();
    scene.wait("the last file to win", |running| (*running.get("twin")? != first).then_some(()));
    scene.wait("the whole pod", |running| (*running.get("half")? != half).then_some(()));
    assert!(scene.process("half", "environ").contains("WHOLE=yes"));
    scene.remove("half.yaml");
    foreseen(
        &[("a-twin.yaml", &scene.manifest("twin", "first", "", "")), ("b-twin.yaml", &last)],
        Effect::Dropped,
    );

    // Whoever looks the same is the same: a new time, a comment.
    File::open(scene.folder().join("kept.yaml"))
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    scene.write("kept.yaml", &format!("{}# a remark\n", plain("kept")));

    // A file that cannot be read any more takes its running pod along, and gives it back as the same one.
    scene.write("spoilt.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: spoilt\n");
    foreseen(
        &[("spoilt.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: spoilt\n")],
        Effect::Refused,
    );
    scene.wait_for_end("spoilt");
    scene.write("spoilt.yaml", &plain("spoilt"));
    assert_eq!(scene.wait_for("spoilt"), spoilt, "a UID follows from the content");

    // What the kubelet lists is what it is to run, not what runs.
    let slow = scene.manifest("slow", "one", "", "").replace("exit 0", "sleep 8; exit 0");
    scene.write("slow.yaml", &slow.replace("PeriodSeconds: 1\n", "PeriodSeconds: 30\n"));
    scene.wait_for("slow");
    scene.remove("slow.yaml");
    scene.wait("a pod that is not listed and runs", |running| {
        let list = ["curl", "-fksS", "--max-time", "5", "https://127.0.0.1:10250/pods"];
        let listed = scene.machine.output(&list).ok()?;
        (running.contains_key("slow") && !listed.contains("slow-n1")).then_some(())
    });
    scene.wait_for_end("slow");

    // A capability that is not known by this name is left out, and so is a field; what is left of the volume is an empty
    // folder. Nobody is told.
    let able = "    securityContext: {capabilities: {add: [CAP_NET_ADMIN, NO_SUCH, SYS_NICE]}}\n";
    let mount = "    volumeMounts: [{name: folder, mountPath: /folder}]\n";
    let volume = "  volumes: [{name: folder, hostpath: {path: /etc}}]\n";
    let able = scene.manifest("able", "one", "", volume) + able + mount;
    foreseen(&[("able.yaml", &able)], Effect::Dropped);
    scene.write("able.yaml", &able);
    scene.wait_for("able");
    let has = |number: u32| scene.capabilities("able") & (1 << number) != 0;
    assert_eq!((has(NET_ADMIN), has(SYS_NICE)), (false, true));
    let mounts = scene.process("able", "mountinfo");
    let mounted = mounts.lines().find(|line| line.contains(" /folder ")).unwrap();
    assert!(mounted.contains("kubernetes.io~empty-dir"), "{mounted}");
    check_what_never_serves(&scene, &never);

    let running = scene.running().unwrap();
    assert!(!running.contains_key("hidden"), "{running:?}");
    assert_eq!((running.get("kept"), scene.containers("kept")), (Some(&kept), container));

    for file in ["able.yaml", "a-twin.yaml", "b-twin.yaml"] {
        scene.remove(file);
    }

    // No folder is an empty folder.
    let away = scene.machine.root().join("etc/kubernetes/away");
    fs::rename(scene.folder(), &away).unwrap();
    scene.wait("every pod to end", |running| running.is_empty().then_some(()));
    fs::rename(away, scene.folder()).unwrap();
    assert_eq!(scene.wait_for("kept"), kept);
}

/// Configurations and hosts with which the kubelet ends at once. The pod `kept` stays through all of them, as `container`.
fn what_the_kubelet_does_not_start_with(scene: &Scene, container: &str) {
    let starts = || {
        scene.wait_until_healthy();
        scene.wait_for("kept");
        assert_eq!(scene.containers("kept"), container);
    };
    // Without an API server it knows nobody to ask who may ask it, and ends.
    scene.restart_with("authentication: {webhook: {enabled: true}}\n");
    scene.wait_for_last_words("webhook");
    // It wants the kernel to be set as it likes, and sets it so where it may; as it is shipped it may not, and ends. What
    // is shipped beside it sets the kernel so at boot.
    let settings = checkout::root().join("agent/dist/kubelet/sysctl.conf");
    let settings = fs::read_to_string(settings).unwrap();
    let wanted = |name: &str| {
        let mut lines = settings.lines().filter_map(|line| line.split_once(" = "));
        lines.find(|(setting, _)| *setting == name).unwrap().1.to_owned()
    };
    let names = ["vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops"];
    let file = |name: &str| format!("/proc/sys/{}", name.replace('.', "/"));
    let set = |name: &str, value: &str| {
        let line = format!("echo {value} > {}", file(name));
        scene.machine.output(&["sh", "-c", &line]).unwrap();
    };
    names.iter().for_each(|name| set(name, "0"));
    scene.restart_with("");
    scene.wait_for_last_words("invalid kernel flag: vm/overcommit_memory");
    names.iter().for_each(|name| set(name, &wanted(name)));
    starts();
    names.iter().for_each(|name| set(name, "0"));
    scene.restart_with("protectKernelDefaults: false\n");
    let is_set = |name: &&str| scene.machine.output(&["cat", &file(name)]).unwrap() == wanted(name);
    until("the kernel to be set", LIMIT, || names.iter().all(is_set).then_some(())).unwrap();
    starts();
}

#[test]
fn what_ends_or_blocks_the_kubelet() {
    let Some(scene) = Scene::start() else { return };
    scene.write("kept.yaml", &scene.manifest("kept", "one", "", ""));
    scene.wait_for("kept");
    let container = scene.containers("kept");

    // A pipe among the manifests: nothing is read any more, and everything looks well.
    mkfifo(&scene.folder().join("pipe"), Mode::S_IRWXU).unwrap();
    scene.write("late.yaml", &scene.manifest("late", "one", "", ""));
    std::thread::sleep(LONG);
    assert!(!scene.running().unwrap().contains_key("late") && scene.is_healthy());
    // Whoever opens it to write lets the kubelet go; nobody can, unless it waits there.
    let mut open = File::options();
    open.write(true).custom_flags(nix::libc::O_NONBLOCK);
    drop(open.open(scene.folder().join("pipe")).unwrap());
    scene.remove("pipe");
    scene.wait_for("late");

    // Each ends the kubelet, again and again as long as it is there. The pods stay.
    let class = scene.manifest("class", "one", "", "  runtimeClassName: other\n");
    let uid = scene.manifest("uid", "one", "  uid: a/b\n", "");
    for (file, text) in [("class.yaml", class), ("uid.yaml", uid)] {
        foreseen(&[(file, &text)], Effect::Ends);
        let old = scene.machine.main_pid("kubelet.service").unwrap().unwrap();
        scene.write(file, &text);
        let new = scene.machine.wait_for_restart("kubelet.service", old, LIMIT).unwrap();
        scene.machine.wait_for_restart("kubelet.service", new, LIMIT).unwrap();
        scene.remove(file);
        until("the kubelet to be healthy", LIMIT, || scene.is_healthy().then_some(())).unwrap();
        scene.wait_for("kept");
        assert_eq!(scene.containers("kept"), container);
    }

    what_the_kubelet_does_not_start_with(&scene, &container);

    // Under another name every UID is another one: all pods are started anew, those before them are ended after that.
    let environment = "BASALT_NODE_NAME=renamed\nBASALT_NODE_IP=127.0.0.1\n";
    scene.machine.tree().write("/etc/kubernetes/kubelet.env", environment, 0o644).unwrap();
    let before = scene.wait_for("kept");
    // A pipe that is there already is passed over, unlike one that comes.
    scene.machine.output(&["systemctl", "stop", "kubelet.service"]).unwrap();
    mkfifo(&scene.folder().join("pipe"), Mode::S_IRWXU).unwrap();
    scene.machine.output(&["systemctl", "start", "kubelet.service"]).unwrap();
    assert_ne!(scene.wait_for("kept-renamed"), before);
    scene.wait_for_end("kept");
}
