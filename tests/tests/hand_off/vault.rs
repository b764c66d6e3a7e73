//! The kubelet's certificates from a real Vault, which is set up from the same `cluster.yaml`: the way in, renewals by
//! handshake on both sides, Vault away, and a node that was off for longer than its certificates live.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use basalt_model::node::WRAPPED_SECRET_ID_PATH;
use e2e::control_plane::{ControlPlane, Wishes};
use e2e::hand_off::prober::Prober;
use e2e::hand_off::{API_ADDRESS, Identity, KUBELET_PKI, Yard, is_ready};
use e2e::network::Switch;
use e2e::peers::Peer;
use e2e::programs::xtask;
use e2e::vault_server::{Place, VaultServer, program};
use serde_json::{Value, json};

use crate::node::{READY_LIMIT, Running, boot, check_probes};

/// How often both certificates are renewed.
const ROTATIONS: usize = 20;
/// How long certificates live of which the node is to be off for longer.
const SHORT_LIFE: Duration = Duration::from_secs(20);
const CERTIFICATES: [&str; 2] = ["kubelet-client", "kubelet-serving"];

/// A Vault on the switch, and its operator.
struct Vault<'s> {
    server: VaultServer,
    switch: &'s Switch,
    xtask: PathBuf,
    folder: tempfile::TempDir,
}

impl<'s> Vault<'s> {
    fn start(program: &Peer, xtask: PathBuf, switch: &'s Switch) -> Self {
        let place = Place::Namespace { path: switch.namespace(), address: API_ADDRESS };
        let server = VaultServer::start_at(program, &place).unwrap();
        Vault { server, switch, xtask, folder: tempfile::tempdir().unwrap() }
    }

