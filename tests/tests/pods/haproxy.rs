//! The haproxy pod and the real haproxy.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use basalt_model::names::Endpoint;
use basalt_model::node::{HealthCheck, Node, Server};
use basalt_static_pods::control::{HAPROXY_MASTER_SOCKET, check_command};
use e2e::peers::{Peer, peer};
use e2e::ports::free_port;

use crate::container::{Container, Running};
use crate::http::{Echo, get, status};
use crate::{lab, pod, wait_for, worked_example};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Puts certificates made here where the node keeps its own, and gives them without their keys.
pub(crate) fn write_certificates(container: &Container, node: &Node) -> String {
    let mut certificates = String::new();
    for certificate in node.vault.iter().flat_map(|vault| &vault.certificates) {
        let made = rcgen::generate_simple_self_signed([certificate.common_name.clone()]).unwrap();
        let combined = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
        let folder = container.inside(certificate.directory.as_str());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("combined.pem"), combined).unwrap();
        certificates.push_str(&made.cert.pem());
    }
    certificates
}

/// Whether `haproxy -c` accepts the node's config after `edit`, and what it says. Warnings count as a refusal.
fn verdict(haproxy: &Peer, node: &Node, edit: impl Fn(String) -> String) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let container = Container::new(&pod(node, "haproxy"), folder.path());
    write_certificates(&container, node);
    let config = container.inside("/etc/basalt/pods/haproxy/haproxy.cfg");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, edit(text)).unwrap();
    let checked = container.rewritten(&check_command("haproxy").unwrap().join("\n"));
    let arguments = checked.lines().skip(1).filter(|argument| *argument != "-q");
    let output = Command::new(&haproxy.program).args(arguments).arg("-dW").output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn check_accepted(haproxy: &Peer, node: &Node) {
    let (is_accepted, said) = verdict(haproxy, node, |text| text);
    assert!(is_accepted, "{said}");
}

#[test]
fn haproxy_accepts_every_config() {
    let Some(haproxy) = peer("haproxy") else { return };
    for name in ["n1", "n2", "n3"] {
        check_accepted(&haproxy, &lab(name));
    }
    for node in worked_example() {
        check_accepted(&haproxy, &node);
    }

    let mut many = lab("n1");
    let frontends = &mut many.haproxy.as_mut().unwrap().frontends;
    let patterns = frontends.clone();
    for index in 0..60_u16 {
        let mut frontend = patterns[usize::from(index) % patterns.len()].clone();
        frontend.name = format!("{}-{index}", frontend.name).parse().unwrap();
        for bind in &mut frontend.binds {
            bind.0.set_port(20_000 + index);
        }
        frontends.push(frontend);
    }
    check_accepted(&haproxy, &many);

    let mut ipv6 = lab("n1");
    let frontends = &mut ipv6.haproxy.as_mut().unwrap().frontends;
    frontends.truncate(2);
    for frontend in frontends {
        frontend.binds.retain(|bind| bind.0.is_ipv6());
        for (index, server) in frontend.servers.iter_mut().enumerate() {
            server.address = format!("[2001:db8:2::1{index}]:6443").parse().unwrap();
        }
    }
    check_accepted(&haproxy, &ipv6);

    // Every character that a check's path may hold.
    let mut paths = lab("n1");
    let path = "/az09-._~!&()*+,;=:@%20?a=b/".to_owned();
    paths.haproxy.as_mut().unwrap().frontends[1].check = HealthCheck::http(path);
    check_accepted(&haproxy, &paths);
}

