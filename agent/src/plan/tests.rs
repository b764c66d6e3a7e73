//! The plan, rule by rule.

use std::os::unix::fs::{PermissionsExt, symlink};

use basalt_static_pods::StaticPod;
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::apply::{Outcome, apply_all};
use crate::desired::{Decision, decide};
use crate::host::Host;
use crate::host::generations::SetsSeen;
use crate::host::ledger;
use crate::host::manifests::pod_identity;
use crate::observe::{inputs, observe};
use crate::replace::uid::stamp;
use crate::strangers::Danger;
use crate::testing::{desired, node_json, pod, scratch_host};

mod law;
mod replacing;

const MANIFESTS: &str = "/etc/kubernetes/manifests";

/// A scratch host and what it is to be.
struct Bench {
    _keep: tempfile::TempDir,
    host: Host,
    policy: Strangers,
}

impl Bench {
    fn new() -> Bench {
        let (keep, host) = scratch_host();
        Bench { _keep: keep, host, policy: Strangers::Report }
    }

    fn plan(&self, desired: &Desired) -> Plan {
        let ledger = ledger::load(&self.host.path(LEDGER_PATH));
        plan(
            desired,
            &ledger,
            &observe(&self.host, &ledger, &SetsSeen::default(), Some(desired)),
            self.policy,
        )
    }

    fn apply(&self, steps: &[Step]) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(apply_all(steps, &self.host, async || false))
    }

    /// Brings the host to `pods`, as a first generation.
    #[track_caller]
    fn settle(&self, pods: &[StaticPod]) {
        let first = desired(1, pods.to_vec(), Acceptance::New);
        let outcome = self.apply(&self.plan(&first).steps);
        assert_eq!(outcome.failures, []);
        self.check(1, pods, Acceptance::Recorded, &[]);
    }

    /// The steps towards `pods`, in words.
    #[track_caller]
    fn check(
        &self,
        generation: u64,
        pods: &[StaticPod],
        acceptance: Acceptance,
        expected: &[&str],
    ) {
        let plan = self.plan(&desired(generation, pods.to_vec(), acceptance));
        let steps: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
        assert_eq!(steps, expected);
    }

    fn write(&self, path: &str, contents: &str) {
        let path = self.host.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }

    fn set_mode(&self, path: &str, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.host.path(path), permissions).unwrap();
    }
}

fn two_pods() -> Vec<StaticPod> {
    vec![pod("a", &[("a.cfg", "a")]), pod("b", &[])]
}

#[test]
fn first_generation() {
    let bench = Bench::new();
    bench.check(
        1,
        &two_pods(),
        Acceptance::New,
        &[
            "make directory /var/lib/basalt: new",
            "accept generation 1",
            "record what is about to be written",
            "make directory /etc/basalt/pods: new",
            "make directory /etc/basalt/pods/a: new",
            "write config file /etc/basalt/pods/a/a.cfg: new",
            "make directory /etc/kubernetes/manifests: new",
            "wait until pod a has stopped",
            "write manifest /etc/kubernetes/manifests/a.yaml: new",
            "wait until pod b has stopped",
            "write manifest /etc/kubernetes/manifests/b.yaml: new",
        ],
    );
    bench.settle(&two_pods());
}

#[test]
fn a_foreign_file_with_our_name_is_adopted() {
    let bench = Bench::new();
    bench.write("/etc/kubernetes/manifests/b.yaml", "not ours");
    let plan = bench.plan(&desired(1, two_pods(), Acceptance::New));
    let reason = plan.steps.last().and_then(Step::why);
    assert_eq!(reason, Some(&Why::Adopt));
    bench.settle(&two_pods());
}

#[test]
fn next_generation_removes_before_it_adds_and_config_files_last() {
    let bench = Bench::new();
    bench.settle(&two_pods());
    let next = [pod("b", &[("deep/b.cfg", "b")]), pod("c", &[])];
    bench.check(
        2,
        &next,
        Acceptance::New,
        &[
            "accept generation 2",
            "record what is about to be written",
            "remove manifest /etc/kubernetes/manifests/a.yaml: its pod is to be gone",
            "wait until pod a has stopped",
            "make directory /etc/basalt/pods/b: new",
            "make directory /etc/basalt/pods/b/deep: new",
            "write config file /etc/basalt/pods/b/deep/b.cfg: new",
            "wait until pod c has stopped",
            "write manifest /etc/kubernetes/manifests/c.yaml: new",
            "remove config file /etc/basalt/pods/a/a.cfg",
            "remove empty folder /etc/basalt/pods/a",
            "record what is left",
        ],
    );
    bench.apply(&bench.plan(&desired(2, next.to_vec(), Acceptance::New)).steps);
    bench.check(2, &next, Acceptance::Recorded, &[]);
    assert!(!bench.host.path("/etc/basalt/pods/a").exists());
}

