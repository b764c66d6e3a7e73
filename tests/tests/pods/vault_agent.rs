//! The vault-agent pod and the real OpenBao, which speaks Vault's API.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use basalt_model::node::{Node, VaultAuth};
use e2e::peers::{Peer, peer};

use crate::container::{Container, Running};
use crate::http::{free_port, status};
use crate::{lab, pod, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);
const ROOT_TOKEN: &str = "root-of-the-test";

/// The lab's node with a Vault on this machine.
fn node(vault_port: u16, metrics_port: u16, role_id: &str) -> Node {
    let mut node = lab("n1");
    let vault = node.vault.as_mut().unwrap();
    vault.addresses = vec![format!("https://127.0.0.1:{vault_port}")];
    let VaultAuth::AppRole { role_id: place, .. } = &mut vault.auth else { panic!("AppRole") };
    *place = role_id.to_owned();
    let agent = node.vault_agent.as_mut().unwrap();
    agent.metrics_port = metrics_port;
    // Characters that mean something to HCL.
    agent.templates[0].destination = "/var/lib/registry/se\"c${r}et/password".parse().unwrap();
    node
}

/// Puts the trust anchor and the secret id where the host has them.
fn provision(container: &Container, ca: &str, secret_id: &str) {
    for (path, contents) in
        [("/etc/basalt/trust/vault.pem", ca), ("/var/lib/basalt/identity/secret-id", secret_id)]
    {
        let path = container.inside(path);
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn vault_agent_waits_for_a_vault_that_is_away() {
    let Some(bao) = peer("bao") else { return };
    let folder = tempfile::tempdir().unwrap();
    let metrics_port = free_port();
    let container = Container::new(
        &pod(&node(free_port(), metrics_port, "role"), "vault-agent"),
        folder.path(),
    );
    let ca = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert.pem();
    provision(&container, &ca, "secret");
    let mut running = Running::start(&container.command(&bao.program));
    wait_for("probes answered", PATIENCE, || {
        status(metrics_port, "/agent/v1/metrics") == Some(200)
    });
    wait_for("a second try", PATIENCE, || {
        assert_eq!(running.child.try_wait().unwrap(), None, "{}", running.said());
        running.said().matches("error authenticating").count() >= 2
    });
    // For scrapers, and nothing else is answered here.
    assert_eq!(status(metrics_port, "/agent/v1/metrics?format=prometheus"), Some(200));
    assert_ne!(status(metrics_port, "/v1/sys/health"), Some(200));
    // What the node logs in with is still there for the next start.
    assert!(container.inside("/var/lib/basalt/identity/secret-id").exists());
}

/// A Vault with TLS, an AppRole and a secret.
struct Vault<'a> {
    bao: &'a Peer,
    folder: &'a Path,
    port: u16,
    _running: Running,
}

impl<'a> Vault<'a> {
    fn start(bao: &'a Peer, folder: &'a Path) -> Self {
        let port = free_port();
        let command = [
            "env".to_owned(),
            format!("HOME={}", folder.display()),
            bao.program.display().to_string(),
            "server".to_owned(),
            "-dev-tls".to_owned(),
            format!("-dev-tls-cert-dir={}", folder.display()),
            format!("-dev-root-token-id={ROOT_TOKEN}"),
            format!("-dev-listen-address=127.0.0.1:{port}"),
        ];
        let running = Running::start(&command);
        wait_for("Vault", PATIENCE, || running.said().contains("Development mode should NOT"));
        let vault = Self { bao, folder, port, _running: running };
        std::fs::write(
            folder.join("policy.hcl"),
            "path \"secret/data/registry\" { capabilities = [\"read\"] }",
        )
        .unwrap();
        let policy = folder.join("policy.hcl").display().to_string();
        vault.ask(&["policy", "write", "registry", &policy]);
        vault.ask(&["auth", "enable", "approle"]);
        vault.ask(&["write", "auth/approle/role/node", "token_policies=registry"]);
        vault.ask(&["kv", "put", "-mount=secret", "registry", "password=correct horse"]);
        vault
    }

    fn ca(&self) -> String {
        std::fs::read_to_string(self.folder.join("vault-ca.pem")).unwrap()
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.bao.program)
            .args(arguments)
            .env("HOME", self.folder)
            .env("VAULT_ADDR", format!("https://127.0.0.1:{}", self.port))
            .env("VAULT_CACERT", self.folder.join("vault-ca.pem"))
            .env("VAULT_TOKEN", ROOT_TOKEN)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn vault_agent_renders_a_secret() {
    let Some(bao) = peer("bao") else { return };
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(&bao, folder.path());
    let role_id = vault.ask(&["read", "-field=role_id", "auth/approle/role/node/role-id"]);
    let secret_id =
        vault.ask(&["write", "-force", "-field=secret_id", "auth/approle/role/node/secret-id"]);

    let root = tempfile::tempdir().unwrap();
    let metrics_port = free_port();
    let node = node(vault.port, metrics_port, role_id.trim());
    let container = Container::new(&pod(&node, "vault-agent"), root.path());
    provision(&container, &vault.ca(), &secret_id);
    let destination = container.inside("/var/lib/registry/se\"c${r}et/password");
    // The second start has nothing but what the first one left.
    for start in ["first", "second"] {
        let mut running = Running::start(&container.command(&bao.program));
        let path = destination.clone();
        wait_for("the secret in its file", PATIENCE, || {
            assert_eq!(running.child.try_wait().unwrap(), None, "{start}: {}", running.said());
            path.exists()
        });
        assert_eq!(std::fs::read_to_string(&destination).unwrap(), "correct horse\n");
        assert_eq!(destination.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!running.said().contains("correct horse"));
        assert!(running.terminate().success(), "{}", running.said());
        std::fs::remove_file(&destination).unwrap();
    }
}

/// With the certificate by which the node logs in, for a consumer that is not root. The file is compared with what it
/// should be at the second start, though nobody but its owner may read it.
#[test]
fn vault_agent_renders_for_another_user() {
    use std::os::unix::fs::MetadataExt;

    let Some(bao) = peer("bao") else { return };
    if !e2e::needs::root_or_skip() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(&bao, folder.path());
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wanted = rcgen::CertificateParams::new(Vec::new()).unwrap();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, "n1");
    wanted.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let identity = wanted.self_signed(&key).unwrap();
    let trusted = folder.path().join("identity.pem");
    std::fs::write(&trusted, identity.pem()).unwrap();
    vault.ask(&["auth", "enable", "cert"]);
    let certificate = format!("certificate=@{}", trusted.display());
    vault.ask(&["write", "auth/cert/certs/node", &certificate, "token_policies=registry"]);

    let root = tempfile::tempdir().unwrap();
    let mut node = node(vault.port, free_port(), "");
    let path = |name: &str| format!("/var/lib/basalt/identity/{name}").parse().unwrap();
    node.vault.as_mut().unwrap().auth = VaultAuth::Cert {
        mount: "cert".to_owned(),
        role: Some("node".to_owned()),
        certificate_file: path("certificate.pem"),
        key_file: path("key.pem"),
    };
    let template = &mut node.vault_agent.as_mut().unwrap().templates[0];
    (template.user_id, template.group_id) = (1234, 2345);
    template.mode = "0600".parse().unwrap();
    let container = Container::new(&pod(&node, "vault-agent"), root.path());
    provision(&container, &vault.ca(), "");
    for (name, text) in [("certificate.pem", identity.pem()), ("key.pem", key.serialize_pem())] {
        let path = container.inside(&format!("/var/lib/basalt/identity/{name}"));
        std::fs::write(path, text).unwrap();
    }
    let destination = container.inside("/var/lib/registry/se\"c${r}et/password");
    let password = |text: &str| {
        let argument = format!("password={text}");
        vault.ask(&["kv", "put", "-mount=secret", "registry", &argument]);
    };
    for text in ["one", "two"] {
        password(text);
        let mut running = Running::start(&container.command(&bao.program));
        wait_for(text, PATIENCE, || {
            assert_eq!(running.child.try_wait().unwrap(), None, "{}", running.said());
            std::fs::read_to_string(&destination).is_ok_and(|found| found == format!("{text}\n"))
        });
        let is_given = || {
            let file = destination.metadata().unwrap();
            (file.uid(), file.gid(), file.mode() & 0o777) == (1234, 2345, 0o600)
        };
        wait_for("its owner", PATIENCE, is_given);
        assert!(running.terminate().success(), "{}", running.said());
    }
}
