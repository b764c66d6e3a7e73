//! From `cluster.yaml` to a node that serves, without a virtual machine: `build-image` makes the image and the Ignition
//! config, real Ignition turns a root tree into the node, systemd boots it, and the agent does its work by itself.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use e2e::dist::{Dist, build_image};
use e2e::ignition::provision;
use e2e::namespaces::Machine;
use e2e::needs::root_or_skip;
use e2e::peers::peer;
use e2e::tree::Tree;
use e2e::wait::until;
use e2e::{checkout, programs};
use serde_json::Value;

/// A loaded machine boots slowly; a node that takes longer has hung.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// How long the agent may take to bring the node to what is wanted, restarts of the service included.
const ROUND_LIMIT: Duration = Duration::from_secs(30);

/// The node that is booted: bond, VLAN and own Butane files make it the richest of the lab.
const NODE: &str = "n3";

/// The lab, built, and the files that its node has to have after boot.
struct Lab {
    dist: Dist,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn build() -> Option<Lab> {
        let (xtask, agent) = (programs::xtask()?, programs::agent()?);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = folder.path().join("dist");
        let output = build_image(
            &xtask,
            &agent,
            &checkout::cluster("lab").join("cluster.yaml"),
            &target,
            &[],
        );
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Lab { dist: Dist::open(&target), _folder: folder })
    }

    /// A root tree on which `ignition` has done the work of the first boot, with the image's layers over it.
    fn provision(&self, ignition: &'static str) -> Option<Tree> {
        let (ignition, umoci) = (peer(ignition)?, peer("umoci")?);
        let tree = Tree::debian()?;
        let config = fs::read_to_string(self.dist.file("ignition", Some(NODE)))
            .expect("the config was just written");
        provision(&ignition, &tree, &config)
            .unwrap_or_else(|error| panic!("Ignition refused the config: {error:#}"));
        let layout = self.dist.file("oci-layout", None);
        let layout = layout.parent().expect("the layout is a folder");
        tree.unpack_image(&umoci, layout, "basalt-lab:1")
            .unwrap_or_else(|error| panic!("{error:#}"));
        Some(tree)
    }

    /// The files that the agent has to write, by their path on the node.
    fn wanted(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut wanted = BTreeMap::new();
        for kind in ["static-pod", "pod-config"] {
            for row in self.dist.of_kind(kind).filter(|row| row.node.as_deref() == Some(NODE)) {
                let below = row
                    .path
                    .strip_prefix(&format!("nodes/{NODE}/pods/"))
                    .expect("pods have a folder");
                let folder = if kind == "static-pod" {
                    "/etc/kubernetes/manifests"
                } else {
                    "/etc/basalt/pods"
                };
                wanted.insert(
                    Path::new(folder).join(below),
                    fs::read(self.dist.folder.join(&row.path)).expect("listed"),
                );
            }
        }
        assert!(wanted.len() >= 6, "three pods with a config each: {:?}", wanted.keys());
        wanted
    }
}

/// Boots a node with the addresses that its network would give it: keepalived does not start without.
fn boot(tree: Tree) -> Machine {
    let machine = Machine::boot(tree).unwrap();
    let script = "ip link add bond0 type bridge; ip link set bond0 up
        ip address add 192.0.2.13/24 dev bond0; ip address add 2001:db8:2::13/64 dev bond0 nodad";
    machine.output(&["sh", "-ec", script]).unwrap();
    machine
}

/// `path` of the node, as seen from outside.
fn inside(machine: &Machine, path: &Path) -> PathBuf {
    machine.root().join(path.strip_prefix("/").expect("paths of a node are absolute"))
}

/// A manifest as it was rendered: each run of a pod has a UID that the agent puts in.
fn without_uid(contents: &[u8]) -> Vec<u8> {
    let lines = contents.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| !line.starts_with(b"  uid: ")).flatten().copied().collect()
}

fn status(machine: &Machine) -> Value {
    let output =
        machine.run(&["basalt-agent", "status", "--output", "json"]).expect("the machine runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}\n{}", machine.console()))
}