#[test]
fn drift_is_repaired_with_its_reason() {
    type Change<'a> = &'a dyn Fn(&Bench);
    let manifest = "/etc/kubernetes/manifests/a.yaml";
    let config = "/etc/basalt/pods/a/a.cfg";
    let remove = |bench: &Bench, path: &str| std::fs::remove_file(bench.host.path(path)).unwrap();
    let cases: [(Change<'_>, &[&str]); 9] = [
        (
            &|b| b.write(manifest, "x"),
            &[
                "record what is about to be written",
                "remove manifest /etc/kubernetes/manifests/a.yaml: its pod is replaced",
                "wait until pod a has stopped",
                "write manifest /etc/kubernetes/manifests/a.yaml: its contents differ",
            ],
        ),
        (
            &|b| remove(b, manifest),
            &[
                "wait until pod a has stopped",
                "write manifest /etc/kubernetes/manifests/a.yaml: it is missing",
            ],
        ),
        (
            &|b| b.set_mode(manifest, 0o666),
            &["write manifest /etc/kubernetes/manifests/a.yaml: its mode is 0666 instead of 0600"],
        ),
        (
            &|b| {
                let aside = b.host.path("/aside.yaml");
                std::fs::rename(b.host.path(manifest), &aside).unwrap();
                symlink("/aside.yaml", b.host.path(manifest)).unwrap();
            },
            &[
                "record what is about to be written",
                "remove manifest /etc/kubernetes/manifests/a.yaml: its pod is replaced",
                "wait until pod a has stopped",
                "write manifest /etc/kubernetes/manifests/a.yaml: a symbolic link is in its place",
            ],
        ),
        (
            &|b| {
                remove(b, manifest);
                let path = b.host.path(manifest);
                mknodat(CWD, path.as_std_path(), FileType::Fifo, Mode::RUSR, 0).unwrap();
            },
            &[
                "record what is about to be written",
                "remove manifest /etc/kubernetes/manifests/a.yaml: its pod is replaced",
                "wait until pod a has stopped",
                "write manifest /etc/kubernetes/manifests/a.yaml: a named pipe is in its place",
            ],
        ),
        (
            &|b| std::fs::remove_dir_all(b.host.path(MANIFESTS)).unwrap(),
            &[
                "make directory /etc/kubernetes/manifests: it is missing",
                "wait until pod a has stopped",
                "write manifest /etc/kubernetes/manifests/a.yaml: it is missing",
                "wait until pod b has stopped",
                "write manifest /etc/kubernetes/manifests/b.yaml: it is missing",
            ],
        ),
        (
            &|b| b.set_mode("/etc/basalt/pods/a", 0o777),
            &["make directory /etc/basalt/pods/a: its mode is 0777 instead of 0755"],
        ),
        (
            &|b| {
                let folder = b.host.path("/etc/basalt/pods/a");
                std::fs::rename(&folder, b.host.path("/aside")).unwrap();
                symlink("/aside", &folder).unwrap();
            },
            &[
                "make directory /etc/basalt/pods/a: a symbolic link is in its place",
                "write config file /etc/basalt/pods/a/a.cfg: it is missing",
            ],
        ),
        (
            &|b| b.write("/etc/basalt/pods/a/.basalt-a.cfg.tmp", "half"),
            &["remove left-over /etc/basalt/pods/a/.basalt-a.cfg.tmp"],
        ),
    ];
    for (change, expected) in cases {
        let bench = Bench::new();
        bench.settle(&two_pods());
        change(&bench);
        bench.check(1, &two_pods(), Acceptance::Recorded, expected);
        let outcome = bench.apply(&bench.plan(&desired(1, two_pods(), Acceptance::Recorded)).steps);
        assert_eq!(outcome.failures, []);
        bench.check(1, &two_pods(), Acceptance::Recorded, &[]);
        let text = std::fs::read_to_string(bench.host.path(config)).unwrap();
        assert_eq!(text, "a");
    }
}

#[test]
fn the_manifest_directory_may_be_a_link() {
    let bench = Bench::new();
    let real = bench.host.path("/srv/manifests");
    std::fs::create_dir_all(&real).unwrap();
    std::fs::create_dir_all(bench.host.path("/etc/kubernetes")).unwrap();
    symlink("/srv/manifests", bench.host.path(MANIFESTS)).unwrap();
    bench.settle(&two_pods());
    assert!(bench.host.path(MANIFESTS).is_symlink());
    assert!(real.join("a.yaml").is_file());
}

/// A link of the node leads to a place on the node, also when its file system starts at a directory of ours.
#[test]
fn nothing_is_written_outside_the_root() {
    let outside = tempfile::tempdir().unwrap();
    let outside = camino::Utf8Path::from_path(outside.path()).unwrap();
    for link in ["/etc/kubernetes", MANIFESTS, "/etc/basalt", "/var/lib", "/var/lib/basalt", "/etc"]
    {
        let bench = Bench::new();
        let inside = bench.host.path(link);
        std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
        symlink(outside, &inside).unwrap();
        bench.settle(&two_pods());
        assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0, "{link}");
        assert!(bench.host.real(&format!("{MANIFESTS}/a.yaml")).is_file(), "{link}");
        assert!(bench.host.real(LEDGER_PATH).is_file(), "{link}");
    }
}

