//! What haproxy carries requests to.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result};

use crate::network::Switch;
use crate::peers::Peer;

/// An API server and a web server, as far as health checks and requests can tell: the real haproxy answers for both.
#[derive(Debug)]
pub struct Backends {
    program: Child,
}

/// What the web server answers.
pub const ANSWER: &str = "web";

impl Backends {
    /// Starts them on [`SERVER_ADDRESS`](crate::fleet::SERVER_ADDRESS), one of the switch's own addresses.
    ///
    /// # Errors
    /// When `folder` cannot be written to, or haproxy cannot be started.
    pub fn start(haproxy: &Peer, switch: &Switch, folder: &Path) -> Result<Backends> {
        let key = rcgen::generate_simple_self_signed(["api.lab.example".to_owned()])?;
        let pem = folder.join("api.pem");
        fs::write(&pem, format!("{}{}", key.cert.pem(), key.signing_key.serialize_pem()))?;
        let config = folder.join("backends.cfg");
        let address = crate::fleet::SERVER_ADDRESS;
        let text = format!(
            "global
    maxconn 2000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend api
    bind {address}:6443 ssl crt {pem}
    http-request return status 200 content-type text/plain string api
frontend web
    bind {address}:8080
    http-request return status 200 content-type text/plain string {ANSWER}
",
            pem = pem.display()
        );
        fs::write(&config, text)?;
        let program = haproxy.program.to_str().context("programs have plain names")?;
        let mut command = switch.command(program);
        command.args(["-q", "-db", "-f"]).arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Backends { program: command.spawn()? })
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
