//! A node that serves, and a cluster that it may join: the built agent on a machine with the real kubelet, containerd,
//! haproxy and keepalived, beside a real etcd and API server. The end-to-end tests and `cargo xtask bench hand-off` use it.
//!
//! Read [`Yard`] first; [`prober`] asks the node all the time.

pub mod prober;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use basalt_model::cluster::Cluster;
use basalt_model::node::{Node, OwnPod, VaultAuth};

use crate::authority::{Authority, Subject, Usage};
use crate::checkout;
use crate::control_plane::{ControlPlane, Programs, Site, Wishes};
use crate::images::{self, PodImage, Recipe};
use crate::namespaces::Machine;
use crate::needs::lab_or_skip;
use crate::network::Switch;
use crate::peers::peer;
use crate::pod_host::PodHost;
use crate::programs;
use crate::tree::Tree;
use crate::vault_server::VaultServer;

/// The node's own address.
pub const NODE_ADDRESS: &str = "192.0.2.11";
/// The address that keepalived holds.
pub const VIRTUAL_ADDRESS: &str = "192.0.2.10";
/// Where the API server is.
pub const API_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The name that its certificate holds.
const API_NAME: &str = "api.lab.example";
/// Where Vault signs for kubelets.
pub const KUBELET_PKI: &str = "pki/kubernetes";
/// How long a node has to prove itself here.
const DEADLINE_SECONDS: u64 = 25;
const CERTIFICATES: &str = "/var/lib/basalt/certificates";
const RECORD: &str = "var/lib/basalt/hand-off.json";

/// What nodes are made with. Keep it for as long as they run.
#[derive(Debug)]
pub struct Yard {
    folder: tempfile::TempDir,
    host: PodHost,
    agent: PathBuf,
    haproxy: PodImage,
    keepalived: PodImage,
    web: PodImage,
    programs: Programs,
}