#[test]
fn a_moved_manifest_directory_takes_the_old_manifests_along() {
    let bench = Bench::new();
    bench.settle(&two_pods());
    let mut moved = desired(2, two_pods(), Acceptance::New);
    moved.node.kubelet.static_pod_directory = "/etc/kubernetes/other".parse().unwrap();
    let outcome = bench.apply(&bench.plan(&moved).steps);
    assert_eq!(outcome.failures, []);
    assert_eq!(std::fs::read_dir(bench.host.path(MANIFESTS)).unwrap().count(), 0);
    assert!(bench.host.path("/etc/kubernetes/other/a.yaml").is_file());
}

#[test]
fn nothing_is_added_after_a_failed_removal() {
    let bench = Bench::new();
    bench.settle(&two_pods());
    // A directory with something in it cannot be removed as a file.
    std::fs::remove_file(bench.host.path("/etc/kubernetes/manifests/a.yaml")).unwrap();
    bench.write("/etc/kubernetes/manifests/a.yaml/kept", "");
    let next = [pod("b", &[("b.cfg", "b")]), pod("c", &[])];
    let outcome = bench.apply(&bench.plan(&desired(2, next.to_vec(), Acceptance::New)).steps);
    let failures: Vec<&str> = outcome.failures.iter().map(|f| f.message.as_str()).collect();
    let because = "because a pod that is to be gone could not be removed";
    assert_eq!(
        failures,
        [
            "cannot remove manifest /etc/kubernetes/manifests/a.yaml: its pod is to be gone: Is a directory (os error 21)",
            "did not wait until pod a has stopped, because its manifest is still there",
            &format!("did not write config file /etc/basalt/pods/b/b.cfg: new, {because}"),
            &format!("did not write manifest /etc/kubernetes/manifests/c.yaml: new, {because}"),
            &format!("did not remove config file /etc/basalt/pods/a/a.cfg, {because}"),
            &format!("did not remove empty folder /etc/basalt/pods/a, {because}"),
            "did not record what is left, because not everything is in place",
        ]
    );
    assert!(outcome.failures[0].hint.as_deref().unwrap().contains("move it away"));
    assert!(!bench.host.path("/etc/kubernetes/manifests/c.yaml").exists());
    assert!(bench.host.path("/etc/basalt/pods/a/a.cfg").exists());
    // Once the obstacle is gone the rest follows, since the name is still on record.
    std::fs::remove_dir_all(bench.host.path("/etc/kubernetes/manifests/a.yaml")).unwrap();
    let outcome = bench.apply(&bench.plan(&desired(2, next.to_vec(), Acceptance::Recorded)).steps);
    assert_eq!(outcome.failures, []);
    bench.check(2, &next, Acceptance::Recorded, &[]);
    assert!(!bench.host.path("/etc/basalt/pods/a").exists());
}

#[test]
fn one_pod_that_fails_does_not_stop_the_others() {
    let bench = Bench::new();
    bench.write("/etc/basalt/pods/a/a.cfg/kept", "");
    let outcome = bench.apply(&bench.plan(&desired(1, two_pods(), Acceptance::New)).steps);
    let failed: Vec<&str> = outcome.failures.iter().map(|f| f.message.as_str()).collect();
    let because = "because its config files are not all in place";
    assert_eq!(
        failed,
        [
            "cannot write config file /etc/basalt/pods/a/a.cfg: a directory is in its place: Directory not empty (os error 39)",
            &format!("did not wait until pod a has stopped, {because}"),
            &format!("did not write manifest /etc/kubernetes/manifests/a.yaml: new, {because}"),
        ]
    );
    assert!(bench.host.path("/etc/kubernetes/manifests/b.yaml").is_file());
}

#[test]
fn nothing_happens_without_a_record() {
    let bench = Bench::new();
    bench.settle(&two_pods());
    // Something that no file can replace, where the copy of the accepted node goes.
    std::fs::remove_file(bench.host.path(ACCEPTED_NODE_PATH)).unwrap();
    bench.write("/var/lib/basalt/accepted-node.json/kept", "");
    let outcome = bench.apply(&bench.plan(&desired(2, vec![], Acceptance::New)).steps);
    assert_eq!(outcome.done, 0);
    assert!(outcome.failures[1].message.ends_with("because it could not be recorded"));
    assert!(bench.host.path("/etc/kubernetes/manifests/a.yaml").is_file());
}

