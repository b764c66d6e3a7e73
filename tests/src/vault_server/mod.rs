//! The real OpenBao (or Vault) as a data centre runs it: raft storage, TLS by its own authority, initialised with
//! shares and unsealed with them, never in dev mode.
//!
//! Read [`VaultServer`] first; [`VaultCluster`] is three of them. [`http`] is how tests set it up as its operator,
//! [`signing`] what it then needs for a node, and [`requests`] what it was asked by whom, also while it was sealed.

mod cluster;
pub mod http;
pub mod requests;
pub mod signing;

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::{Value as Json, json};

pub use self::cluster::VaultCluster;
use self::http::{Answer, Client};
use self::requests::Request;
pub use crate::authority::Authority;
use crate::peers::{Peer, peer};
use crate::ports::free_address;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait;

/// Set to the program of HashiCorp's Vault to run tests with it instead of OpenBao.
pub const PROGRAM_VARIABLE: &str = "VAULT_BIN";

const START_LIMIT: Duration = Duration::from_secs(60);
const SHARES: usize = 3;
const THRESHOLD: usize = 2;

/// The program that serves: the one that `VAULT_BIN` names, else the peer `bao`. `None` means that the running test is
/// to return, as with [`peer`].
pub fn program() -> Option<Peer> {
    match std::env::var_os(PROGRAM_VARIABLE).filter(|value| !value.is_empty()) {
        Some(path) => {
            Some(Peer { name: "vault", program: PathBuf::from(path), version: "?".to_owned() })
        }
        None => peer("bao"),
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub enum Place {
    /// Free ports of 127.0.0.1.
    Loopback,
    /// Ports 8200 and 8201 of an address in a network namespace.
    Namespace {
        /// Path of the namespace, as [`Switch::namespace`](crate::network::Switch::namespace) gives it.
        path: String,
        /// An address that is there already.
        address: IpAddr,
    },
}

/// A server. Dropped, it is killed and its data is gone.
pub struct VaultServer {
    program: Peer,
    namespace: Option<String>,
    address: SocketAddr,
    ca_pem: String,
    keys: Option<Keys>,
    /// What `sys/health` answers when it has taken up its work.
    serving: &'static [u16],
    client: Client,
    process: Process,
    // Dropped last: the process writes to it.
    folder: Scratch,
}

/// What the initialisation gave. Neither is ever printed.
#[derive(Clone)]
struct Keys {
    root_token: String,
    shares: Vec<String>,
}

/// What a server of several needs to know of the others.
struct Member<'a> {
    name: &'a str,
    /// Address of the one that it joins; its founder has none.
    joins: Option<SocketAddr>,
    /// Whether there are others at all.
    is_alone: bool,
    authority: &'a Authority,
}

impl fmt::Debug for VaultServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VaultServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Where the PKI engine at `mount` makes a root of its own, whose key stays inside.
pub fn make_root_path(mount: &str) -> String {
    [mount, "root", "generate", "internal"].join("/")
}

impl VaultServer {
    /// A server on loopback, initialised and unsealed.
    ///
    /// # Errors
    /// When it does not start in time: with what it printed.
    pub fn start(program: &Peer) -> Result<VaultServer> {
        VaultServer::start_at(program, &Place::Loopback)
    }

    /// A server somewhere else, initialised and unsealed.
    ///
    /// # Errors
    /// When it does not start in time: with what it printed.
    pub fn start_at(program: &Peer, place: &Place) -> Result<VaultServer> {
        let mut server = VaultServer::start_uninitialised(program, place)?;
        server.init()?;
        server.unseal()?;
        Ok(server)
    }

    /// A server that answers, but was never initialised.
    ///
    /// # Errors
    /// When it does not start in time: with what it printed.
    pub fn start_uninitialised(program: &Peer, place: &Place) -> Result<VaultServer> {
        let authority = Authority::new("Lab Vault CA")?;
        VaultServer::start_member(
            program,
            place,
            &Member { name: "s1", joins: None, is_alone: true, authority: &authority },
        )
    }

    fn start_member(program: &Peer, place: &Place, member: &Member<'_>) -> Result<VaultServer> {
        let folder = Scratch::new()?;
        let (namespace, address, cluster_address) = match place {
            Place::Loopback => (None, free_address()?, free_address()?),
            Place::Namespace { path, address } => {
                let at = |port| SocketAddr::new(*address, port);
                (Some(path.clone()), at(8200), at(8201))
            }
        };
        let ca_pem = member.authority.pem().to_owned();
        write_certificate(folder.path(), member.authority, address.ip())?;
        let ca_file = folder.path().join("ca.pem");
        fs::write(&ca_file, &ca_pem)?;
        fs::create_dir_all(folder.path().join("raft"))?;
        let config = config(folder.path(), address, cluster_address, member);
        fs::write(folder.path().join("config.hcl"), config)?;
        let client = Client::new(namespace.clone(), address, &ca_pem);
        let process = serve(program, namespace.as_deref(), folder.path())?;
        let server = VaultServer {
            program: program.clone(),
            namespace,
            address,
            ca_pem,
            keys: None,
            // One that is alone stands by for a moment, until it has elected itself.
            serving: if member.is_alone { &[200] } else { &[200, 429, 473] },
            client,
            process,
            folder,
        };
        server.wait_for_answer()?;
        Ok(server)
    }

    /// `https://address:port`, for clients in the same network.
    pub fn address(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where it listens.
    pub fn socket_address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of the authority that signed the server's own.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A file with [`VaultServer::ca_pem`].
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The first token; for the environment of programs, never for a command line or a message.
    ///
    /// # Panics
    /// Before the initialisation.
    pub fn root_token(&self) -> &str {
        &self.keys.as_ref().expect("the server is initialised").root_token
    }

    /// Everything that nobody but the server may say: its root token and the shares of its key. For tests that look for
    /// secrets where none may be.
    pub fn secrets(&self) -> Vec<String> {
        let keys = self.keys.iter();
        keys.flat_map(|keys| keys.shares.iter().chain([&keys.root_token]).cloned()).collect()
    }

    /// A folder for files of the test, gone with the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The peer it runs.
    pub fn program(&self) -> &Peer {
        &self.program
    }

    /// Makes the key and its shares. The server stays sealed.
    ///
    /// # Errors
    /// When it was initialised before.
    pub fn init(&mut self) -> Result<()> {
        let wanted = json!({"secret_shares": SHARES, "secret_threshold": THRESHOLD});
        let answer = self.client.call("PUT", "sys/init", None, Some(&wanted))?.success()?;
        let text = |json: &Json| json.as_str().map(str::to_owned);
        let shares = answer["keys_base64"].as_array().context("an answer without shares")?;
        self.keys = Some(Keys {
            root_token: text(&answer["root_token"]).context("an answer without a token")?,
            shares: shares.iter().filter_map(text).collect(),
        });
        Ok(())
    }

    /// Gives it enough shares and waits until it serves: as leader when it is alone, else as leader or standby.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn unseal(&self) -> Result<()> {
        let keys = self.keys.as_ref().context("the server was never initialised")?;
        for share in keys.shares.iter().take(THRESHOLD) {
            let body = json!({"key": share});
            self.client.call("PUT", "sys/unseal", None, Some(&body))?.success()?;
        }
        self.wait_for_health("to serve", self.serving)
    }

    /// Seals it, as an operator does in an emergency.
    ///
    /// # Errors
    /// When it is sealed already.
    pub fn seal(&self) -> Result<()> {
        self.write("sys/seal", &json!({}))?;
        self.wait_for_health("to be sealed", &[503])
    }

    /// Stops every thread of it: connections are taken and never answered. See [`VaultServer::resume`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// The end of [`VaultServer::pause`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// Ends it at once, as a power loss does. Connections are refused from then on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it after [`VaultServer::kill`] with the same data and address: sealed.
    ///
    /// # Errors
    /// When it does not start in time.
    pub fn start_sealed(&mut self) -> Result<()> {
        self.process = serve(&self.program, self.namespace.as_deref(), self.folder.path())?;
        self.wait_for_answer()
    }

    /// Kills it when it runs, starts it and unseals it.
    ///
    /// # Errors
    /// When it does not start in time.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_running() {
            self.kill()?;
        }
        self.start_sealed()?;
        self.unseal()
    }

    /// Serves a certificate of another authority from now on, which [`VaultServer::ca_pem`] does not vouch for. Its own
    /// calls then fail too; [`VaultServer::present`] with the first authority ends that.
    ///
    /// # Errors
    /// When the certificate cannot be written, or the server does not run.
    pub fn present(&self, authority: &Authority) -> Result<()> {
        write_certificate(self.folder.path(), authority, self.address.ip())?;
        self.process.signal(Signal::SIGHUP)
    }

    /// What `sys/health` answers: 200, 429 for a standby, 501 before the initialisation, 503 while sealed.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn health(&self) -> Result<u16> {
        Ok(self.client.call("GET", "sys/health", None, None)?.status)
    }

    /// Calls `path` below `/v1/` with any token, or none.
    ///
    /// # Errors
    /// When there is no answer; a refusal is an [`Answer`].
    pub fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Json>,
    ) -> Result<Answer> {
        self.client.call(method, path, token, body)
    }

    /// The same over a connection that shows a client certificate: the certificate, its chain and its key in one PEM
    /// text.
    ///
    /// # Errors
    /// When there is no answer; a refusal is an [`Answer`].
    pub fn call_as(
        &self,
        identity_pem: &str,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Json>,
    ) -> Result<Answer> {
        self.client.call_as(Some(identity_pem), method, path, token, body)
    }

    /// Logs in with a client certificate at the auth method mounted at `auth/MOUNT`; see [`VaultServer::call_as`].
    ///
    /// # Errors
    /// When there is no answer; a refusal is an [`Answer`].
    pub fn log_in(&self, mount: &str, role: &str, identity_pem: &str) -> Result<Answer> {
        let body = json!({"name": role});
        self.call_as(identity_pem, "POST", &format!("auth/{mount}/login"), None, Some(&body))
    }

    /// Writes as root, and gives the answer's JSON; `null` when it has none.
    ///
    /// # Errors
    /// When it is refused.
    pub fn write(&self, path: &str, body: &Json) -> Result<Json> {
        self.client.call("POST", path, Some(self.root_token()), Some(body))?.success()
    }

    /// Reads as root.
    ///
    /// # Errors
    /// When it is refused, or there is nothing.
    pub fn read(&self, path: &str) -> Result<Json> {
        self.client.call("GET", path, Some(self.root_token()), None)?.success()
    }

    /// Writes nothing as root, and has the answer wrapped for so long, as `60s`: gives the wrapping.
    ///
    /// # Errors
    /// When it is refused.
    pub fn wrap(&self, path: &str, ttl: &str) -> Result<Json> {
        self.client.wrap(path, self.root_token(), ttl)?.success()
    }

    /// Deletes as root.
    ///
    /// # Errors
    /// When it is refused.
    pub fn delete(&self, path: &str) -> Result<()> {
        self.client.call("DELETE", path, Some(self.root_token()), None)?.success().map(drop)
    }

    /// Every request it has answered so far, in the order of the answers, refused ones and the lab's own among them.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn requests(&self) -> Result<Vec<Request>> {
        Ok(requests::parse(&self.log()?))
    }

    /// From now on keeps every request and every answer with all the secrets in them, for [`VaultServer::recorded`].
    ///
    /// # Errors
    /// When that is refused.
    pub fn record(&self) -> Result<()> {
        let options = json!({"file_path": self.record_file(), "log_raw": "true"});
        self.write("sys/audit/record", &json!({"type": "file", "options": options})).map(drop)
    }

    /// What was asked and answered since [`VaultServer::record`], one document each.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn recorded(&self) -> Result<Vec<Json>> {
        let text = fs::read_to_string(self.record_file())?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    fn record_file(&self) -> PathBuf {
        self.folder.path().join("record.json")
    }

    /// What it printed since its first start.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(log_file(self.folder.path()))?)
    }

    fn wait_for_answer(&self) -> Result<()> {
        let answered = wait::until("the server to answer", START_LIMIT, || {
            if !self.process.is_running() {
                return Some(Err(anyhow::anyhow!("the server ended")));
            }
            self.client.call("GET", "sys/seal-status", None, None).ok().map(|_| Ok(()))
        });
        let answered = answered.map_err(anyhow::Error::from).and_then(|result| result);
        answered.with_context(|| format!("it printed:\n{}", self.log().unwrap_or_default()))
    }

    fn wait_for_health(&self, what: &str, wanted: &[u16]) -> Result<()> {
        let is_so = || self.health().ok().filter(|status| wanted.contains(status)).map(drop);
        let reached = wait::until(&format!("the server {what}"), START_LIMIT, is_so);
        reached.with_context(|| format!("it printed:\n{}", self.log().unwrap_or_default()))
    }
}