/// How the kubelet of a node proves who it is.
#[derive(Clone, Copy, Debug)]
pub enum Identity<'a> {
    /// By certificates that the test signs in Vault's place.
    OfTest,
    /// By certificates that this Vault signs.
    Vault(&'a VaultServer),
    /// By the bootstrap token in this file.
    Bootstrap(&'a str),
}

impl Yard {
    /// What it takes. `None` means that something is missing: it was said what, the test returns.
    ///
    /// # Panics
    /// When the images cannot be made from the programs that are there.
    pub fn new() -> Option<Yard> {
        if !lab_or_skip() {
            return None;
        }
        Yard::of(programs::agent()?)
    }

    /// The same with this build of the agent.
    ///
    /// # Panics
    /// When the images cannot be made from the programs that are there.
    pub fn of(agent: PathBuf) -> Option<Yard> {
        let programs = Programs::find()?;
        let (haproxy, keepalived) = (peer("haproxy")?, peer("keepalived")?);
        let (busybox, curl) = (peer("busybox")?, peer("curl")?);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host = PodHost::new(folder.path())?;
        let make = |recipe: Recipe<'_>| {
            images::make(&recipe, &busybox, folder.path())
                .expect("an image of programs can be made")
        };
        let haproxy = make(Recipe {
            name: "haproxy",
            tag: "2.6",
            programs: &[&haproxy],
            applets: &["sh", "rm", "sleep"],
            entrypoint: &["haproxy"],
        });
        let keepalived = make(Recipe {
            name: "keepalived",
            tag: "2.2",
            programs: &[&keepalived, &curl],
            applets: &["sh", "cat", "kill", "rm", "sleep", "test"],
            entrypoint: &["keepalived"],
        });
        let script = "cd /tmp; mkdir www; echo carried >www/index.html; exec httpd -f -p 127.0.0.1:8099 -h www";
        let web =
            make(Recipe::of_busybox("web", "1", &["sh", "httpd", "mkdir"], &["sh", "-c", script]));
        Some(Yard { folder, host, agent, haproxy, keepalived, web, programs })
    }

    /// What the node and the API server are plugged into.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn switch() -> Result<Switch> {
        Switch::new(&["192.0.2.1/24"])
    }

    /// A cluster to join.
    ///
    /// # Errors
    /// When a part of it does not start.
    pub fn plane<'s>(&self, switch: &'s Switch, wishes: Wishes) -> Result<ControlPlane<'s>> {
        let wishes = Wishes { names: vec![API_NAME.to_owned()], ..wishes };
        ControlPlane::start(&self.programs, Site::Switch(switch, API_ADDRESS), wishes)
    }

    /// What the node is to be, with certificates from the test; `hand_off` is `automatic` or `manual`.
    ///
    /// # Errors
    /// When `cluster.yaml` is refused.
    pub fn node(&self, plane: &ControlPlane<'_>, hand_off: &str) -> Result<Node> {
        self.node_of(&self.cluster(plane, hand_off, Identity::OfTest))
    }

    /// The text of a `cluster.yaml` in which the node joins this cluster.
    pub fn cluster(
        &self,
        plane: &ControlPlane<'_>,
        hand_off: &str,
        identity: Identity<'_>,
    ) -> String {
        let anchor = |name: &str, pem: &str| {
            let lines: String = pem.trim().lines().map(|line| format!("    {line}\n")).collect();
            format!("  {name}: |\n{lines}")
        };
        let ca = plane.authority().pem();
        let (vault_ca, vault, kubelet) = match identity {
            Identity::OfTest => {
                let auth = "token: {token_file: /var/lib/basalt/enrolment/token}".to_owned();
                (ca, auth, "vault: {mount: pki}".to_owned())
            }
            Identity::Vault(vault) => {
                let auth = "node: {pki: {mount: pki/identities, role: node}}".to_owned();
                (vault.ca_pem(), auth, format!("vault: {{mount: {KUBELET_PKI}}}"))
            }
            Identity::Bootstrap(file) => {
                let auth = "token: {token_file: /var/lib/basalt/enrolment/token}".to_owned();
                (ca, auth, format!("bootstrap: {{token_file: {file}}}"))
            }
        };
        format!(
            "name: lab
generation: 1
ssh_authorized_keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIY3y0AnjTKk3FE7/efvBIqiF/jSB9PtqX+Q5L42xaD2 operator@lab.example\"]
trust_anchors:
{anchors}roles: {{controller: {{}}}}
nodes:
  - name: n1
    role: controller
    interfaces: [{{name: eth0, mac: \"52:54:00:00:02:01\", addresses: [{NODE_ADDRESS}/24]}}]
  - name: n2
    role: controller
    interfaces: [{{name: eth0, mac: \"52:54:00:00:02:02\", addresses: [192.0.2.12/24]}}]
api: {{host: {API_NAME}, servers: [\"{api}\"]}}
haproxy:
  image: {haproxy}
  roles: [controller]
  max_connections: 200
  frontends:
    - {{name: web, mode: http, binds: [\"{NODE_ADDRESS}:8080\", \"{VIRTUAL_ADDRESS}:8080\"], servers: [{{name: web, address: \"127.0.0.1:8099\"}}]}}
keepalived:
  image: {keepalived}
  instances:
    - name: web
      virtual_router_id: 51
      virtual_addresses: [{VIRTUAL_ADDRESS}]
      priorities: {{controller: 100}}
vault:
  addresses: [\"https://{API_ADDRESS}:8200\"]
  ca: vault
  auth: {{{vault}}}
  pki: {{mount: pki/lab, role: node}}
kubernetes:
  roles: [controller]
  ca: cluster
  labels: {{lab.example/rack: r1}}
  identity: {{{kubelet}}}
  hand_off: {hand_off}
  deadline_seconds: {DEADLINE_SECONDS}
  drain_seconds: 20
containerd: {{sandbox_image: {pause}}}
image: {{name: lab, version: \"1\", base: scratch}}
",
            anchors = anchor("cluster", ca) + &anchor("vault", vault_ca),
            api = plane.address(),
            haproxy = self.haproxy.reference(),
            keepalived = self.keepalived.reference(),
            pause = self.host.pause().tagged(),
        )
    }

    /// The node of a `cluster.yaml`, with a pod of its own.
    ///
    /// # Errors
    /// When it is refused.
    pub fn node_of(&self, text: &str) -> Result<Node> {
        let (cluster, _) = Cluster::parse("cluster.yaml", text.as_bytes())
            .map_err(|refused| anyhow::anyhow!("{refused}"))?;
        let mut node = cluster.node("n1").context("there is no node `n1`")?.clone();
        node.pods = vec![OwnPod {
            name: "web".parse()?,
            source: "pods/web.yaml".parse()?,
            manifest: self.web_manifest(),
            files: Vec::new(),
            capabilities: Vec::new(),
            is_privileged: false,
        }];
        Ok(node)
    }

    /// The image of the pod, for other pods.
    pub fn web(&self) -> String {
        self.web.reference()
    }

    fn web_manifest(&self) -> String {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: kube-system}}
spec:
  hostNetwork: true
  priority: 2000001000
  priorityClassName: system-node-critical
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: {}
    imagePullPolicy: Never
    ports: [{{containerPort: 8099, hostPort: 8099, hostIP: 127.0.0.1}}]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {{drop: [ALL]}}
    readinessProbe:
      httpGet: {{host: 127.0.0.1, port: 8099, path: /index.html}}
    volumeMounts: [{{name: scratch, mountPath: /tmp}}]
  volumes: [{{name: scratch, emptyDir: {{}}}}]
",
            self.web.reference()
        )
    }

    /// The machine before its first boot, with everything but certificates.
    ///
    /// # Errors
    /// When the tree cannot be had or written to.
    pub fn tree(&self, node: &Node) -> Result<Tree> {
        let tree = Tree::debian().context("no tree can be made")?;
        self.host.equip(&tree, "n1", NODE_ADDRESS)?;
        self.host.preload(&tree, &[&self.haproxy, &self.keepalived, &self.web])?;
        fs::copy(&self.agent, tree.path("/usr/bin/basalt-agent"))?;
        let unit = checkout::root().join("agent/dist/basalt-agent.service");
        tree.write("/etc/systemd/system/basalt-agent.service", fs::read(unit)?, 0o644)?;
        let wants = tree.path("/etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants)?;
        symlink("/etc/systemd/system/basalt-agent.service", wants.join("basalt-agent.service"))?;
        let auth = node.vault.as_ref().map(|vault| &vault.auth);
        let keeper = match auth {
            Some(VaultAuth::Node(_)) => "agent",
            // The test signs the kubelet's certificates itself.
            _ => "others",
        };
        let settings = format!(
            "{{\"generations\": {{\"settle_seconds\": 1}}, \"certificates\": {{\"keeper\": \"{keeper}\"}}}}"
        );
        tree.write("/etc/basalt/agent.conf.d/50-lab.json", settings, 0o644)?;
        tree.write("/etc/basalt/node.json", node.to_json(), 0o644)?;
        for (name, pem) in &node.trust_anchors {
            tree.write(&format!("/etc/basalt/trust/{name}.pem"), pem, 0o644)?;
        }
        let addresses = "net.ipv4.ip_nonlocal_bind = 1\nnet.ipv6.ip_nonlocal_bind = 1\n";
        tree.write("/etc/sysctl.d/90-lab.conf", addresses, 0o644)?;
        // A network plugin that is there; no pod of these tests has a network of its own.
        let network = "{\"cniVersion\": \"1.0.0\", \"name\": \"lab\", \"plugins\": [{\"type\": \"loopback\"}]}";
        tree.write("/etc/cni/net.d/10-lab.conflist", network, 0o644)?;
        Ok(tree)
    }

    /// Boots a tree and plugs it in. Its pods may still be starting.
    ///
    /// # Errors
    /// When it does not boot.
    pub fn boot(tree: Tree, switch: &Switch) -> Result<Machine> {
        let machine = Machine::boot(tree)?;
        switch.plug(&machine, "eth0", &["192.0.2.11/24"])?;
        Ok(machine)
    }

    /// A folder for files about these nodes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Certificates and keys of a kubelet, each with its name.
pub type Pairs = [(&'static str, String); 2];

/// Certificates as Vault would sign them, from this authority and for this name.
///
/// # Errors
/// When no key can be made.
pub fn certificates(authority: &Authority, name: &str) -> Result<Pairs> {
    certificates_until(authority, name, None)
}

/// The same, ended an hour ago.
///
/// # Errors
/// When no key can be made.
pub fn expired(authority: &Authority) -> Result<Pairs> {
    let end = SystemTime::now() - Duration::from_secs(3600);
    certificates_until(authority, "n1", Some(end))
}

fn certificates_until(
    authority: &Authority,
    name: &str,
    not_after: Option<SystemTime>,
) -> Result<Pairs> {
    let common_name = format!("system:node:{name}");
    let client = Subject { not_after, ..Subject::user(&common_name).of("system:nodes") };
    let names = ["n1", NODE_ADDRESS];
    let serving = Subject { usage: Usage::Server, alternative_names: &names, ..client.clone() };
    Ok([
        ("kubelet-client", authority.issue_to(&client)?.combined()),
        ("kubelet-serving", authority.issue_to(&serving)?.combined()),
    ])
}

/// Puts certificates in place, each by one rename.
///
/// # Errors
/// When the machine cannot be written to.
pub fn put_certificates(machine: &Machine, pairs: &Pairs) -> Result<()> {
    for (name, pem) in pairs {
        let folder = machine.root().join(CERTIFICATES.trim_start_matches('/')).join(name);
        fs::create_dir_all(&folder)?;
        let beside = folder.join(".combined.pem");
        fs::write(&beside, pem)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        fs::rename(beside, folder.join("combined.pem"))?;
    }
    Ok(())
}

/// Where the node stands, by its record; `standalone` where there is none.
///
/// # Errors
/// When the record is none.
pub fn stage(machine: &Machine) -> Result<String> {
    let Ok(text) = fs::read_to_string(machine.root().join(RECORD)) else {
        return Ok("standalone".to_owned());
    };
    let record: serde_json::Value = serde_json::from_str(&text)?;
    Ok(record["stage"]["name"].as_str().context("a record without a stage")?.to_owned())
}

/// Whether the cluster takes the node for ready.
pub fn is_ready(plane: &ControlPlane<'_>) -> bool {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    plane.kubectl(&["get", "node", "n1", "-o", path]).is_ok_and(|status| status == "True")
}