    /// `cargo xtask vault`, as somebody who may do everything.
    fn xtask(&self, arguments: &[&str]) -> Output {
        let mut command = self.switch.command(&self.xtask.display().to_string());
        command.args(["--quiet", "vault"]).args(arguments);
        command.arg("--cluster").arg(self.folder.path().join("cluster.yaml"));
        command.env("VAULT_TOKEN", self.server.root_token()).stdin(Stdio::null());
        command.output().unwrap()
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], status: i32) {
        let output = self.xtask(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    }

    /// Gives Vault what the cluster needs, and nothing by any other way.
    fn set_up(&self, cluster: &str) {
        fs::write(self.folder.path().join("cluster.yaml"), cluster).unwrap();
        self.check(&["plan"], 3);
        self.check(&["apply", "--yes", "--make-root"], 0);
        self.check(&["plan"], 0);
    }

    /// The secret for a node's first login.
    fn wrap(&self, node: &str) -> String {
        let output = self.xtask(&["wrap", node, "--output", "-"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let config: Value = serde_json::from_slice(&output.stdout).unwrap();
        let source = config["storage"]["files"][0]["contents"]["source"].as_str().unwrap();
        source.strip_prefix("data:,").unwrap().to_owned()
    }

    /// The authority that signs for kubelets.
    fn kubelet_ca(&self) -> String {
        let seen = self.server.read(&format!("{KUBELET_PKI}/cert/ca")).unwrap();
        seen["data"]["certificate"].as_str().unwrap().to_owned() + "\n"
    }

    /// From now on certificates of kubelets end soon, whatever is asked for.
    fn sign_for_a_moment(&self) {
        for role in CERTIFICATES {
            let path = format!("{KUBELET_PKI}/roles/{role}");
            let mut role = self.server.read(&path).unwrap()["data"].take();
            role["ttl"] = json!(SHORT_LIFE.as_secs());
            role["max_ttl"] = json!(SHORT_LIFE.as_secs());
            self.server.write(&path, &role).unwrap();
        }
    }
}

/// What the API server writes down of who asks it.
struct Audit {
    log: PathBuf,
}

impl Audit {
    /// The arguments of an API server that writes down who a node is, and by which certificate.
    fn new(folder: &Path) -> (Audit, Vec<String>) {
        let policy = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: [\"system:nodes\"]}
- {level: None}
";
        let (file, log) = (folder.join("audit-policy.yaml"), folder.join("audit.log"));
        fs::write(&file, policy).unwrap();
        let arguments = vec![
            format!("--audit-policy-file={}", file.display()),
            format!("--audit-log-path={}", log.display()),
        ];
        (Audit { log }, arguments)
    }

    /// The certificates by which the kubelet of `n1` was let in, as SHA-256: each that a handshake has shown.
    fn of_kubelet(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let rows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let rows = rows.filter(|row| {
            let agent = row["userAgent"].as_str().unwrap_or_default();
            agent.starts_with("kubelet/") && row["user"]["username"] == "system:node:n1"
        });
        let id = |row: Value| {
            let ids = &row["user"]["extra"]["authentication.kubernetes.io/credential-id"];
            Some(ids[0].as_str()?.strip_prefix("X509SHA256=")?.to_owned())
        };
        rows.filter_map(id).collect()
    }
}

/// What openssl says of the certificate in a text.
fn openssl(arguments: &[&str], pem: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), pem).unwrap();
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout"]).args(arguments).arg("-in").arg(file.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn sha256(pem: &str) -> String {
    let text = openssl(&["-fingerprint", "-sha256"], pem);
    text.split_once('=').unwrap().1.replace(':', "").to_lowercase()
}

/// The certificate of the kubelet as it is on the node with this root.
fn certificate(root: &Path, name: &str) -> String {
    let folder = root.join("var/lib/basalt/certificates").join(name);
    let set = folder.join(fs::read_link(folder.join("..data")).unwrap());
    fs::read_to_string(set.join("combined.pem")).unwrap()
}

/// The certificate that a handshake with the kubelet shows, when `ca` vouches for it.
fn shown(switch: &Switch, ca: &Path) -> Option<String> {
    let show = ["curl", "-s", "-o", "/dev/null", "-w", "%{certs}", "--max-time", "5", "--cacert"];
    let url = "https://192.0.2.11:10250/healthz";
    let output = switch.run(&[&show[..], &[&ca.display().to_string(), url]].concat()).unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// When the node became ready last.
fn ready_since(plane: &ControlPlane<'_>) -> String {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}";
    plane.kubectl(&["get", "node", "n1", "-o", path]).unwrap()
}

#[test]
fn a_node_joins_by_certificates_from_vault() {
    let Some(yard) = Yard::new() else { return };
    let (Some(program), Some(xtask)) = (program(), xtask()) else { return };
    let switch = Yard::switch().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (audit, arguments) = Audit::new(folder.path());
    let mut plane = yard.plane(&switch, Wishes { arguments, ..Wishes::default() }).unwrap();
    let mut vault = Vault::start(&program, xtask, &switch);
    let cluster = yard.cluster(&plane, "automatic", Identity::Vault(&vault.server));
    vault.set_up(&cluster);
    plane.trust(vault.kubelet_ca()).unwrap();
    let kubelet_ca = folder.path().join("kubelet-ca.pem");
    fs::write(&kubelet_ca, vault.kubelet_ca()).unwrap();

    // Nothing but the secret for a first login: the rest the node gets by itself.
    let tree = yard.tree(&yard.node_of(&cluster).unwrap()).unwrap();
    tree.write(WRAPPED_SECRET_ID_PATH, vault.wrap("n1"), 0o600).unwrap();
    let running = boot(tree, &switch);
    let containers = running.containers();
    let prober = Prober::start(&switch, &yard).unwrap();
    running.wait("the switch", |node| (node.stage() != "standalone").then_some(()));
    let switched = Instant::now();
    running.wait("the node to be ready", |_| is_ready(&plane).then_some(()));
    let ready = switched.elapsed();
    running.wait_for_stage("joined");
    eprintln!("ready {} ms after the switch", ready.as_millis());
    assert_eq!(running.containers(), containers);
    assert!(ready < READY_LIMIT, "{ready:?}");
    check_probes(&prober);
    for (name, usage) in CERTIFICATES.iter().zip(["Client", "Server"]) {
        let pem = certificate(&running.path(""), name);
        let subject = openssl(&["-subject", "-nameopt", "RFC2253"], &pem);
        assert_eq!(subject, "subject=CN=system:node:n1,O=system:nodes");
        let purposes = openssl(&["-ext", "extendedKeyUsage"], &pem);
        assert!(purposes.contains(&format!("TLS Web {usage} Authentication")), "{purposes}");
    }
    // The API server asks the kubelet, and verifies its certificate.
    running
        .wait("the log of a pod", |_| plane.kubectl(&["logs", "-n", "kube-system", "web-n1"]).ok());

    rotations(&running, &plane, &switch, &audit, &kubelet_ca);
    check_probes(&prober);
    assert_eq!(running.containers(), containers);

    without_vault(&running, &plane, &mut vault);
    assert_eq!(running.containers(), containers);
    drop(prober);

    let running = off_for_too_long(running, &plane, &vault);
    assert!(running.asks());
}

/// Both certificates are renewed again and again: each handshake, of the API server with the kubelet and of the kubelet
/// with the API server, shows the new ones, and the node stays ready with its kubelet.
fn rotations(
    running: &Running,
    plane: &ControlPlane<'_>,
    switch: &Switch,
    audit: &Audit,
    kubelet_ca: &Path,
) {
    let kubelet = running.machine.main_pid("kubelet.service").unwrap();
    let since = ready_since(plane);
    let serials =
        || CERTIFICATES.map(|name| openssl(&["-serial"], &certificate(&running.path(""), name)));
    let mut seen: BTreeSet<String> = serials().into();
    for rotation in 1..=ROTATIONS {
        running.machine.output(&["basalt-agent", "rotate", "--all", "--now"]).unwrap();
        seen.extend(serials());
        assert_eq!(seen.len(), 2 * (rotation + 1), "a serial number came twice");
        let serving = openssl(&["-serial"], &certificate(&running.path(""), "kubelet-serving"));
        running.wait("a handshake with the new serving certificate", |_| {
            let shown = shown(switch, kubelet_ca)?;
            (openssl(&["-serial"], &shown) == serving).then_some(())
        });
        // A kubelet keeps its connections for up to five minutes; what ends them brings the next handshake about.
        let wanted = sha256(&certificate(&running.path(""), "kubelet-client"));
        switch.run(&["ss", "--kill", "state", "established", "sport", "=", ":6443"]).unwrap();
        running.wait("a handshake by the new client certificate", |_| {
            audit.of_kubelet().contains(&wanted).then_some(())
        });
        assert!(is_ready(plane));
    }
    assert_eq!(running.machine.main_pid("kubelet.service").unwrap(), kubelet);
    assert_eq!(ready_since(plane), since, "the node was not ready in between");
    eprintln!("{ROTATIONS} rotations of both, {} serial numbers", seen.len());
}

/// A node that left comes back with Vault away: it is degraded, and its pods and certificates are good.
fn without_vault(running: &Running, plane: &ControlPlane<'_>, vault: &mut Vault<'_>) {
    running.machine.output(&["basalt-agent", "leave", "--timeout-seconds", "50"]).unwrap();
    assert_eq!(running.stage(), "standalone");
    vault.server.kill().unwrap();
    let rotate = running.machine.run(&["basalt-agent", "rotate", "--all", "--now"]).unwrap();
    assert!(!rotate.status.success(), "{rotate:?}");
    running.wait("a node that is degraded", |node| {
        (node.whole_status()["phase"]["name"] == "degraded").then_some(())
    });
    running.machine.output(&["basalt-agent", "join"]).unwrap();
    running.wait_for_stage("joined");
    assert!(is_ready(plane));
    vault.server.restart().unwrap();
    running.wait("a renewal that does not fail", |node| {
        let rotate = node.machine.run(&["basalt-agent", "rotate", "--all", "--now"]).unwrap();
        rotate.status.success().then_some(())
    });
}

/// The node is off until its certificates have ended, and finds Vault sealed when it is on again: its pods serve. As soon
/// as Vault answers, it is what it was.
fn off_for_too_long(running: Running, plane: &ControlPlane<'_>, vault: &Vault<'_>) -> Running {
    vault.sign_for_a_moment();
    running.machine.output(&["basalt-agent", "rotate", "--all", "--now"]).unwrap();
    let tree = running.machine.cut();
    let cut = Instant::now();
    // `xtask vault` finds what was changed by hand, and puts it right.
    vault.check(&["plan"], 3);
    vault.check(&["apply", "--yes"], 0);
    // The agent may have got more of them until its last moment.
    std::thread::sleep(SHORT_LIFE.saturating_sub(cut.elapsed()));
    for name in CERTIFICATES {
        assert!(is_over(&certificate(&tree.root(), name)), "{name}");
    }
    vault.server.seal().unwrap();
    let running = boot(tree, vault.switch);
    assert_eq!(running.stage(), "joined");
    running.wait_for_reason("API server");
    let pem = certificate(&running.path(""), "kubelet-client");
    assert!(is_over(&pem), "{}", openssl(&["-subject", "-issuer", "-dates"], &pem));
    assert!(running.asks());

    let containers = running.containers();
    let start = Instant::now();
    vault.server.unseal().unwrap();
    running.wait("certificates that are good", |node| {
        let pems = CERTIFICATES.map(|name| certificate(&node.path(""), name));
        (!pems.iter().any(|pem| is_over(pem))).then_some(())
    });
    running.wait("a node that lives", |_| {
        (is_ready(plane) && crate::joining::lease_age(plane)? < 10).then_some(())
    });
    eprintln!("a node of the cluster {} ms after Vault was unsealed", start.elapsed().as_millis());
    running.wait("a good status", |node| (node.status()["state"] == "ok").then_some(()));
    assert_eq!(running.containers(), containers);
    running
}

/// Whether a certificate has ended.
fn is_over(pem: &str) -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), pem).unwrap();
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-checkend", "0", "-in"]).arg(file.path());
    !command.output().unwrap().status.success()
}
