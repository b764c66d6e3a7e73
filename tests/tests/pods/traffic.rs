//! haproxy while something changes: what clients notice of a reload, a new certificate and a stop, which is nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use basalt_model::node::{HealthCheck, Node, ProxyMode, Server};
use basalt_static_pods::control::{
    HAPROXY_ADMIN_SOCKET, HAPROXY_DRAIN_FILE, HAPROXY_MASTER_SOCKET,
};
use e2e::peers::peer;
use e2e::ports::free_port;

use crate::container::{Container, Running};
use crate::haproxy::{PATIENCE, loopback, say, start};
use crate::http::{Echo, get, status};
use crate::{lab, pod, wait_for};

/// The lab's node with one plain frontend on `port`, in front of one server.
fn plain(mode: ProxyMode, port: u16, backend: u16, monitor: u16) -> Node {
    let mut node = lab("n1");
    let haproxy = node.haproxy.as_mut().unwrap();
    (haproxy.monitor_port, haproxy.max_connections) = (monitor, 100);
    haproxy.frontends.truncate(1);
    let frontend = &mut haproxy.frontends[0];
    (frontend.mode, frontend.check) = (mode, HealthCheck::connect());
    frontend.binds = vec![loopback(port)];
    frontend.servers = vec![Server::new("only".parse().unwrap(), loopback(backend))];
    node
}