/// Waits until the service reports that every file is as wanted.
fn settle(machine: &Machine, lab: &Lab) {
    let is_there = || {
        let same = |(path, contents): (&PathBuf, &Vec<u8>)| {
            fs::read(inside(machine, path)).is_ok_and(|seen| without_uid(&seen) == *contents)
        };
        lab.wanted().iter().all(same).then_some(())
    };
    if until("every manifest and config file is there", ROUND_LIMIT, is_there).is_err() {
        panic!("{:#}\n{}", status(machine), machine.console());
    }
}

/// Boots what `ignition` made and looks at the node the way its operator would.
fn boots_and_serves(ignition: &'static str) {
    if !root_or_skip() {
        return;
    }
    let Some(lab) = Lab::build() else { return };
    let Some(tree) = lab.provision(ignition) else { return };
    assert_eq!(tree.read("/etc/hostname").unwrap().trim(), NODE);
    let machine = boot(tree);
    machine.wait_for_unit("basalt-agent.service", "active", BOOT_LIMIT).unwrap();
    settle(&machine, &lab);

    let status = status(&machine);
    assert_eq!(status["node"], NODE, "{status:#}");
    assert_eq!(status["generation"], 1, "{status:#}");
    assert_eq!(status["service"]["running"], true, "{status:#}");
    let items = status["items"].as_array().expect("items are a list");
    let pods: Vec<&str> = items
        .iter()
        .filter(|item| item["kind"] == "static-pod")
        .filter_map(|item| item["name"].as_str())
        .collect();
    assert_eq!(pods, ["exporter", "haproxy", "keepalived", "vault-agent"], "{status:#}");
    // This machine has no container runtime: files are all there is to look at.
    let is_file = |item: &&Value| item["kind"] == "static-pod" || item["kind"] == "config-file";
    assert!(items.iter().filter(is_file).count() > pods.len(), "{status:#}");
    for item in items.iter().filter(is_file) {
        assert_eq!(item["state"], "ok", "{item:#}");
    }
    // Nothing is left to do, and the machine's own user came with its key.
    assert_eq!(machine.run(&["basalt-agent", "plan"]).unwrap().status.code(), Some(0));
    assert!(machine.output(&["id", "core"]).unwrap().contains("(core)"));
    machine.wait_for_unit("lab-ready.service", "active", BOOT_LIMIT).unwrap();
    let restarts = machine.property("basalt-agent.service", "NRestarts").unwrap();
    assert_eq!(restarts.trim(), "0", "{}", machine.console());
    machine.poweroff().unwrap();
}

#[test]
fn a_node_made_by_ignition_2_24_serves() {
    boots_and_serves("ignition-2.24");
}

#[test]
fn a_node_made_by_ignition_2_14_serves() {
    boots_and_serves("ignition-2.14");
}

/// The agent dies at random moments while its files are being damaged: whatever the kubelet would see is whole.
#[test]
fn a_killed_agent_leaves_no_half_written_file() {
    const KILLS: usize = 50;
    if !root_or_skip() {
        return;
    }
    let Some(lab) = Lab::build() else { return };
    let Some(tree) = lab.provision("ignition-2.24") else { return };
    let wanted = lab.wanted();
    // The service's own pause between restarts would make this a test of patience, and its limit would end it.
    let quick = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=0\nRestartSteps=0\n";
    tree.write("/etc/systemd/system/basalt-agent.service.d/quick.conf", quick, 0o644).unwrap();
    let machine = boot(tree);
    machine.wait_for_unit("basalt-agent.service", "active", BOOT_LIMIT).unwrap();
    settle(&machine, &lab);

    let paths: Vec<&PathBuf> = wanted.keys().collect();
    let mut looks = 0;
    for round in 0..KILLS {
        // Something to write in every round: the files of one pod are gone.
        for path in paths.iter().filter(|_| true).skip(round % 2).step_by(2) {
            fs::remove_file(inside(&machine, path)).ok();
        }
        let Some(main) = machine.main_pid("basalt-agent.service").unwrap() else {
            panic!("{}", machine.console())
        };
        // From at once to long after the work is done, spread over the rounds.
        let deadline =
            Instant::now() + Duration::from_micros(400 * (round as u64 * 37 % KILLS as u64));
        while Instant::now() < deadline {
            looks += whole_or_absent(&machine, &wanted);
        }
        let killed = machine.kill_main("basalt-agent.service").unwrap();
        looks += whole_or_absent(&machine, &wanted);
        machine.wait_for_restart("basalt-agent.service", killed, ROUND_LIMIT).unwrap();
        assert_eq!(main, killed);
    }
    assert!(looks > KILLS, "the files were looked at {looks} times");
    settle(&machine, &lab);
    for folder in ["/etc/kubernetes/manifests", "/etc/basalt/pods/haproxy"] {
        let left: Vec<String> = fs::read_dir(inside(&machine, Path::new(folder)))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with('.'))
            .collect();
        assert!(left.is_empty(), "temporary files are left in {folder}: {left:?}");
    }
    machine.poweroff().unwrap();
}

