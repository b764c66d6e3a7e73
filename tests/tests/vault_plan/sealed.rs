//! The shipped unit in a machine with the real systemd: the first login, its identity sealed by `systemd-creds` within what
//! the unit allows the agent, and opened again by the next process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use basalt_model::node::WRAPPED_SECRET_ID_PATH;
use e2e::checkout;
use e2e::namespaces::Machine;
use e2e::programs::agent;
use e2e::tree::Tree;
use e2e::wait::until;
use serde_json::Value as Json;

use crate::setup::Setup;

const SERVICE: &str = "basalt-agent.service";
const LIMIT: Duration = Duration::from_secs(90);
/// The key of the host, which systemd-creds makes and keeps.
const HOST_KEY: &str = "/var/lib/systemd/credential.secret";
/// Where nobody looks for it.
const AWAY: &str = "/var/lib/systemd/credential.away";
const IDENTITY: &str = "/var/lib/basalt/identity/node.json";

/// A machine with the agent as its service, and its Vault.
struct Lab {
    setup: Setup,
    // Dropped after the Vault, which is in its network.
    machine: Machine,
}

impl Lab {
    fn start() -> Option<Lab> {
        let agent = agent()?;
        let tree = Tree::debian()?;
        fs::copy(agent, tree.path("/usr/bin/basalt-agent")).unwrap();
        let unit = fs::read(checkout::root().join("agent/dist").join(SERVICE)).unwrap();
        tree.write(&format!("/etc/systemd/system/{SERVICE}"), unit, 0o644).unwrap();
        let settings = "{\"generations\": {\"proof\": \"none\"}}\n";
        tree.write("/etc/basalt/agent.conf.d/50-lab.json", settings, 0o644).unwrap();
        fs::create_dir_all(tree.path("/etc/kubernetes/manifests")).unwrap();
        let machine = Machine::boot(tree).unwrap();
        let setup = Setup::applied_in(Some(format!("/proc/{}/ns/net", machine.init_pid())))?;
        let mut node = setup.node("n1");
        for certificate in &mut node.vault.as_mut().unwrap().certificates {
            certificate.reload.clear();
            certificate.prove.clear();
        }
        let write = |path: &str, text: &str| machine.tree().write(path, text, 0o600).unwrap();
        write(WRAPPED_SECRET_ID_PATH, &setup.wrap("n1"));
        write("/etc/basalt/node.json", &node.to_json());
        machine.output(&["systemctl", "restart", SERVICE]).unwrap();
        Some(Lab { setup, machine })
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.machine.root().join(path.trim_start_matches('/'))
    }

    fn said(&self) -> String {
        let journal = ["journalctl", "--no-pager", "-o", "verbose", "-u", SERVICE];
        self.machine.output(&journal).unwrap_or_default()
    }

    /// Waits for another certificate in use than `before`, and gives its serial number.
    #[track_caller]
    fn wait_for_new(&self, before: &str) -> String {
        let serial = until("another certificate in use", LIMIT, || {
            let output = self.machine.run(&["basalt-agent", "certs", "--output=json"]).ok()?;
            let report: Json = serde_json::from_slice(&output.stdout).ok()?;
            let row = &report["certificates"][0];
            let serial = row["leaf"]["serial"].as_str()?;
            (row["standing"] == "in-use" && serial != before).then(|| serial.to_owned())
        });
        serial.unwrap_or_else(|error| panic!("{error}\n{}", self.said()))
    }

    fn status(&self) -> String {
        let output = self.machine.run(&["basalt-agent", "status"]).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// How often Vault answered calls of this path.
    fn calls(&self, path: &str) -> usize {
        self.setup.vault.requests().unwrap().iter().filter(|it| it.path == path).count()
    }
}

#[test]
fn an_identity_is_sealed_and_opened_within_what_the_unit_allows() {
    let Some(lab) = Lab::start() else { return };
    let first = lab.wait_for_new("");
    for (property, wanted) in [("ProtectSystem", "strict"), ("NoNewPrivileges", "yes")] {
        assert_eq!(lab.machine.property(SERVICE, property).unwrap(), wanted);
    }
    let filter = lab.machine.property(SERVICE, "SystemCallFilter").unwrap();
    assert!(filter.contains("openat") && !filter.contains("ptrace"), "{filter}");
    let main = lab.machine.main_pid(SERVICE).unwrap().unwrap();
    let status = lab.machine.output(&["cat", &format!("/proc/{main}/status")]).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");

    let kept: Json = serde_json::from_slice(&fs::read(lab.path(IDENTITY)).unwrap()).unwrap();
    assert_eq!(kept["key"]["by"], "systemd-creds", "{}\n{}", lab.status(), lab.said());
    assert!(!kept.to_string().contains("PRIVATE KEY"));
    let key = fs::metadata(lab.path(HOST_KEY)).unwrap();
    assert_eq!((key.mode() & 0o777, key.uid()), (0o400, 0));
    assert!(!lab.path(WRAPPED_SECRET_ID_PATH).exists(), "it worked once and is gone");
    let logins = || (lab.calls("auth/approle/login"), lab.calls("auth/cert/login"));
    let (by_secret, by_identity) = logins();
    assert_eq!(by_secret, 1);

    // Another process, and one that finds nothing below /run, as after a boot.
    lab.machine.output(&["systemctl", "restart", SERVICE]).unwrap();
    let rotate = ["basalt-agent", "rotate", "--all", "--now"];
    let running = || lab.machine.run(&rotate).ok()?.status.success().then_some(());
    until("the next process to rotate", LIMIT, running).unwrap();
    let second = lab.wait_for_new(&first);
    lab.machine.output(&["systemctl", "stop", SERVICE]).unwrap();
    lab.machine.output(&["rm", "-r", "/run/basalt"]).unwrap();
    lab.machine.output(&["systemctl", "start", SERVICE]).unwrap();
    until("the process after that to rotate", LIMIT, running).unwrap();
    let third = lab.wait_for_new(&second);
    let (by_secret_now, by_identity_now) = logins();
    assert_eq!(by_secret_now, 1, "nobody was needed");
    assert!(by_identity_now >= by_identity + 2, "{by_identity_now}");

    // With the key of another host it is nobody's; what is served stays, and status says why.
    lab.machine.output(&["systemctl", "stop", SERVICE]).unwrap();
    lab.machine.output(&["mv", HOST_KEY, AWAY]).unwrap();
    lab.machine.output(&["systemctl", "start", SERVICE]).unwrap();
    let told = || lab.status().contains(IDENTITY).then_some(());
    until("status to say that the identity cannot be opened", LIMIT, told)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", lab.status(), lab.said()));
    assert_eq!(lab.wait_for_new(""), third);
    lab.machine.output(&["systemctl", "stop", SERVICE]).unwrap();
    lab.machine.output(&["mv", AWAY, HOST_KEY]).unwrap();
    lab.machine.output(&["systemctl", "start", SERVICE]).unwrap();
    until("the identity to be good again", LIMIT, running).unwrap();
    lab.wait_for_new(&third);
    for secret in lab.setup.vault.secrets() {
        assert!(!lab.said().contains(&secret));
    }
}
