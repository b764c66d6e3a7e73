//! The vault-agent pod and the real OpenBao, which speaks Vault's API.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use basalt_model::node::{Node, VaultAuth};
use e2e::peers::{Peer, peer};
use e2e::ports::free_port;
use e2e::vault_server::{Place, VaultCluster, VaultServer};
use serde_json::json;

use crate::container::{Container, Running};
use crate::http::status;
use crate::{lab, pod, wait_for};

const PATIENCE: Duration = Duration::from_secs(30);

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
    let metrics_port = free_port().unwrap();
    let container = Container::new(
        &pod(&node(free_port().unwrap(), metrics_port, "role"), "vault-agent"),
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

/// A Vault with an AppRole and a secret.
fn vault(bao: &Peer) -> VaultServer {
    let vault = VaultServer::start(bao).unwrap();
    set_up(&vault);
    vault
}

fn set_up(vault: &VaultServer) {
    for (path, body) in [
        ("sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}})),
        (
            "sys/policies/acl/registry",
            json!({"policy": "path \"secret/data/registry\" { capabilities = [\"read\"] }"}),
        ),
        ("sys/auth/approle", json!({"type": "approle"})),
        ("auth/approle/role/node", json!({"token_policies": "registry"})),
    ] {
        vault.write(path, &body).unwrap();
    }
    keep_password(vault, "correct horse");
}

/// The role's id, and a secret id.
fn app_role(vault: &VaultServer) -> (String, String) {
    let role_id = vault.read("auth/approle/role/node/role-id").unwrap();
    let secret_id = vault.write("auth/approle/role/node/secret-id", &json!({})).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&role_id["data"]["role_id"]), text(&secret_id["data"]["secret_id"]))
}

fn keep_password(vault: &VaultServer, text: &str) {
    let body = json!({"data": {"password": text}});
    // A new mount of the second version takes no writes until it has looked for data of the first.
    wait_for("the secret to be kept", PATIENCE, || {
        vault.write("secret/data/registry", &body).is_ok()
    });
}

#[test]
fn vault_agent_renders_a_secret() {
    let Some(bao) = peer("bao") else { return };
    let mut vault = vault(&bao);
    let (role_id, secret_id) = app_role(&vault);

    let root = tempfile::tempdir().unwrap();
    let metrics_port = free_port().unwrap();
    let node = node(vault.socket_address().port(), metrics_port, &role_id);
    let container = Container::new(&pod(&node, "vault-agent"), root.path());
    provision(&container, vault.ca_pem(), &secret_id);
    let destination = container.inside("/var/lib/registry/se\"c${r}et/password");
    let before = files(root.path());
    // The second start has nothing but what the first one left, and Vault is away for a while.
    for start in ["first", "second"] {
        if start == "second" {
            vault.kill().unwrap();
        }
        let mut running = Running::start(&container.command(&bao.program));
        if start == "second" {
            wait_for("a try without Vault", PATIENCE, || {
                running.said().contains("error authenticating")
            });
            assert!(!destination.exists());
            vault.restart().unwrap();
        }
        let path = destination.clone();
        wait_for("the secret in its file", PATIENCE, || {
            assert_eq!(running.child.try_wait().unwrap(), None, "{start}: {}", running.said());
            path.exists()
        });
        assert_eq!(std::fs::read_to_string(&destination).unwrap(), "correct horse\n");
        assert_eq!(destination.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!running.said().contains("correct horse"));
        // What it is let in with stays in its memory.
        let written: Vec<PathBuf> = files(root.path()).difference(&before).cloned().collect();
        assert_eq!(written, std::slice::from_ref(&destination));
        assert!(running.terminate().success(), "{}", running.said());
        std::fs::remove_file(&destination).unwrap();
    }
}

/// Each of the servers dies once, and what is kept by then is rendered all the same: from the others, each of which
/// shows a certificate for its own address alone.
#[test]
fn vault_agent_outlives_each_of_vaults_servers() {
    let Some(bao) = peer("bao") else { return };
    let mut cluster =
        VaultCluster::start(&bao, &[Place::Loopback, Place::Loopback, Place::Loopback]).unwrap();
    set_up(&cluster.servers[0]);
    let (role_id, secret_id) = app_role(&cluster.servers[0]);

    let root = tempfile::tempdir().unwrap();
    let metrics_port = free_port().unwrap();
    let mut node = node(1, metrics_port, &role_id);
    node.vault.as_mut().unwrap().addresses = cluster.addresses();
    let container = Container::new(&pod(&node, "vault-agent"), root.path());
    provision(&container, cluster.servers[0].ca_pem(), &secret_id);
    let destination = container.inside("/var/lib/registry/se\"c${r}et/password");
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&bao.program, programs.path().join("vault")).unwrap();
    let path = format!("PATH={}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let mut command = ["env".to_owned(), path].to_vec();
    command.extend(container.command(&bao.program));
    let mut running = Running::start(&command);
    let mut wait_for_password = |text: &str, limit| {
        wait_for(text, limit, || {
            assert_eq!(running.child.try_wait().unwrap(), None, "{}", running.said());
            std::fs::read_to_string(&destination).is_ok_and(|found| found == format!("{text}\n"))
        });
    };
    wait_for_password("correct horse", PATIENCE);
    for server in 0..2 {
        cluster.servers[server].kill().unwrap();
        let leader = cluster.leader().unwrap();
        let text = format!("without {server}");
        keep_password(&cluster.servers[leader], &text);
        std::fs::remove_file(&destination).unwrap();
        wait_for_password(&text, Duration::from_secs(90));
        cluster.servers[server].restart().unwrap();
    }
    assert_eq!(status(metrics_port, "/agent/v1/metrics"), Some(200));
    assert_eq!(running.said().matches("is silent; going on with").count(), 2, "{}", running.said());
    let said = running.said();
    assert!(running.terminate().success(), "{said}");
}

/// All files below `folder`.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { BTreeSet::from([path]) };
    paths.flat_map(below).collect()
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
    let vault = vault(&bao);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wanted = rcgen::CertificateParams::new(Vec::new()).unwrap();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, "n1");
    wanted.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let identity = wanted.self_signed(&key).unwrap();
    vault.write("sys/auth/cert", &json!({"type": "cert"})).unwrap();
    let role = json!({"certificate": identity.pem(), "token_policies": "registry"});
    vault.write("auth/cert/certs/node", &role).unwrap();

    let root = tempfile::tempdir().unwrap();
    let mut node = node(vault.socket_address().port(), free_port().unwrap(), "");
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
    provision(&container, vault.ca_pem(), "");
    for (name, text) in [("certificate.pem", identity.pem()), ("key.pem", key.serialize_pem())] {
        let path = container.inside(&format!("/var/lib/basalt/identity/{name}"));
        std::fs::write(path, text).unwrap();
    }
    let destination = container.inside("/var/lib/registry/se\"c${r}et/password");
    for text in ["one", "two"] {
        keep_password(&vault, text);
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