#[test]
fn haproxy_refuses_what_is_broken() {
    let Some(haproxy) = peer("haproxy") else { return };
    for (from, to, reason) in [
        ("balance leastconn", "balance lestconn", "balance only supports"),
        (
            "default_backend registry",
            "default_backend regstry",
            "unable to find required default_backend",
        ),
        ("combined.pem", "missing.pem", "unable to stat"),
        ("http-check expect status 200", "http-check expect status 2x0", "status"),
        // Why an endpoint has no zone.
        ("bind 192.0.2.10:6443", "bind [fe80::1%2]:6443", "fe80::1%2"),
        ("monitor fail if { nbsrv(registry)", "monitor fail if { nbsrv(regstry)", "regstry"),
    ] {
        let (is_accepted, said) = verdict(&haproxy, &lab("n1"), |text| text.replace(from, to));
        assert!(!is_accepted && said.contains(reason), "{to}: {said}");
    }
}

/// Rules whose conditions are told apart here as haproxy tells them apart: those that name an ACL which is not there are
/// refused at the build already, and no others.
#[test]
fn haproxy_refuses_the_conditions_that_the_build_refuses() {
    let Some(haproxy) = peer("haproxy") else { return };
    let predefined = "FALSE HTTP HTTP_1.0 HTTP_1.1 HTTP_2.0 HTTP_CONTENT HTTP_URL_ABS HTTP_URL_SLASH HTTP_URL_STAR \
                      LOCALHOST METH_CONNECT METH_DELETE METH_GET METH_HEAD METH_OPTIONS METH_POST METH_PUT METH_TRACE \
                      RDP_COOKIE REQ_CONTENT TRUE WAIT_END";
    let mut taken: Vec<String> =
        predefined.split(' ').map(|name| format!("http-request deny if {name}")).collect();
    taken.extend(
        [
            "http-request deny",
            "http-request deny if operator !inside or ! inside OR TRUE || !!operator",
            "http-request deny if { path_beg /if } !{ src 192.0.2.1 } !operator",
            "http-request deny unless operator # operatr",
            "http-request deny if operator#operatr",
            "http-request set-header if operatr",
            "http-request set-header if operatr if operator",
            "http-request set-header X-If if if operator",
            "http-request add-header a \"b if operatr\" unless operator",
            "http-request add-header a b\\ if\\ operatr",
            "http-request replace-value a if operatr if operator",
            "http-request replace-header a if operatr",
            "http-request replace-path if operatr if operator",
            "http-request set-path if if operator",
            "http-request redirect location if if operator",
            "http-request return status 200 content-type text/plain string if",
            "http-request return status 200 content-type text/plain string if if operator",
            "http-request return status 200 content-type text/plain string a hdr if operatr",
            "http-request set-var(txn.a) str(if) if operator",
            "http-request set-var-fmt(txn.a) if if operator",
            "http-request tarpit deny_status 429 if operator",
            "http-request capture path len 10 if operator",
            "http-response set-status 200 reason a if operator",
            "http-response del-header if if operator",
            "http-after-response set-header a b if operator",
            "tcp-request inspect-delay 5s",
            "tcp-request connection reject if operator",
            "tcp-request content accept if operator",
            "tcp-request session set-var(sess.a) src if operator",
            "tcp-request content capture req.hdr(a) len 10 if operator",
            "use_backend registry if operator",
        ]
        .map(str::to_owned),
    );
    let refused = [
        "http-request deny if !operatr",
        "http-request deny unless { path / } operatr",
        "http-request deny if later",
        "http-request deny if operator and inside",
        "http-request deny if operator && inside",
        "http-request deny if Operator",
        "http-request deny if true",
        "http-request deny if \"operator \"",
        "http-request set-header a b if operatr",
        "http-request set-header if if if operatr",
        "http-request return status 200 content-type text/plain string if if operatr",
        "http-response set-status 200 reason a if operatr",
        "http-request capture path len 10 if operatr",
        "tcp-request connection reject if operatr",
        "tcp-request content capture req.hdr(a) len 10 if operatr",
        "use_backend registry if operatr",
    ];
    let refused = refused.map(|rule| (rule.to_owned(), true));
    let rows = taken.into_iter().map(|rule| (rule, false)).chain(refused);
    const HEAD: &str = "defaults
  mode http
  timeout connect 1s
  timeout client 1s
  timeout server 1s
frontend web
  bind 127.0.0.1:8080
";
    const TAIL: &str = "  default_backend registry
backend registry
  server a 127.0.0.1:8081
";
    let folder = tempfile::tempdir().unwrap();
    let mut different = String::new();
    for (rule, is_unknown) in rows {
        let rules = ["acl operator src ::1", "acl inside src ::2", &rule, "acl later src ::3"];
        let found = basalt_model::rules::unknown_acls(&rules);
        let rules = rules.map(|rule| format!("  {rule}\n")).concat();
        let config = folder.path().join("haproxy.cfg");
        std::fs::write(&config, format!("{HEAD}{rules}{TAIL}")).unwrap();
        let output = Command::new(&haproxy.program).args(["-c", "-f"]).arg(&config).output();
        let output = output.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let says_so = said.contains("no such ACL");
        if found.is_empty() == is_unknown
            || says_so != is_unknown
            || output.status.success() == is_unknown
        {
            different += &format!("{rule}: {found:?}: {said}\n");
        }
    }
    assert!(different.is_empty(), "{different}");
}

