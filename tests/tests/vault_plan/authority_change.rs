//! One authority takes the place of another while the agents of the fleet run and clients are served: nobody who trusts what
//! lies in a node's bundle is ever turned away, and no step is taken before every node has followed.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use basalt_model::node::{Reload, WRAPPED_SECRET_ID_PATH};
use basalt_static_pods::control::{HAPROXY_ADMIN_SOCKET, HAPROXY_MASTER_SOCKET};
use e2e::peers::{Peer, peer};
use e2e::programs::agent;
use e2e::scratch_node::{ScratchNode, Service};
use e2e::visitors::{Visit, Visitors};
use e2e::wait::until;

use crate::setup::{Setup, text};

const MOUNT: &str = "pki/lab";
const CERTIFICATE: &str = "dashboard";
const HOST: &str = "dashboard.lab.example";
const LIMIT: Duration = Duration::from_secs(90);

/// A node that serves its certificate by the real haproxy.
struct Served {
    machine: ScratchNode,
    port: u16,
    bundle: std::path::PathBuf,
    combined: std::path::PathBuf,
    service: Option<Service>,
    _haproxy: Option<Haproxy>,
}

/// A running haproxy; ends with its value.
struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Served {
    /// With the secret for its first login, and nothing done yet.
    fn new(setup: &Setup, agent: &Path, name: &str, number: u8) -> Served {
        let machine = ScratchNode::new(agent, &format!("{number:032x}")).unwrap();
        machine.write(WRAPPED_SECRET_ID_PATH, &setup.wrap(name), 0o600).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut node = setup.node(name);
        let vault = node.vault.as_mut().unwrap();
        vault.certificates.retain(|it| it.name.as_str() == CERTIFICATE);
        let certificate = &mut vault.certificates[0];
        certificate.reload = vec![Reload::Pod("haproxy".parse().unwrap())];
        certificate.prove = vec![format!("127.0.0.1:{port}").parse().unwrap()];
        let folder = machine.path(certificate.directory.as_str());
        machine.write("/etc/basalt/node.json", &node.to_json(), 0o600).unwrap();
        Served {
            bundle: folder.join("ca.pem"),
            combined: folder.join("combined.pem"),
            machine,
            port,
            service: None,
            _haproxy: None,
        }
    }

    fn start(&mut self) {
        self.service = Some(self.machine.start().unwrap());
    }

    /// Kills the agent where it is.
    fn kill(&mut self) {
        let log = self.service.take().unwrap().kill();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// As a machine that loses power; the service that stays up is what it serves.
    fn restart(&mut self) {
        self.kill();
        self.start();
    }

    fn in_use(&self) -> String {
        self.machine.wait_for_new(CERTIFICATE, "").unwrap()
    }

    /// Has haproxy serve what lies in the folder, and clients come all the time that trust the bundle of `other`.
    fn serve(&mut self, haproxy: &Peer, other: &Path) -> Visitors {
        let socket = |path: &str| {
            let path = self.machine.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path.display().to_string()
        };
        let (admin, master) = (socket(HAPROXY_ADMIN_SOCKET), socket(HAPROXY_MASTER_SOCKET));
        let config = format!(
            "global
    stats socket {admin} mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend served
    bind 127.0.0.1:{} ssl crt {}
    http-request return status 200 content-type text/plain string served
",
            self.port,
            self.combined.display()
        );
        let file = self.machine.root().join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(&haproxy.program);
        command.arg("-W").arg("-S").arg(&master).arg("-f").arg(&file);
        let output = fs::File::create(self.machine.root().join("haproxy.log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        self._haproxy = Some(Haproxy(command.spawn().unwrap()));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let answers = || std::net::TcpStream::connect(address).ok();
        until("haproxy to listen", LIMIT, answers).unwrap();
        let visit = Visit {
            address,
            host: HOST.to_owned(),
            trusted: other.to_owned(),
            network_of: None,
            requests_per_connection: 1,
            pause: Duration::from_millis(50),
        };
        Visitors::start(&visit, 1).unwrap()
    }

    /// How many authorities its bundle names.
    fn trusted(&self) -> usize {
        fs::read_to_string(&self.bundle).unwrap().matches("BEGIN CERTIFICATE").count()
    }
}

/// The exit status of a step, and what is said.
fn rotate(setup: &Setup, step: Option<&str>) -> (Option<i32>, String) {
    let step = step.map_or_else(Vec::new, |step| vec!["--yes", "--step", step]);
    let output = setup.xtask(&[["rotate-ca", MOUNT].as_slice(), &step].concat());
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// Waits until a step is no longer refused, and gives what was said against it the last time.
#[track_caller]
fn take(setup: &Setup, step: &str) -> String {
    let mut refused = String::new();
    let taken = until(&format!("the step `{step}`"), LIMIT, || {
        let (code, said) = rotate(setup, Some(step));
        if code == Some(0) {
            return Some(());
        }
        refused = said;
        None
    });
    taken.unwrap_or_else(|error| panic!("{error}: {refused}"));
    refused
}

#[test]
fn nobody_is_turned_away_while_an_authority_is_replaced() {
    let (Some(agent), Some(haproxy)) = (agent(), peer("haproxy")) else { return };
    let Some(setup) = Setup::applied() else { return };
    let mut nodes = [("n1", 1), ("n2", 2), ("n3", 3)]
        .map(|(name, number)| Served::new(&setup, &agent, name, number));
    for node in &mut nodes[..2] {
        node.start();
    }
    let first: Vec<String> = nodes[..2].iter().map(Served::in_use).collect();
    // Who comes to one node trusts what the other one has.
    let bundles = [nodes[1].bundle.clone(), nodes[0].bundle.clone()];
    let mut visitors = Vec::new();
    for (node, other) in nodes[..2].iter_mut().zip(&bundles) {
        visitors.push(node.serve(&haproxy, other));
    }

    // Issuers are told apart by their age in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(rotate(&setup, Some("add")).0, Some(0));
    // What an agent knows of the issuers is minutes old at most; one that starts asks at once. And it may die at any time.
    for node in &mut nodes[..2] {
        node.restart();
        std::thread::sleep(Duration::from_millis(150));
        node.restart();
    }
    for node in &nodes[..2] {
        until("both authorities in the bundle", LIMIT, || (node.trusted() == 2).then_some(()))
            .unwrap();
    }
    // The third node is away, and everybody waits for it.
    let only_n3 = || {
        let (code, said) = rotate(&setup, Some("switch"));
        let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
        (code == Some(1) && errors == 1 && said.contains("error: `n3` has never reported"))
            .then_some(())
    };
    until("the two others to have reported", LIMIT, only_n3).unwrap();
    let (code, shown) = rotate(&setup, None);
    assert_eq!(code, Some(3), "{shown}");
    let row = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).take(3).collect::<Vec<_>>()
    };
    assert_eq!(row("n1"), ["n1", "current, new", "current"], "{shown}");
    assert_eq!(row("n3"), ["n3", "-", "-"], "{shown}");

    nodes[2].start();
    take(&setup, "switch");
    // It is away again, with a certificate of the old authority.
    nodes[2].in_use();
    nodes[2].kill();

    for node in &mut nodes[..2] {
        // Killed in the middle of it, it goes on from there.
        let asked = node.machine.command(&["rotate", CERTIFICATE, "--now"]).spawn();
        std::thread::sleep(Duration::from_millis(60));
        node.restart();
        let mut asked = asked.unwrap();
        let _ = asked.kill();
        let _ = asked.wait();
    }
    for (node, first) in nodes[..2].iter().zip(&first) {
        // Whatever became of the first try.
        let output = node.machine.agent(&["rotate", CERTIFICATE, "--now"]).unwrap();
        assert!(output.status.success(), "{output:?}");
        node.machine.wait_for_new(CERTIFICATE, first).unwrap();
    }
    let refused = || {
        let (code, said) = rotate(&setup, Some("drop"));
        let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
        let n3 = "error: `n3` still uses a certificate of the old authority";
        (code == Some(1) && errors == 1 && said.contains(n3)).then_some(())
    };
    until("the drop to wait for the node that is away alone", LIMIT, refused).unwrap();
    // Both are trusted until then.
    assert_eq!(nodes[..2].iter().map(Served::trusted).collect::<Vec<_>>(), [2, 2]);

    nodes[2].start();
    until("the node that was away to take the wish", LIMIT, || {
        let output = nodes[2].machine.agent(&["rotate", CERTIFICATE, "--now"]).unwrap();
        output.status.success().then_some(())
    })
    .unwrap();
    take(&setup, "drop");
    for node in &mut nodes {
        node.restart();
    }
    for node in &nodes {
        until("the old authority to be gone from the bundle", LIMIT, || {
            (node.trusted() == 1).then_some(())
        })
        .unwrap();
    }
    assert_eq!(rotate(&setup, None).0, Some(0));
    for node in &nodes {
        let certificate = fs::read_to_string(&node.combined).unwrap();
        let leaf = certificate.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap();
        let file = node.machine.root().join("leaf.pem");
        fs::write(&file, leaf).unwrap();
        let verified = Command::new("openssl")
            .arg("verify")
            .arg("-CAfile")
            .args([&node.bundle, &file])
            .output()
            .unwrap();
        assert!(verified.status.success(), "{verified:?}");
    }
    for visitors in visitors {
        let tally = visitors.leave();
        println!("clients of the other node's bundle: {tally}");
        assert_eq!(tally.lost(), 0, "{tally}");
        assert!(tally.answered > 50 && tally.shown.len() >= 2, "{tally}");
    }
}