/// Starts the server with the `config.hcl` of `folder`.
fn serve(program: &Peer, namespace: Option<&str>, folder: &Path) -> Result<Process> {
    let path = std::env::var("PATH").unwrap_or_default();
    // It reads `VAULT_…` and `BAO_…` variables, and writes below the home folder.
    let clean = ["-i".to_owned(), format!("PATH={path}"), format!("HOME={}", folder.display())];
    let mut command = match namespace {
        None => Command::new("env"),
        Some(namespace) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={namespace}")).args(["--", "env"]);
            command
        }
    };
    command.args(clean).arg(&program.program).arg("server");
    command.arg(format!("-config={}", folder.join("config.hcl").display()));
    Process::start(program.name, &command, &log_file(folder))
}

/// Where it prints to, over all its starts.
fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// A certificate for the server in the files that it reads at its start and at SIGHUP.
fn write_certificate(folder: &Path, authority: &Authority, address: IpAddr) -> Result<()> {
    let names = [address.to_string(), "localhost".to_owned()];
    let (certificate, key) = authority.issue(&names)?;
    fs::write(folder.join("certificate.pem"), certificate)?;
    fs::write(folder.join("key.pem"), key)?;
    Ok(())
}

/// As `docs/configuration` of both describes it. Every request is logged, also what a sealed server answers.
fn config(
    folder: &Path,
    address: SocketAddr,
    cluster_address: SocketAddr,
    member: &Member<'_>,
) -> String {
    let folder = folder.display();
    let join = member.joins.map_or_else(String::new, |leader| {
        format!(
            "retry_join {{
    leader_api_addr = \"https://{leader}\"
    leader_ca_cert_file = \"{folder}/ca.pem\"
  }}"
        )
    });
    format!(
        "disable_mlock = true
ui = false
api_addr = \"https://{address}\"
cluster_addr = \"https://{cluster_address}\"
log_requests_level = \"info\"
unsafe_allow_api_audit_creation = true
storage \"raft\" {{
  path = \"{folder}/raft\"
  node_id = \"{name}\"
  performance_multiplier = 1
  {join}
}}
listener \"tcp\" {{
  address = \"{address}\"
  cluster_address = \"{cluster_address}\"
  tls_cert_file = \"{folder}/certificate.pem\"
  tls_key_file = \"{folder}/key.pem\"
}}
",
        name = member.name
    )
}