/// A client that asks again and again, on one connection as long as it may, and what became of its requests.
struct Client {
    is_stopping: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Client {
    fn start(port: u16) -> Self {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (answered, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (stop, good, bad) =
            (Arc::clone(&is_stopping), Arc::clone(&answered), Arc::clone(&lost));
        let thread = std::thread::spawn(move || {
            let mut connection = None;
            while !stop.load(Ordering::Relaxed) {
                match ask(&mut connection, port) {
                    Some(()) => good.fetch_add(1, Ordering::Relaxed),
                    None => bad.fetch_add(1, Ordering::Relaxed),
                };
            }
        });
        Self { is_stopping, answered, lost, thread }
    }

    /// How many requests were answered, and how many were not.
    fn stop(self) -> (u64, u64) {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        (self.answered.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}

/// One request, on the connection that is there. Closing behind an answer that says so is the server's right.
fn ask(connection: &mut Option<TcpStream>, port: u16) -> Option<()> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => TcpStream::connect(("127.0.0.1", port)).ok()?,
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&answer).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
            if body.len() >= length {
                if head.starts_with("http/1.1 200") && !head.contains("connection: close") {
                    *connection = Some(stream);
                }
                return head.starts_with("http/1.1 200").then_some(());
            }
        }
        match stream.read(&mut buffer).ok()? {
            0 => return None,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
}

/// Writes what a changed node has for haproxy, and asks for a reload.
fn reload(container: &Container, node: &Node) {
    for file in &pod(node, "haproxy").files {
        let text = container.rewritten(&file.contents);
        std::fs::write(container.inside(file.path.as_str()), text).unwrap();
    }
    say(container, HAPROXY_MASTER_SOCKET, "reload");
}

/// The process that serves. The master does not answer while it becomes its new self.
fn worker(container: &Container) -> String {
    let mut found = None;
    wait_for("a master that answers", PATIENCE, || {
        found = worker_now(container);
        found.is_some()
    });
    found.unwrap()
}

fn worker_now(container: &Container) -> Option<String> {
    let answer = say(container, HAPROXY_MASTER_SOCKET, "show proc")?;
    let row = answer.lines().find(|line| line.split_whitespace().nth(1) == Some("worker"))?;
    row.split_whitespace().next().map(str::to_owned)
}

#[test]
fn no_request_is_lost_in_a_reload() {
    let Some(haproxy) = peer("haproxy") else { return };
    let folder = tempfile::tempdir().unwrap();
    let backend = Echo::on(TcpListener::bind("127.0.0.1:0").unwrap());
    let [port, monitor] = [(); 2].map(|()| free_port().unwrap());
    let mut node = plain(ProxyMode::Http, port, backend.port(), monitor);
    let container = Container::new(&pod(&node, "haproxy"), folder.path());
    let running = start(&haproxy, &node, folder.path());
    wait_for("ready", PATIENCE, || status(monitor, "/readyz") == Some(200));

    let clients = [(); 4].map(|()| Client::start(port));
    for round in 0..5 {
        let before = worker(&container);
        let rule = format!("http-request set-header X-Round {round}");
        node.haproxy.as_mut().unwrap().frontends[0].rules = vec![rule];
        reload(&container, &node);
        wait_for("a new worker", PATIENCE, || {
            worker_now(&container).is_some_and(|now| now != before)
        });
        wait_for("the new config", PATIENCE, || {
            let (_, body) = get(SocketAddr::from(([127, 0, 0, 1], port)), "/").unwrap();
            body.to_lowercase().contains(&format!("x-round: {round}"))
        });
    }
    // One that haproxy does not take: the workers that are there go on.
    let config = container.inside("/etc/basalt/pods/haproxy/haproxy.cfg");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("mode http", "mode htpp")).unwrap();
    say(&container, HAPROXY_MASTER_SOCKET, "reload");
    wait_for("the refusal", PATIENCE, || running.said().contains("htpp"));
    assert_eq!(status(monitor, "/readyz"), Some(200), "{}", running.said());

    let (answered, lost) = clients
        .into_iter()
        .map(Client::stop)
        .fold((0, 0), |(good, bad), (more_good, more_bad)| (good + more_good, bad + more_bad));
    eprintln!("{answered} requests answered during five reloads and a refused one, {lost} lost");
    assert!(answered > 100, "{answered}");
    assert_eq!(lost, 0, "{}", running.said());
}

/// A certificate comes into use through the worker's socket, by the path that the config has.
#[test]
fn a_certificate_is_swapped_without_a_reload() {
    let (Some(haproxy), Some(curl)) = (peer("haproxy"), peer("curl")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let backend = Echo::on(TcpListener::bind("127.0.0.1:0").unwrap());
    let [port, monitor] = [(); 2].map(|()| free_port().unwrap());
    let mut node = plain(ProxyMode::Http, port, backend.port(), monitor);
    let name = "ingress".parse().unwrap();
    node.haproxy.as_mut().unwrap().frontends[0].certificate = Some(name);
    let container = Container::new(&pod(&node, "haproxy"), folder.path());
    let running = start(&haproxy, &node, folder.path());
    wait_for("ready", PATIENCE, || status(monitor, "/readyz") == Some(200));
    wait_for("its handshake with itself", PATIENCE, || {
        let csv = get(SocketAddr::from(([127, 0, 0, 1], monitor)), "/stats;csv").unwrap().1;
        let row = csv.lines().find(|line| line.starts_with("basalt-tls-kubernetes-api,self,"));
        row.unwrap().contains("L6OK")
    });

    let host = "www.lab.example";
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let trusted = folder.path().join("new.pem");
    std::fs::write(&trusted, made.cert.pem()).unwrap();
    let is_served = || {
        let to = format!("{host}:{port}:127.0.0.1");
        let url = format!("https://{host}:{port}/");
        let arguments = ["--silent", "--fail", "--max-time", "5", "--resolve", &to, "--cacert"];
        let curl = Command::new(&curl.program).args(arguments).arg(&trusted).arg(&url).output();
        curl.unwrap().status.success()
    };
    assert!(!is_served());
    let before = worker(&container);
    let path = container.inside("/var/lib/basalt/certificates/ingress/combined.pem");
    let pem = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    let set = format!("set ssl cert {} <<\n{pem}", path.display());
    let answer = say(&container, HAPROXY_ADMIN_SOCKET, &set).unwrap();
    assert!(answer.contains("Transaction created"), "{answer}");
    let commit = format!("commit ssl cert {}", path.display());
    let answer = say(&container, HAPROXY_ADMIN_SOCKET, &commit).unwrap();
    assert!(answer.contains("Success!"), "{answer}");
    assert!(is_served(), "{}", running.said());
    assert_eq!(worker(&container), before);
}

/// A server that waits for the end of each request, however long it takes, and answers it.
fn patient_backend() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |mut stream: TcpStream| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(1) => request.extend(byte),
                _ => return,
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nyes");
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

/// As the kubelet stops it. Clients see nothing while the addresses leave, then have the time that they were promised.
#[test]
fn haproxy_drains_when_it_stops() {
    let Some(haproxy) = peer("haproxy") else { return };
    let folder = tempfile::tempdir().unwrap();
    let [port, monitor] = [(); 2].map(|()| free_port().unwrap());
    let mut node = plain(ProxyMode::Tcp, port, patient_backend(), monitor);
    node.haproxy.as_mut().unwrap().drain_seconds = 3;
    let container = Container::new(&pod(&node, "haproxy"), folder.path());
    // What an earlier stop has left.
    std::fs::create_dir_all(container.inside("/run/basalt/haproxy")).unwrap();
    std::fs::write(container.inside(HAPROXY_DRAIN_FILE), "1\n").unwrap();
    let mut running = start(&haproxy, &node, folder.path());
    wait_for("ready", PATIENCE, || status(monitor, "/readyz") == Some(200));
    let drain = container.inside(HAPROXY_DRAIN_FILE);
    assert!(!drain.exists());

    let open = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut slow = TcpStream::connect(("127.0.0.1", port)).unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\n").unwrap();
    let stopped = Instant::now();
    signal(&running, "TERM");
    wait_for("the sign for keepalived", PATIENCE, || open(&drain) == "1\n");
    // The advert interval of the lab is one second, so the peers are there after three.
    while stopped.elapsed() < Duration::from_secs(3) {
        assert_eq!(status(port, "/"), Some(200), "{}", running.said());
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_for("closed ports", PATIENCE, || status(port, "/").is_none());
    slow.write_all(b"\r\n").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nyes"), "{answer}");
    drop(slow);
    let code = running.child.wait().unwrap();
    let took = stopped.elapsed();
    assert!(code.success() && took < Duration::from_secs(7), "{code}, {took:?}");
}

/// A connection that never ends does not keep the pod from ending.
#[test]
fn a_stop_takes_no_longer_than_it_may() {
    let Some(haproxy) = peer("haproxy") else { return };
    let folder = tempfile::tempdir().unwrap();
    let backend = Echo::on(TcpListener::bind("127.0.0.1:0").unwrap());
    let [port, monitor] = [(); 2].map(|()| free_port().unwrap());
    let mut node = plain(ProxyMode::Tcp, port, backend.port(), monitor);
    node.keepalived = None;
    let mut running = start(&haproxy, &node, folder.path());
    wait_for("ready", PATIENCE, || status(monitor, "/readyz") == Some(200));
    let _held = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let stopped = Instant::now();
    assert!(running.terminate().success());
    let took = stopped.elapsed();
    // `drain_seconds` is 2, and without keepalived there is no address to wait for.
    assert!((1..4).contains(&took.as_secs()), "{took:?}");
}

fn signal(running: &Running, name: &str) {
    let id = running.child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}