pub(crate) fn loopback(port: u16) -> Endpoint {
    Endpoint(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The ports of a node that serves on loopback.
struct Ports {
    monitor: u16,
    /// Carries bytes, to `ingress`; its check goes over TLS.
    api: u16,
    /// Ends TLS; IPv4 and IPv6 on one number, both on every address.
    ingress: u16,
    backend: u16,
}

impl Ports {
    fn choose() -> Self {
        let [monitor, api, ingress, backend] = [(); 4].map(|()| free_port().unwrap());
        Self { monitor, api, ingress, backend }
    }

    /// The lab's node with these ports: its API frontend has its own ingress frontend for a server, and that the
    /// one real backend.
    fn node(&self) -> Node {
        let mut node = lab("n1");
        // Not on this machine's network.
        node.keepalived = None;
        let haproxy = node.haproxy.as_mut().unwrap();
        haproxy.monitor_port = self.monitor;
        haproxy.max_connections = 100;
        haproxy.frontends.truncate(2);
        let name = "only".parse().unwrap();
        haproxy.frontends[0].binds = vec![loopback(self.api)];
        haproxy.frontends[0].servers = vec![Server::new(name, loopback(self.ingress))];
        let name = "only".parse().unwrap();
        for bind in &mut haproxy.frontends[1].binds {
            bind.0.set_port(self.ingress);
        }
        haproxy.frontends[1].servers = vec![Server::new(name, loopback(self.backend))];
        node
    }
}

pub(crate) fn start(haproxy: &Peer, node: &Node, root: &Path) -> Running {
    let container = Container::new(&pod(node, "haproxy"), root);
    write_certificates(&container, node);
    Running::start(&container.command(&haproxy.program))
}

#[test]
fn haproxy_serves_and_tells_its_health() {
    let Some(haproxy) = peer("haproxy") else { return };
    let Some(curl) = peer("curl") else { return };
    let folder = tempfile::tempdir().unwrap();
    let ports = Ports::choose();
    let mut running = start(&haproxy, &ports.node(), folder.path());

    wait_for("alive", PATIENCE, || status(ports.monitor, "/healthz") == Some(200));
    wait_for("not ready without a backend", PATIENCE, || {
        status(ports.monitor, "/readyz") == Some(503)
    });
    assert_eq!(status(ports.monitor, "/healthz"), Some(200), "{}", running.said());

    let backend = Echo::on(TcpListener::bind(("127.0.0.1", ports.backend)).unwrap());
    assert_eq!(backend.port(), ports.backend);
    wait_for("ready with one backend", PATIENCE, || status(ports.monitor, "/readyz") == Some(200));

    // Through both frontends: bytes, then TLS, then HTTP; and straight to the IPv6 side.
    for url in [
        format!("https://127.0.0.1:{}/hello", ports.api),
        format!("https://[::1]:{}/hello", ports.ingress),
    ] {
        let output = Command::new(&curl.program)
            .args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "5", &url])
            .output()
            .unwrap();
        let body = String::from_utf8(output.stdout).unwrap().to_lowercase();
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(body.starts_with("get /hello http/1.1"), "{url}: {body}");
        assert!(body.contains("x-forwarded-proto: https"), "{url}: {body}");
        assert!(body.contains("x-forwarded-for: "), "{url}: {body}");
    }

    let monitor = SocketAddr::from(([127, 0, 0, 1], ports.monitor));
    let (code, metrics) = get(monitor, "/metrics").unwrap();
    assert!(code == 200 && metrics.contains("haproxy_process_max_connections 200"), "{metrics}");
    assert_eq!(status(ports.monitor, "/stats"), Some(200));
    assert_eq!(status(ports.monitor, "/other"), Some(404));

    drop(backend);
    wait_for("not ready any more", PATIENCE, || status(ports.monitor, "/readyz") == Some(503));
    assert!(running.terminate().success(), "{}", running.said());
}

