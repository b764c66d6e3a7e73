//! A Vault, the lab's cluster for it, and a node that logs in.

use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use basalt_model::cluster::Reading;
use basalt_model::names::RelativePath;
use basalt_model::node::Node;
use e2e::programs::xtask;
use e2e::vault_server::{Place, VaultServer, program};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value as Json, json};

/// A Vault for the lab.
pub(crate) struct Setup {
    pub(crate) vault: VaultServer,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cluster: PathBuf,
    xtask: PathBuf,
    /// The network it is in, when that is not the test's own.
    network: Option<String>,
}

const ANCHOR: (&str, &str) =
    ("    -----BEGIN CERTIFICATE-----\n", "    -----END CERTIFICATE-----\n");

const SECRETS: &str = "  secrets:
    - name: app
      roles: [controller]
      template: '{{ kv(\"secret\", \"lab/app\").password }}'
      destination: /var/lib/app/password
";

impl Setup {
    /// With nothing in it yet.
    pub(crate) fn new() -> Option<Setup> {
        Setup::with("")
    }

    /// The same for a cluster with these sections as well.
    pub(crate) fn with(sections: &str) -> Option<Setup> {
        Setup::made(None, sections)
    }

    fn made(network: Option<String>, sections: &str) -> Option<Setup> {
        let (program, xtask) = (program()?, xtask()?);
        let place = match network.clone() {
            None => Place::Loopback,
            Some(path) => Place::Namespace { path, address: Ipv4Addr::LOCALHOST.into() },
        };
        let vault =
            VaultServer::start_at(&program, &place).unwrap_or_else(|error| panic!("{error:#}"));
        let folder = tempfile::tempdir().unwrap();
        let lab = e2e::checkout::cluster("lab");
        for name in ["butane", "files", "haproxy", "pods"] {
            symlink(lab.join(name), folder.path().join(name)).unwrap();
        }
        let text = std::fs::read_to_string(lab.join("cluster.yaml")).unwrap();
        let (before, rest) = text.split_once(ANCHOR.0).unwrap();
        let (_, after) = rest.split_once(ANCHOR.1).unwrap();
        let anchor: String = vault.ca_pem().lines().map(|line| format!("    {line}\n")).collect();
        let text = format!("{before}{anchor}{after}");
        let addresses = "[\"https://192.0.2.21:8200\", \"https://192.0.2.22:8200\"]";
        assert!(text.contains(addresses));
        let text = text.replace(addresses, &format!("[\"{}\"]", vault.address()));
        let named = "      include_node_name: true\n";
        assert_eq!(text.matches(named).count(), 1);
        let text = text.replace(named, &format!("{named}      include_node_addresses: true\n"));
        let text = text.replace("\nvault_agent:\n", &format!("{SECRETS}\nvault_agent:\n"));
        let cluster = folder.path().join("cluster.yaml");
        std::fs::write(&cluster, text + sections).unwrap();
        Some(Setup { vault, folder, cluster, xtask, network })
    }

    /// With all that the cluster needs, and secrets to read.
    pub(crate) fn applied() -> Option<Setup> {
        Setup::applied_in(None)
    }

    /// The same in a network namespace, such as a machine's.
    pub(crate) fn applied_in(network: Option<String>) -> Option<Setup> {
        let setup = Setup::made(network, "")?;
        let apply = setup.xtask(&["apply", "--yes", "--make-root"]);
        assert_eq!(apply.status.code(), Some(0), "{apply:?}");
        for path in ["secret/data/lab/app", "secret/data/other"] {
            setup.vault.write(path, &json!({"data": {"password": "correct horse"}})).unwrap();
        }
        Some(setup)
    }

    /// Runs `xtask vault` as Vault's operator.
    pub(crate) fn xtask(&self, arguments: &[&str]) -> Output {
        self.command(arguments).env("VAULT_TOKEN", self.vault.root_token()).output().unwrap()
    }

    /// The same for another cluster.
    pub(crate) fn xtask_for(&self, cluster: &str, arguments: &[&str]) -> Output {
        let mut command = self.program();
        command.args(arguments).args(["--cluster", cluster]);
        command.env("VAULT_TOKEN", self.vault.root_token()).output().unwrap()
    }