#[test]
fn a_broken_ledger_costs_no_pod() {
    let bench = Bench::new();
    bench.settle(&two_pods());
    bench.write(LEDGER_PATH, "{\"schema\": 1, \"acce");
    let one = [pod("b", &[])];
    bench.check(
        1,
        &one,
        Acceptance::New,
        &[
            "set the broken ledger aside as /var/lib/basalt/ledger.json.broken",
            "accept generation 1",
            "record what is about to be written",
        ],
    );
    let plan = bench.plan(&desired(1, one.to_vec(), Acceptance::New));
    assert_eq!(bench.apply(&plan.steps).failures, []);
    let strangers: Vec<_> = plan.strangers.iter().map(|s| s.path.as_str()).collect();
    assert_eq!(strangers, ["/etc/kubernetes/manifests/a.yaml", "/etc/basalt/pods/a/a.cfg"]);
    bench.check(1, &one, Acceptance::Recorded, &[]);
    assert!(bench.host.path("/etc/kubernetes/manifests/a.yaml").is_file());
}

#[test]
fn strangers_are_told_apart_and_left_alone() {
    let bench = Bench::new();
    bench.settle(&two_pods());
    let at = |name: &str| format!("{MANIFESTS}/{name}");
    bench.write(&at("z.yaml.bak"), "metadata: {name: a}");
    bench.write(&at("other.yaml"), "metadata: {name: a, namespace: other}");
    bench.write(&at("notes.txt"), "- not a pod");
    bench.write(&at(".hidden"), "metadata: {name: a}");
    bench.write(&at("folder/a.yaml"), "metadata: {name: a}");
    let pipe = bench.host.path(&at("pipe"));
    mknodat(CWD, pipe.as_std_path(), FileType::Fifo, Mode::RUSR, 0).unwrap();
    symlink("pipe", bench.host.path(&at("to-pipe"))).unwrap();
    symlink("a.yaml", bench.host.path(&at("to-ours"))).unwrap();
    symlink("nowhere", bench.host.path(&at("dangling"))).unwrap();
    bench.write("/etc/basalt/pods/a/notes", "");

    let desired = desired(1, two_pods(), Acceptance::Recorded);
    let plan = bench.plan(&desired);
    assert_eq!(plan.steps, []);
    let found: Vec<(&str, &Danger)> =
        (plan.strangers.iter()).map(|s| (s.path.rsplit('/').next().unwrap(), &s.danger)).collect();
    let as_a = Danger::TakesPlaceOf { pod: "a".into() };
    assert_eq!(
        found,
        [
            ("dangling", &Danger::None),
            ("folder", &Danger::None),
            ("notes.txt", &Danger::None),
            ("other.yaml", &Danger::Runs),
            ("pipe", &Danger::StopsKubelet),
            ("to-ours", &as_a),
            ("to-pipe", &Danger::StopsKubelet),
            ("z.yaml.bak", &as_a),
            ("notes", &Danger::None),
        ]
    );

    let bench = Bench { policy: Strangers::Quarantine, ..bench };
    let plan = bench.plan(&desired);
    let words: Vec<String> = plan.steps.iter().map(Step::to_string).collect();
    assert_eq!(words[0], "make directory /var/lib/basalt/quarantine: new");
    assert_eq!(
        words[1],
        "move stranger /etc/kubernetes/manifests/dangling to /var/lib/basalt/quarantine"
    );
    assert_eq!(bench.apply(&plan.steps).failures, []);
    let left = bench.plan(&desired);
    assert_eq!((left.steps.len(), left.strangers.len()), (0, 1));
    assert!(bench.host.path("/var/lib/basalt/quarantine/folder/a.yaml").is_file());
    assert!(bench.host.path("/etc/kubernetes/manifests/.hidden").is_file());
}

#[test]
fn labels_are_kept_where_the_kernel_has_them() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may set a SELinux label without a policy");
        return;
    }
    let (keep, host) = scratch_host();
    let enforce = host.path("/sys/fs/selinux/enforce");
    std::fs::create_dir_all(enforce.parent().unwrap()).unwrap();
    std::fs::write(&enforce, "1").unwrap();
    let host = Host::at(&host.path("/")).unwrap();
    let bench = Bench { _keep: keep, host, policy: Strangers::Report };
    bench.settle(&two_pods());
    let config = bench.host.path("/etc/basalt/pods/a/a.cfg");
    rustix::fs::removexattr(config.as_std_path(), "security.selinux").unwrap();
    bench.check(
        1,
        &two_pods(),
        Acceptance::Recorded,
        &["write config file /etc/basalt/pods/a/a.cfg: its SELinux label is `none` instead of \
           `system_u:object_r:container_ro_file_t:s0`"],
    );
}