/// A host that gives fewer files than the limit of connections needs is served with those it gives.
#[test]
fn haproxy_serves_where_the_file_limit_is_low() {
    let Some(haproxy) = peer("haproxy") else { return };
    let folder = tempfile::tempdir().unwrap();
    let ports = Ports::choose();
    let mut node = ports.node();
    node.haproxy.as_mut().unwrap().max_connections = 20_000;
    let container = Container::new(&pod(&node, "haproxy"), folder.path());
    write_certificates(&container, &node);
    let backend = Echo::on(TcpListener::bind(("127.0.0.1", ports.backend)).unwrap());
    let mut command = vec!["prlimit".to_owned(), "--nofile=300:300".to_owned()];
    command.extend(container.command(&haproxy.program));
    let running = Running::start(&command);
    wait_for("ready", PATIENCE, || status(ports.monitor, "/readyz") == Some(200));
    assert!(running.said().contains("FD limit"), "{}", running.said());
    drop(backend);
}

/// Gives a command on one of haproxy's sockets, and the answer to it.
pub(crate) fn say(container: &Container, socket: &str, command: &str) -> Option<String> {
    let mut socket = UnixStream::connect(container.inside(socket)).ok()?;
    socket.write_all(format!("{command}\n").as_bytes()).ok()?;
    // The master keeps the connection for further commands unless it is told that there are none.
    socket.shutdown(Shutdown::Write).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The master takes a reload on its socket, and nobody notices: this is how a renewed certificate comes into use.
#[test]
fn haproxy_reloads_through_its_master_socket() {
    let Some(haproxy) = peer("haproxy") else { return };
    let folder = tempfile::tempdir().unwrap();
    let ports = Ports::choose();
    let container = Container::new(&pod(&ports.node(), "haproxy"), folder.path());
    let running = start(&haproxy, &ports.node(), folder.path());
    let backend = Echo::on(TcpListener::bind(("127.0.0.1", ports.backend)).unwrap());
    wait_for("ready", PATIENCE, || status(ports.monitor, "/readyz") == Some(200));

    // The number of the process that serves.
    let worker = || -> Option<String> {
        let answer = say(&container, HAPROXY_MASTER_SOCKET, "show proc")?;
        let mut rows = answer.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row.get(1) == Some(&"worker"))?;
        Some(row[0].to_owned())
    };
    wait_for("a master that answers", PATIENCE, || worker().is_some());
    let before = worker().unwrap();
    let _ = say(&container, HAPROXY_MASTER_SOCKET, "reload");
    wait_for("a new worker", PATIENCE, || {
        assert_eq!(status(ports.monitor, "/healthz"), Some(200), "{}", running.said());
        worker().is_some_and(|worker| worker != before)
    });
    drop(backend);
}