/// Every visible file in the manifest folder and every config file is one that was wanted, whole.
fn whole_or_absent(machine: &Machine, wanted: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    let manifests = fs::read_dir(inside(machine, Path::new("/etc/kubernetes/manifests")))
        .expect("the kubelet's folder is there");
    for entry in manifests.flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            assert!(
                wanted.contains_key(&Path::new("/etc/kubernetes/manifests").join(&name)),
                "{name:?} would be run as a pod"
            );
        }
    }
    for (path, contents) in wanted {
        if let Ok(seen) = fs::read(inside(machine, path)) {
            assert_eq!(
                String::from_utf8_lossy(&without_uid(&seen)),
                String::from_utf8_lossy(contents),
                "`{}` is half-written",
                path.display()
            );
        }
    }
    wanted.len()
}

/// A node.json that cannot be used takes nothing down: the pods stay, also over a restart, and status names the line.
#[test]
fn a_broken_node_json_changes_nothing() {
    if !root_or_skip() {
        return;
    }
    let Some(lab) = Lab::build() else { return };
    let Some(tree) = lab.provision("ignition-2.24") else { return };
    let machine = boot(tree);
    machine.wait_for_unit("basalt-agent.service", "active", BOOT_LIMIT).unwrap();
    settle(&machine, &lab);

    let path = inside(&machine, Path::new("/etc/basalt/node.json"));
    let good = fs::read_to_string(&path).unwrap();
    let line =
        1 + good[..good.find("\"haproxy\"").expect("the node runs haproxy")].matches('\n').count();
    fs::write(&path, good.replacen("\"haproxy\"", "\"ha-proxy\"", 1)).unwrap();
    let place = format!("/etc/basalt/node.json:{line}:");
    let named = || {
        let status = status(&machine);
        let items = status["items"].as_array()?.clone();
        items
            .iter()
            .any(|item| item["kind"] == "node" && item.to_string().contains(&place))
            .then_some(())
    };
    until("status names the line", ROUND_LIMIT, named)
        .unwrap_or_else(|error| panic!("{error}: {:#}", status(&machine)));
    assert_eq!(machine.run(&["basalt-agent", "check"]).unwrap().status.code(), Some(1));
    settle(&machine, &lab);

    // Drift is repaired all the same, and a restart forgets nothing.
    machine.output(&["systemctl", "restart", "basalt-agent.service"]).unwrap();
    fs::remove_file(inside(&machine, Path::new("/etc/kubernetes/manifests/haproxy.yaml"))).unwrap();
    settle(&machine, &lab);

    fs::write(&path, &good).unwrap();
    let accepted = || (!status(&machine).to_string().contains(&place)).then_some(());
    until("the repaired node.json is accepted", ROUND_LIMIT, accepted).unwrap();
    assert_eq!(machine.run(&["basalt-agent", "plan"]).unwrap().status.code(), Some(0));
    machine.poweroff().unwrap();
}
