//! The real registry of the CNCF's distribution project, over TLS by an authority of its own.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::authority::Authority;
use crate::command::run;
use crate::network::Switch;
use crate::peers::Peer;
use crate::ports::free_address;
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait;

/// A registry, empty at its start. Dropped, it is killed and its data is gone.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    address: SocketAddr,
    authority: Authority,
    // Dropped last: the process writes to it.
    folder: Scratch,
}

const START_LIMIT: Duration = Duration::from_secs(30);

impl Registry {
    /// Starts one at a free port of loopback. It takes what anybody pushes, or only those who are in `passwords`, as
    /// `htpasswd -B` writes them.
    ///
    /// # Errors
    /// When it does not start in time: with what it printed.
    pub fn start(program: &Peer, passwords: Option<&str>) -> Result<Registry> {
        Registry::start_at(program, None, passwords)
    }

    /// Starts one at this address, port 5000, in the place of a switch's client. It takes what anybody pushes.
    ///
    /// # Errors
    /// When it does not start in time: with what it printed.
    pub fn start_on(program: &Peer, switch: &Switch, address: IpAddr) -> Result<Registry> {
        Registry::start_at(program, Some((switch, address)), None)
    }

    fn start_at(
        program: &Peer,
        place: Option<(&Switch, IpAddr)>,
        passwords: Option<&str>,
    ) -> Result<Registry> {
        let address = match place {
            Some((_, address)) => SocketAddr::new(address, 5000),
            None => free_address()?,
        };
        let folder = Scratch::new()?;
        let path = |name: &str| folder.path().join(name);
        let authority = Authority::new("Lab registry CA")?;
        let names = [address.ip().to_string(), "localhost".to_owned()];
        let (certificate, key) = authority.issue(&names)?;
        fs::write(path("ca.pem"), authority.pem())?;
        fs::write(path("certificate.pem"), certificate)?;
        fs::write(path("key.pem"), key)?;
        let mut config = json!({
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": path("data")}},
            "http": {
                "addr": address.to_string(),
                "tls": {"certificate": path("certificate.pem"), "key": path("key.pem")},
            },
        });
        if let Some(passwords) = passwords {
            fs::write(path("passwords"), passwords)?;
            config["auth"] = json!({"htpasswd": {"realm": "lab", "path": path("passwords")}});
        }
        fs::write(path("config.yml"), config.to_string())?;
        let beside = |program: &str| match place {
            Some((switch, _)) => switch.command(program),
            None => Command::new(program),
        };
        let mut command = beside("env");
        command.arg("OTEL_TRACES_EXPORTER=none").arg(&program.program).arg("serve");
        command.arg(path("config.yml"));
        let process = Process::start(program.name, &command, &path("log"))?;
        let mut ask = beside("curl");
        ask.args(["-sS", "-o", "/dev/null", "--max-time", "2", "--cacert"]).arg(path("ca.pem"));
        ask.arg(format!("https://{address}/v2/"));
        wait::until("the registry to serve", START_LIMIT, || {
            if let Err(error) = process.check() {
                return Some(Err(error));
            }
            run(&mut ask).ok().map(|_| Ok(()))
        })
        .with_context(|| process.log_end())??;
        Ok(Registry { process, address, authority, folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `address:port/rest`
    pub fn reference(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// The certificate of the authority that vouches for it, PEM.
    pub fn authority(&self) -> &str {
        self.authority.pem()
    }

    /// A file with [`Registry::authority`].
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it: connections are refused from then on.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn stop(&self) -> Result<()> {
        self.process.kill()
    }
}
