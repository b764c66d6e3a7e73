//! A cluster for nodes to join: real etcd, API server, controller manager and scheduler, as plain processes.
//!
//! Its API server is set up as a careful one is: users by certificate, the Node authoriser and NodeRestriction beside
//! RBAC, and nobody without a certificate gets more than its health. Tests stop, kill and replace it.

mod stand_in;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

pub use crate::authority::{Authority, Pair, Subject, Usage};
pub use stand_in::Answer;

use crate::command::run;
use crate::network::Switch;
use crate::peers::{Peer, peer};
use crate::ports::{free_address, free_port};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait;

/// The first address of the services, which is the API server's.
pub const SERVICE_ADDRESS: &str = "10.96.0.1";
/// The services' network.
pub const SERVICES: &str = "10.96.0.0/16";
/// The pods' network.
pub const PODS: &str = "10.244.0.0/16";

/// The programs of a control plane.
#[derive(Clone, Debug)]
pub struct Programs {
    etcd: Peer,
    apiserver: Peer,
    controller_manager: Peer,
    scheduler: Peer,
    kubectl: Peer,
    haproxy: Peer,
}

/// Where a control plane runs.
#[derive(Clone, Debug)]
pub enum Site<'a> {
    /// On this machine's loopback, at a free port.
    Loopback,
    /// In the place of a switch's client, at one of its addresses, port 6443.
    Switch(&'a Switch, IpAddr),
    /// The same, for whoever keeps both.
    Shared(Arc<Switch>, IpAddr),
}

/// What a test may want of a control plane.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Names and addresses of the API server besides its own, as nodes may call it.
    pub names: Vec<String>,
    /// Certificates of authorities, PEM, that may name users and kubelets besides the cluster's own: Vault's.
    pub trusted: Vec<String>,
    /// Whether kubelets get certificates by certificate signing request and bootstrap tokens.
    pub signs: bool,
    /// Whether to leave out the controller manager and the scheduler.
    pub api_alone: bool,
    /// More arguments of the API server.
    pub arguments: Vec<String>,
}

/// A running control plane; gone with all it knew when dropped.
#[derive(Debug)]
pub struct ControlPlane<'a> {
    // Processes end before their folder goes.
    stand_in: Option<Process>,
    controllers: Vec<Process>,
    api: Option<Process>,
    etcd: Option<Process>,
    programs: Programs,
    site: Site<'a>,
    address: SocketAddr,
    etcd_port: u16,
    etcd_peer_port: u16,
    wishes: Wishes,
    authority: Authority,
    scratch: Scratch,
}

/// Two processors and several control planes at a time take theirs.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long kubectl may take; `timeout` then says that it took longer.
const KUBECTL_LIMIT: &str = "300s";

/// Health for everybody, so that load balancers can ask; everything else by certificate.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#anonymous-requests>
const AUTHENTICATION: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions: [{path: /livez}, {path: /readyz}, {path: /healthz}]
";

/// What lets the API server talk to kubelets, and to those with a bootstrap token.
const BINDINGS: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: lab-kubelet-api}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:kubelet-api-admin}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: kube-apiserver-kubelet-client}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: lab-bootstrap}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:node-bootstrapper}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:bootstrappers}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: lab-bootstrap-approve}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:certificates.k8s.io:certificatesigningrequests:nodeclient}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:bootstrappers}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: lab-bootstrap-renew}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:certificates.k8s.io:certificatesigningrequests:selfnodeclient}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:nodes}]
";

impl Programs {
    /// The programs. `None` means that a peer is missing: this function has said which, the test returns.
    pub fn find() -> Option<Self> {
        Some(Self {
            etcd: peer("etcd")?,
            apiserver: peer("kube-apiserver")?,
            controller_manager: peer("kube-controller-manager")?,
            scheduler: peer("kube-scheduler")?,
            kubectl: peer("kubectl")?,
            haproxy: peer("haproxy")?,
        })
    }
}

impl Programs {
    /// The program by which a person does things to a cluster.
    pub fn kubectl(&self) -> &Peer {
        &self.kubectl
    }
}

impl Site<'_> {
    fn command(&self, program: &str) -> Command {
        match self {
            Site::Loopback => Command::new(program),
            Site::Switch(switch, _) => switch.command(program),
            Site::Shared(switch, _) => switch.command(program),
        }
    }
}

