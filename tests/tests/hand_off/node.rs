//! A node that runs, as tests look at it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use e2e::control_plane::{Authority, ControlPlane, Wishes};
use e2e::hand_off::prober::{self, Prober};
use e2e::hand_off::{self, Pairs, Yard};
use e2e::namespaces::Machine;
use e2e::network::Switch;
use e2e::tree::Tree;
use e2e::wait::until;
use serde_json::Value;

pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// How long a node may take from the switch until it is ready.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(10);
const RECORD: &str = "/var/lib/basalt/hand-off.json";

pub(crate) fn plane<'s>(yard: &Yard, switch: &'s Switch) -> ControlPlane<'s> {
    yard.plane(switch, Wishes::default()).unwrap()
}

/// The tree of a node with certificates from the test.
pub(crate) fn tree(yard: &Yard, plane: &ControlPlane<'_>, hand_off: &str) -> Tree {
    yard.tree(&yard.node(plane, hand_off).unwrap()).unwrap()
}

/// Boots a tree and waits until its pods serve.
pub(crate) fn boot(tree: Tree, switch: &Switch) -> Running {
    let running = Running { machine: Yard::boot(tree, switch).unwrap() };
    running.wait("its pods to serve", |node| node.asks().then_some(()));
    running
}

/// Certificates as Vault would sign them.
pub(crate) fn certificates(authority: &Authority, name: &str) -> Pairs {
    hand_off::certificates(authority, name).unwrap()
}

/// Of all questions so far, by neither way more than one may have got no answer.
#[track_caller]
pub(crate) fn check_probes(prober: &Prober) {
    for count in prober.counts().unwrap() {
        eprintln!("{}: {} of {} probes lost", count.way, count.lost, count.asked);
        assert!(count.asked > 0 && count.lost <= 1, "{count:?}");
    }
}

/// A machine that runs.
pub(crate) struct Running {
    pub(crate) machine: Machine,
}

impl Running {
    /// Where a path of the node is on this machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.machine.root().join(path.trim_start_matches('/'))
    }

    /// Puts certificates in place, each by one rename.
    pub(crate) fn put_certificates(&self, pairs: &Pairs) {
        hand_off::put_certificates(&self.machine, pairs).unwrap();
    }

    /// Writes a file that its owner alone may read.
    pub(crate) fn put_secret(&self, path: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let file = self.path(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Whether the node serves.
    pub(crate) fn asks(&self) -> bool {
        prober::WAYS.iter().all(|(_, address)| {
            let url = prober::url(address);
            let answer = self.machine.output(&["curl", "-fsS", "--max-time", "2", &url]);
            answer.is_ok_and(|answer| answer == "carried")
        })
    }

    /// The containers that run, by id.
    pub(crate) fn containers(&self) -> BTreeSet<String> {
        let listed = self.machine.output(&["ctr", "-n", "k8s.io", "tasks", "list"]).unwrap();
        let running = listed.lines().filter(|line| line.contains("RUNNING"));
        running.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// The stage that the record tells; `standalone` where there is none.
    pub(crate) fn stage(&self) -> String {
        hand_off::stage(&self.machine).unwrap()
    }

    /// The record as it is.
    pub(crate) fn record(&self) -> Value {
        let text = fs::read_to_string(self.path(RECORD)).unwrap_or_else(|_| "null".to_owned());
        serde_json::from_str(&text).unwrap()
    }

    /// What the agent says of the node.
    pub(crate) fn whole_status(&self) -> Value {
        let text = self.machine.output(&["basalt-agent", "status", "--output", "json"]).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The row of the status about the cluster.
    pub(crate) fn status(&self) -> Value {
        let status = self.whole_status();
        let rows = status["items"].as_array().unwrap();
        rows.iter().find(|row| row["kind"] == "hand-off").cloned().unwrap_or(Value::Null)
    }

    /// Waits; when it takes too long, shows what the agent and the kubelet said.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, look: impl Fn(&Running) -> Option<T>) -> T {
        until(what, LIMIT, || look(self)).unwrap_or_else(|error| {
            let look = "basalt-agent status; for unit in basalt-agent kubelet; do
                journalctl --no-pager -n50 -o cat -u $unit; done;
                journalctl --no-pager -o cat -u kubelet | grep keepalived | tail -n40";
            let seen = self.machine.run(&["sh", "-c", look]);
            let seen = seen.map(|output| output.stdout).unwrap_or_default();
            panic!("{error}\n{}\n{}", String::from_utf8_lossy(&seen), self.record())
        })
    }

    /// Waits until the status says this about the cluster, and gives the row.
    #[track_caller]
    pub(crate) fn wait_for_reason(&self, word: &str) -> Value {
        let says = |row: &Value| row["reason"].as_str().is_some_and(|text| text.contains(word));
        self.wait(&format!("the status to say `{word}`"), |node| Some(node.status()).filter(says))
    }

    /// Waits for a stage.
    #[track_caller]
    pub(crate) fn wait_for_stage(&self, stage: &str) {
        self.wait(&format!("the stage {stage}"), |node| (node.stage() == stage).then_some(()));
    }
}