    /// `xtask vault` without a token.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program();
        command.args(arguments).arg("--cluster").arg(&self.cluster);
        command
    }

    fn program(&self) -> Command {
        let mut command = match &self.network {
            None => Command::new(&self.xtask),
            Some(path) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={path}")).arg("--").arg(&self.xtask);
                command
            }
        };
        command.args(["--quiet", "vault"]);
        command.env_remove("VAULT_TOKEN").stdin(Stdio::null());
        command
    }

    /// Makes the secret for a node's first login, and gives the token in the Ignition config.
    pub(crate) fn wrap(&self, node: &str) -> String {
        let file = self.folder.path().join(format!("{node}.ign"));
        let output = self.xtask(&["wrap", node, "--force", "--output", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let token = token_in(&std::fs::read(&file).unwrap());
        assert!(!format!("{output:?}").contains(&token));
        token
    }

    /// Opens the secret and logs in with it, as the agent does: the token of the first login.
    pub(crate) fn enrol(&self, node: &str) -> String {
        let opened = self.vault.call("POST", "sys/wrapping/unwrap", Some(&self.wrap(node)), None);
        let secret_id = opened.unwrap().success().unwrap()["data"]["secret_id"].clone();
        let body = json!({"role_id": format!("basalt-lab-{node}"), "secret_id": secret_id});
        let login = self.vault.call("POST", "auth/approle/login", None, Some(&body)).unwrap();
        token_of(&login.success().unwrap())
    }

    /// The certificate of the node's identity, with chain and key.
    pub(crate) fn identity(&self, node: &str) -> String {
        let token = self.enrol(node);
        let (csr, key) = request(node, &[]);
        let body = json!({"csr": csr, "common_name": node, "ttl": "720h"});
        let path = "pki/lab-identities/sign/node";
        let signed = self.vault.call("POST", path, Some(&token), Some(&body)).unwrap();
        let signed = signed.success().unwrap();
        format!("{}\n{key}", signed["data"]["certificate"].as_str().unwrap())
    }

    /// The token of a node that has its identity.
    pub(crate) fn log_in(&self, node: &str) -> String {
        let role = "basalt-lab-nodes-controller";
        let login = self.vault.log_in("cert", role, &self.identity(node)).unwrap();
        token_of(&login.success().unwrap())
    }

    /// A node of the cluster as `build-image` writes it, less its pods and what its templates read.
    pub(crate) fn node(&self, name: &str) -> Node {
        let folder = self.folder.path();
        let mut read = |file: &RelativePath| {
            std::fs::read_to_string(folder.join(file.as_str())).map_err(|error| error.to_string())
        };
        let bytes = std::fs::read(&self.cluster).unwrap();
        let cluster = Reading::with("cluster.yaml", &bytes, &mut read).cluster.unwrap();
        let mut nodes = cluster.nodes.into_iter();
        let mut node = nodes.find(|node| node.name.as_str() == name).unwrap();
        (node.haproxy, node.keepalived) = (None, None);
        (node.vault_agent, node.kubernetes) = (None, None);
        node.pods.clear();
        node.vault.as_mut().unwrap().secrets.clear();
        node
    }

    /// Asks for a certificate: the status of the answer, and what is said against it.
    pub(crate) fn sign(&self, token: &str, common_name: &str, names: &[&str]) -> (u16, String) {
        let (csr, _) = request(common_name, names);
        let body = json!({"csr": csr, "common_name": common_name, "alt_names": "", "ttl": "720h"});
        let path = "pki/lab/sign/node";
        let answer = self.vault.call("POST", path, Some(token), Some(&body)).unwrap();
        (answer.status, answer.body["errors"].to_string())
    }
}

/// A request for a certificate and its key, PEM.
pub(crate) fn request(common_name: &str, names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut wanted = CertificateParams::new(names).unwrap();
    wanted.distinguished_name.push(DnType::CommonName, common_name);
    let request = wanted.serialize_request(&key).unwrap().pem().unwrap();
    (request, key.serialize_pem())
}

/// The token in an Ignition config with one file.
pub(crate) fn token_in(config: &[u8]) -> String {
    let config: Json = serde_json::from_slice(config).unwrap();
    let files = config["storage"]["files"].as_array().unwrap();
    let path = basalt_model::node::WRAPPED_SECRET_ID_PATH;
    let file = files.iter().find(|file| file["path"] == path).unwrap();
    assert_eq!(file["mode"], 0o600);
    file["contents"]["source"].as_str().unwrap().strip_prefix("data:,").unwrap().to_owned()
}

/// The token that a login gave.
pub(crate) fn token_of(login: &Json) -> String {
    login["auth"]["client_token"].as_str().unwrap().to_owned()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
