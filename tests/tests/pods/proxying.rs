//! What haproxy does with connections: whom it believes, whom it turns away, whom it sends them to.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use basalt_model::node::{
    CheckAnchor, CheckTls, HAPROXY_FILES, HaproxyFile, HealthCheck, Node, ProxyMode, ProxyProtocol,
    Server, ServerTls,
};
use e2e::peers::{Peer, peer};
use e2e::ports::free_port;

use crate::container::{Container, Running};
use crate::haproxy::{PATIENCE, loopback, write_certificates};
use crate::http::{Echo, get, status};
use crate::{lab, pod, wait_for};

fn server(port: u16) -> Server {
    Server::new("only".parse().unwrap(), loopback(port))
}

/// Two of the lab's frontends in a row: the first listens on `outer` and sends to the second on `inner`, whose server
/// is on `backend`.
fn chain([outer, inner, backend, monitor]: [u16; 4]) -> Node {
    let mut node = lab("n1");
    let haproxy = node.haproxy.as_mut().unwrap();
    (haproxy.monitor_port, haproxy.max_connections) = (monitor, 100);
    haproxy.frontends.truncate(2);
    for (frontend, [port, to]) in
        haproxy.frontends.iter_mut().zip([[outer, inner], [inner, backend]])
    {
        frontend.binds = vec![loopback(port)];
        frontend.servers = vec![server(to)];
        (frontend.check, frontend.certificate) = (HealthCheck::connect(), None);
    }
    node
}

/// A request to `port` from another of this machine's loopback addresses: the body, then the status.
fn from(curl: &Peer, source: &str, port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/");
    let arguments = ["--silent", "--max-time", "5", "--interface", source, "--write-out"];
    let mut command = Command::new(&curl.program);
    let output = command.args(arguments).args(["status %{http_code}", &url]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().to_lowercase()
}

#[test]
fn the_client_is_known_behind_another_load_balancer() {
    let (Some(haproxy), Some(curl)) = (peer("haproxy"), peer("curl")) else { return };
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let folder = tempfile::tempdir().unwrap();
        let backend = Echo::on(TcpListener::bind("127.0.0.1:0").unwrap());
        let [outer, inner, monitor] = [(); 3].map(|()| free_port().unwrap());
        let mut node = chain([outer, inner, backend.port(), monitor]);
        let config = node.haproxy.as_mut().unwrap();
        config.frontends[0].servers[0].send_proxy = Some(version);
        config.frontends[1].accept_proxy = true;
        let list = "denied.acl".parse().unwrap();
        let rule = format!("http-request deny if {{ src -f {HAPROXY_FILES}/{list} }}");
        config.frontends[1].rules = vec![rule];
        config.files = vec![HaproxyFile { name: list, contents: "127.0.0.9\n".to_owned() }];

        let container = Container::new(&pod(&node, "haproxy"), folder.path());
        let running = Running::start(&container.command(&haproxy.program));
        wait_for("ready", PATIENCE, || status(monitor, "/readyz") == Some(200));
        let body = from(&curl, "127.0.0.7", outer);
        assert!(body.contains("x-forwarded-for: 127.0.0.7\r"), "{body}");
        assert!(body.ends_with("status 200"), "{body}");
        // The list of the cluster's file is about the client, too.
        let body = from(&curl, "127.0.0.9", outer);
        assert!(body.ends_with("status 403"), "{body}: {}", running.said());
        // Whoever does not say who the client is, is not heard.
        assert_eq!(status(inner, "/").filter(|code| *code == 200), None);
    }
}

/// The second frontend ends TLS with a certificate for `www.lab.example`, the first speaks TLS to it.
#[test]
fn servers_prove_who_they_are() {
    let Some(haproxy) = peer("haproxy") else { return };
    let traffic = |ca: &str, host: &str| {
        let tls = ServerTls { ca: ca.parse().unwrap(), host: host.parse().unwrap() };
        move |node: &mut Node| {
            let frontend = &mut node.haproxy.as_mut().unwrap().frontends[0];
            (frontend.mode, frontend.server_tls) = (ProxyMode::Http, Some(tls.clone()));
        }
    };
    let health = |ca: &str, host: &str| {
        let (ca, host) = (ca.parse().unwrap(), Some(host.parse().unwrap()));
        let tls = CheckTls::Verified(CheckAnchor { ca, host });
        move |node: &mut Node| {
            let frontend = &mut node.haproxy.as_mut().unwrap().frontends[0];
            frontend.check = HealthCheck { tls: tls.clone(), ..HealthCheck::http("/") };
        }
    };
    check(&haproxy, traffic("vault", "www.lab.example"), true);
    check(&haproxy, traffic("vault", "other.lab.example"), false);
    check(&haproxy, traffic("stranger", "www.lab.example"), false);
    check(&haproxy, health("vault", "www.lab.example"), true);
    check(&haproxy, health("vault", "other.lab.example"), false);
    check(&haproxy, health("stranger", "www.lab.example"), false);
}

/// Whether the first frontend finds its server to work, by the state that haproxy tells.
#[track_caller]
fn check(haproxy: &Peer, change: impl Fn(&mut Node), is_up: bool) {
    let folder = tempfile::tempdir().unwrap();
    let backend = Echo::on(TcpListener::bind("127.0.0.1:0").unwrap());
    let [outer, inner, monitor] = [(); 3].map(|()| free_port().unwrap());
    let mut node = chain([outer, inner, backend.port(), monitor]);
    node.haproxy.as_mut().unwrap().frontends[1].certificate = Some("ingress".parse().unwrap());
    node.trust_anchors.insert("stranger".parse().unwrap(), String::new());
    node.vault.as_mut().unwrap().certificates[0].common_name = "www.lab.example".to_owned();
    change(&mut node);

    let container = Container::new(&pod(&node, "haproxy"), folder.path());
    let pem = write_certificates(&container, &node);
    let stranger = rcgen::generate_simple_self_signed(["www.lab.example".to_owned()]).unwrap();
    let trust = container.inside("/etc/basalt/trust");
    std::fs::write(trust.join("vault.pem"), pem).unwrap();
    std::fs::write(trust.join("stranger.pem"), stranger.cert.pem()).unwrap();
    let running = Running::start(&container.command(&haproxy.program));
    let state = || {
        let (_, csv) = get(SocketAddr::from(([127, 0, 0, 1], monitor)), "/stats;csv")?;
        let row = csv.lines().find(|line| line.starts_with("kubernetes-api,only,"))?;
        let state = row.split(',').nth(17)?;
        // Until it is asked for the first time a server counts as one that works.
        let is_known = ["L4", "L6", "L7"].iter().any(|level| row.contains(level));
        is_known.then(|| state.to_owned())
    };
    let wanted = if is_up { "UP" } else { "DOWN" };
    wait_for(wanted, PATIENCE, || state().is_some_and(|state| state == wanted));
    assert_eq!(status(monitor, "/healthz"), Some(200), "{}", running.said());
}