impl<'a> ControlPlane<'a> {
    /// Starts one, and waits until its API server is ready.
    ///
    /// # Errors
    /// When a part does not start: with the end of its log.
    pub fn start(programs: &Programs, site: Site<'a>, wishes: Wishes) -> Result<Self> {
        let address = match site {
            Site::Loopback => free_address()?,
            Site::Switch(_, address) | Site::Shared(_, address) => SocketAddr::new(address, 6443),
        };
        let mut plane = Self {
            stand_in: None,
            controllers: Vec::new(),
            api: None,
            etcd: None,
            programs: programs.clone(),
            site,
            address,
            etcd_port: free_port()?,
            etcd_peer_port: free_port()?,
            wishes,
            authority: Authority::new("lab-kubernetes")?,
            scratch: Scratch::new()?,
        };
        plane.write_files()?;
        plane.start_etcd()?;
        plane.start_api()?;
        plane.wait_until_ready()?;
        plane.apply(BINDINGS)?;
        if !plane.wishes.api_alone {
            plane.start_controllers()?;
        }
        Ok(plane)
    }

    /// The API server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The API server's URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The cluster's own authority: it signed the API server's certificate and names users.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The file with the certificate of [`Self::authority`].
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The kubeconfig of somebody who may do everything.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.path("admin.conf")
    }

    /// A folder for the test's own files about this cluster.
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Writes a kubeconfig for this user, and gives its path.
    ///
    /// # Errors
    /// When there is no certificate or file to be had.
    pub fn kubeconfig(&self, name: &str, subject: &Subject<'_>) -> Result<PathBuf> {
        let pair = self.write_pair(name, subject)?;
        let kubeconfig = format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: lab, cluster: {{server: \"{}\", certificate-authority: \"{}\"}}}}]
users: [{{name: user, user: {{client-certificate: \"{pair}\", client-key: \"{pair}\"}}}}]
contexts: [{{name: lab, context: {{cluster: lab, user: user}}}}]
current-context: lab
",
            self.url(),
            self.ca_file().display(),
            pair = pair.display(),
        );
        let path = self.path(&format!("{name}.conf"));
        fs::write(&path, kubeconfig)?;
        Ok(path)
    }

    /// Runs kubectl as somebody who may do everything, and gives what it printed.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(&self.admin_kubeconfig(), arguments)
    }

    /// Runs kubectl with this kubeconfig, and gives what it printed.
    ///
    /// # Errors
    /// When it fails: with what it said.
    pub fn kubectl_with(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        // It waits for as long as it takes for what it deletes to be gone.
        run(self
            .site
            .command("timeout")
            .args(["--verbose", KUBECTL_LIMIT])
            .arg(&self.programs.kubectl.program)
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .arg(format!("--cache-dir={}", self.path("kubectl-cache").display()))
            .args(["--request-timeout=20s"])
            .args(arguments))
    }

    /// Applies manifests as somebody who may do everything.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.apply_with(&["apply"], manifests)
    }

    /// The same by server-side apply.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn apply_server_side(&self, manifests: &str) -> Result<()> {
        self.apply_with(&["apply", "--server-side"], manifests)
    }

    fn apply_with(&self, verb: &[&str], manifests: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::with_suffix_in(".yaml", self.scratch.path())?;
        fs::write(file.path(), manifests)?;
        self.kubectl(&[verb, &["-f", &file.path().display().to_string()]].concat()).map(drop)
    }

    /// A program at the control plane's place in the network.
    pub fn command(&self, program: &Peer) -> Command {
        self.site.command(&program.program.display().to_string())
    }

    /// Stops the API server in its tracks: connections are accepted and nothing answers, until [`Self::resume_api`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause_api(&self) -> Result<()> {
        self.api.as_ref().context("the API server does not run")?.pause()
    }

    /// Lets the API server go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume_api(&self) -> Result<()> {
        self.api.as_ref().context("the API server does not run")?.resume()
    }

    /// Kills the API server, or what stands there in its place: connections are refused.
    pub fn kill_api(&mut self) {
        self.stand_in = None;
        self.api = None;
    }

    /// Starts the API server after [`Self::kill_api`], or in the place of its stand-in, and waits until it is ready. What
    /// it knew it knows.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_api_again(&mut self) -> Result<()> {
        self.kill_api();
        self.start_api()?;
        self.wait_until_ready()?;
        // Controllers that were only starting when it went have ended.
        if self.controllers.iter().any(|controller| !controller.is_running()) {
            self.controllers.clear();
            self.start_controllers()?;
        }
        Ok(())
    }

    /// Puts a server that gives only these answers, and otherwise this status, in the place of the API server. It has the
    /// API server's certificate.
    ///
    /// # Errors
    /// When it does not start.
    pub fn stand_in(&mut self, answers: &[Answer<'_>], otherwise: u16) -> Result<()> {
        self.kill_api();
        let pair = self.path("apiserver.pem");
        let text = stand_in::config(
            &self.address.to_string(),
            &pair,
            &self.path("client-ca.pem"),
            answers,
            otherwise,
        );
        let config = self.path("stand-in.cfg");
        fs::write(&config, text)?;
        let mut command = self.command(&self.programs.haproxy);
        command.arg("-db").arg("-f").arg(&config);
        let stand_in = Process::start("stand-in", &command, &self.path("stand-in.log"))?;
        let url = format!("{}/anything", self.url());
        wait::until("the stand-in", START_LIMIT, || {
            if let Err(error) = stand_in.check() {
                return Some(Err(error));
            }
            let mut ask = self.curl();
            ask.args(["-sk", "-o", "/dev/null", "--max-time", "2", &url]);
            run(&mut ask).ok().map(|_| Ok(()))
        })??;
        self.stand_in = Some(stand_in);
        Ok(())
    }

    /// Lets users and kubelets be named by one more authority, PEM, besides the cluster's own: Vault's. The API server
    /// and the controllers are started anew.
    ///
    /// # Errors
    /// When it does not start.
    pub fn trust(&mut self, authority: String) -> Result<()> {
        self.wishes.trusted.push(authority);
        self.write_trust()?;
        // Controllers that are just starting end when there is no API server.
        self.controllers.clear();
        self.start_api_again()?;
        if !self.wishes.api_alone {
            self.start_controllers()?;
        }
        Ok(())
    }

    /// What the API server wrote last.
    pub fn api_log(&self) -> String {
        self.api.as_ref().map(Process::log_end).unwrap_or_default()
    }

    /// Waits until the API server says that it is ready.
    ///
    /// # Errors
    /// When it is not in time, or ended.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.url());
        let mut curl = self.curl();
        curl.args(["-fsS", "--max-time", "2", "--cacert"]).arg(self.ca_file()).arg(&url);
        let ready = wait::until("the API server to be ready", START_LIMIT, || {
            for process in self.api.iter().chain(&self.etcd) {
                if let Err(error) = process.check() {
                    return Some(Err(error));
                }
            }
            run(&mut curl).ok().map(|_| Ok(()))
        });
        ready.with_context(|| self.api_log())?
    }

    fn curl(&self) -> Command {
        self.site.command("curl")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes key and certificate in one file, and gives its path.
    fn write_pair(&self, name: &str, subject: &Subject<'_>) -> Result<PathBuf> {
        let path = self.path(&format!("{name}.pem"));
        fs::write(&path, self.authority.issue_to(subject)?.combined())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(path)
    }

    fn write_files(&self) -> Result<()> {
        fs::write(self.ca_file(), self.authority.pem())?;
        self.write_trust()?;
        fs::write(self.path("ca.key"), self.authority.key())?;
        fs::write(self.path("authentication.yaml"), AUTHENTICATION)?;
        let accounts = rcgen::KeyPair::generate()?;
        fs::write(self.path("accounts.key"), accounts.serialize_pem())?;
        fs::write(self.path("accounts.pub"), accounts.public_key_pem())?;
        let own_address = self.address.ip().to_string();
        let mut names = vec![
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            SERVICE_ADDRESS,
        ];
        names.extend(self.wishes.names.iter().map(String::as_str));
        if !names.contains(&own_address.as_str()) {
            names.push(&own_address);
        }
        self.write_pair("apiserver", &Subject::server("kube-apiserver", &names))?;
        self.write_pair("kubelet-client", &Subject::user("kube-apiserver-kubelet-client"))?;
        self.kubeconfig("admin", &Subject::user("kubernetes-admin").of("system:masters"))?;
        self.kubeconfig("kcm", &Subject::user("system:kube-controller-manager"))?;
        self.kubeconfig("scheduler", &Subject::user("system:kube-scheduler"))?;
        Ok(())
    }

    /// Those who may name users and kubelets.
    fn write_trust(&self) -> Result<()> {
        let others = self.wishes.trusted.iter().map(String::as_str);
        let trusted: Vec<&str> =
            std::iter::once(self.authority.pem()).chain(others).map(str::trim_end).collect();
        Ok(fs::write(self.path("client-ca.pem"), trusted.join("\n") + "\n")?)
    }

    fn start_etcd(&mut self) -> Result<()> {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut etcd = self.command(&self.programs.etcd);
        etcd.arg("--name=lab").arg(format!("--data-dir={}", self.path("etcd").display()));
        etcd.arg(format!("--listen-client-urls={}", url(self.etcd_port)));
        etcd.arg(format!("--advertise-client-urls={}", url(self.etcd_port)));
        etcd.arg(format!("--listen-peer-urls={}", url(self.etcd_peer_port)));
        etcd.arg(format!("--initial-advertise-peer-urls={}", url(self.etcd_peer_port)));
        etcd.arg(format!("--initial-cluster=lab={}", url(self.etcd_peer_port)));
        // It need not outlive a power cut, and shares its disk with everything else.
        etcd.args(["--unsafe-no-fsync", "--log-level=warn"]);
        self.etcd = Some(Process::start("etcd", &etcd, &self.path("etcd.log"))?);
        Ok(())
    }

    fn start_api(&mut self) -> Result<()> {
        let mut api = self.command(&self.programs.apiserver);
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        api.args([
            file("authentication-config", "authentication.yaml"),
            file("client-ca-file", "client-ca.pem"),
            file("kubelet-certificate-authority", "client-ca.pem"),
            file("kubelet-client-certificate", "kubelet-client.pem"),
            file("kubelet-client-key", "kubelet-client.pem"),
            file("tls-cert-file", "apiserver.pem"),
            file("tls-private-key-file", "apiserver.pem"),
            file("service-account-key-file", "accounts.pub"),
            file("service-account-signing-key-file", "accounts.key"),
        ]);
        api.args([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port),
            format!("--bind-address={}", self.address.ip()),
            format!("--advertise-address={}", self.address.ip()),
            format!("--secure-port={}", self.address.port()),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--kubelet-preferred-address-types=InternalIP,Hostname".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
        ]);
        if self.wishes.signs {
            api.arg("--enable-bootstrap-token-auth");
        }
        api.args(&self.wishes.arguments);
        self.api = Some(Process::start("kube-apiserver", &api, &self.path("apiserver.log"))?);
        Ok(())
    }

    fn start_controllers(&mut self) -> Result<()> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let mut manager = self.command(&self.programs.controller_manager);
        manager.args([
            file("kubeconfig", "kcm.conf"),
            file("root-ca-file", "ca.pem"),
            file("service-account-private-key-file", "accounts.key"),
            "--use-service-account-credentials".to_owned(),
            "--allocate-node-cidrs".to_owned(),
            format!("--cluster-cidr={PODS}"),
            "--controllers=*,bootstrapsigner,tokencleaner".to_owned(),
            // A loopback of one's own is shared by all control planes of this machine.
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
        ]);
        if self.wishes.signs {
            manager.args([
                file("cluster-signing-kube-apiserver-client-cert-file", "ca.pem"),
                file("cluster-signing-kube-apiserver-client-key-file", "ca.key"),
                file("cluster-signing-kubelet-client-cert-file", "ca.pem"),
                file("cluster-signing-kubelet-client-key-file", "ca.key"),
            ]);
        }
        let mut scheduler = self.command(&self.programs.scheduler);
        scheduler.args([
            file("kubeconfig", "scheduler.conf"),
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
        ]);
        self.controllers = vec![
            Process::start("kube-controller-manager", &manager, &self.path("kcm.log"))?,
            Process::start("kube-scheduler", &scheduler, &self.path("scheduler.log"))?,
        ];
        Ok(())
    }
}
