//! What is on the switch besides the nodes: servers behind haproxy, and a client in front of it.

use std::path::Path;
use std::process::{Child, Stdio};

use e2e::network::Switch;
use e2e::peers::peer;

/// An API server and a web server, as far as health checks and requests can tell: the real haproxy answers for both.
pub(crate) struct Backends {
    program: Child,
}

impl Backends {
    /// Starts them on the switch's own addresses. `None`: a peer is missing.
    pub(crate) fn start(switch: &Switch, folder: &Path) -> Option<Backends> {
        let haproxy = peer("haproxy")?;
        let key = rcgen::generate_simple_self_signed(["api.lab.example".to_owned()]).unwrap();
        let pem = folder.join("api.pem");
        std::fs::write(&pem, format!("{}{}", key.cert.pem(), key.signing_key.serialize_pem()))
            .unwrap();
        let config = folder.join("backends.cfg");
        let text = format!(
            "defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend api
    bind 192.0.2.1:6443 ssl crt {}
    http-request return status 200 content-type text/plain string api
frontend web
    bind 192.0.2.1:8080
    http-request return status 200 content-type text/plain string web
",
            pem.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = switch.command(haproxy.program.to_str().unwrap());
        let program = command
            .args(["-db", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Some(Backends { program })
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Whether the virtual address carries a request to a server and back.
pub(crate) fn answers(switch: &Switch) -> Option<()> {
    let ask = ["curl", "-s", "--max-time", "1", "http://192.0.2.10/"];
    let output = switch.run(&ask).ok()?;
    (output.stdout == b"web").then_some(())
}
