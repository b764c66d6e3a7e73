//! Clients over TLS that count each request once, whatever becomes of it.
//!
//! A load generator does not: wrk calls an answer that came late a timeout, and a request that is never answered nothing at
//! all. Visitors wait until each request has its end, and say which. They trust what lies in a bundle at the moment of each
//! handshake and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sha2::{Digest, Sha256};

/// Nobody waits longer: what has no answer by then has none.
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer that takes longer is called late. It came all the same.
const LATE: Duration = Duration::from_secs(2);
/// No answer of a lab is larger.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Whom to visit, and how.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The name it is asked for.
    pub host: String,
    /// The bundle that is trusted, read anew for each connection.
    pub trusted: PathBuf,
    /// The network namespace of this process, when it is not that of the test.
    pub network_of: Option<i32>,
    /// How many requests a connection is kept for: 1 for a new one each.
    pub requests_per_connection: u64,
    /// Pause after each request.
    pub pause: Duration,
}

/// What became of the requests. Only the answered ones were not lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those with a whole answer that says success.
    pub answered: u64,
    /// Of those, the ones that took longer than two seconds.
    pub late: u64,
    /// The longest that one took, the time to connect included, and the part of it that took longest.
    pub slowest: (Duration, &'static str),
    /// No connection: refused, or nobody there for half a minute.
    pub unconnected: u64,
    /// A connection, and a handshake that failed.
    pub unshaken: u64,
    /// Connections that ended before the answer did.
    pub cut: u64,
    /// Nothing for half a minute.
    pub unanswered: u64,
    /// Answers that say something else than success.
    pub refused: u64,
    /// What was said of the first losses.
    pub reasons: Vec<String>,
    /// How many handshakes showed each certificate, by its SHA-256.
    pub shown: BTreeMap<String, u64>,
}

impl Tally {
    /// Requests that brought nothing.
    pub fn lost(&self) -> u64 {
        self.unconnected + self.unshaken + self.cut + self.unanswered + self.refused
    }

    /// Both together.
    pub fn add(&mut self, other: Tally) {
        self.answered += other.answered;
        self.late += other.late;
        self.slowest = self.slowest.max(other.slowest);
        self.unconnected += other.unconnected;
        self.unshaken += other.unshaken;
        self.cut += other.cut;
        self.unanswered += other.unanswered;
        self.refused += other.refused;
        self.reasons.extend(other.reasons);
        self.reasons.truncate(MOST_REASONS);
        for (certificate, times) in other.shown {
            *self.shown.entry(certificate).or_default() += times;
        }
    }
}

const MOST_REASONS: usize = 5;

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { answered, late, slowest, unconnected, unshaken, cut, .. } = self;
        let Tally { unanswered, refused, reasons, shown, .. } = self;
        write!(
            f,
            "{answered} answered, {late} of them after more than {LATE:?}, the slowest after {:?} ({}); not connected \
             {unconnected}, no handshake {unshaken}, cut {cut}, unanswered {unanswered}, refused {refused}; {} certificates",
            slowest.0,
            slowest.1,
            shown.len()
        )?;
        reasons.iter().try_for_each(|reason| write!(f, "\n  {reason}"))
    }
}

/// Clients at work; see [`Visitors::leave`].
pub struct Visitors {
    is_leaving: Arc<AtomicBool>,
    so_far: Arc<Mutex<Tally>>,
    threads: Vec<JoinHandle<()>>,
}

impl Visitors {
    /// So many clients, each with one request at a time.
    ///
    /// # Errors
    /// When the network namespace is not there.
    pub fn start(visit: &Visit, count: usize) -> Result<Visitors> {
        let (is_leaving, so_far) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Tally>>::default());
        let mut threads = Vec::new();
        for _ in 0..count {
            let namespace = visit.network_of.map(|pid| File::open(format!("/proc/{pid}/ns/net")));
            let namespace = namespace.transpose().context("the machine is not there")?;
            let (visit, until, out) = (visit.clone(), Arc::clone(&is_leaving), Arc::clone(&so_far));
            threads.push(thread::spawn(move || {
                if let Some(namespace) = namespace {
                    // Of this thread alone.
                    setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
                }
                while !until.load(Ordering::Relaxed) {
                    let mut tally = Tally::default();
                    visit.one_connection(&until, &mut tally);
                    out.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).add(tally);
                }
            }));
        }
        Ok(Visitors { is_leaving, so_far, threads })
    }

    /// What was seen by now, of the connections that have ended.
    pub fn so_far(&self) -> Tally {
        self.so_far.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Lets each finish the request it is at, and gives what was seen.
    pub fn leave(mut self) -> Tally {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.end();
    }
}

/// How one request ended.
enum End {
    Answered { keeps: bool },
    Refused(String),
    Cut(String),
    Unanswered,
}

impl Visit {
    /// Requests on one connection, for as long as it is to be kept.
    fn one_connection(&self, is_leaving: &AtomicBool, tally: &mut Tally) {
        let start = Instant::now();
        let mut lose = |of: fn(&mut Tally) -> &mut u64, reason: String| {
            *of(tally) += 1;
            tally.reasons.push(format!("after {:?}: {reason}", start.elapsed()));
            // One that is refused at once is not asked a thousand times a second.
            thread::sleep(self.pause.max(Duration::from_millis(20)));
        };
        let stream = match TcpStream::connect_timeout(&self.address, PATIENCE) {
            Ok(stream) => stream,
            Err(error) => return lose(|it| &mut it.unconnected, format!("no connection: {error}")),
        };
        let connected = start.elapsed();
        let mut stream = match self.shake_hands(stream) {
            Ok(stream) => stream,
            Err(error) => return lose(|it| &mut it.unshaken, format!("no handshake: {error}")),
        };
        let shaken = start.elapsed();
        if let Some([leaf, ..]) = stream.conn.peer_certificates() {
            let digest = Sha256::digest(leaf);
            let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            *tally.shown.entry(digest).or_default() += 1;
        }
        let mut parts = vec![(connected, "connecting"), (shaken - connected, "the handshake")];
        for _ in 0..self.requests_per_connection {
            let asked = Instant::now();
            let end = self.ask(&mut stream);
            parts.push((asked.elapsed(), "the answer"));
            let took: Duration = parts.iter().map(|(took, _)| *took).sum();
            let longest = parts.iter().max().map_or("", |(_, part)| part);
            parts.clear();
            let keeps = match end {
                End::Answered { keeps } => {
                    tally.answered += 1;
                    tally.late += u64::from(took > LATE);
                    tally.slowest = tally.slowest.max((took, longest));
                    keeps
                }
                End::Refused(said) => {
                    tally.refused += 1;
                    tally.reasons.push(said);
                    false
                }
                End::Cut(reason) => {
                    tally.cut += 1;
                    tally.reasons.push(format!("after {took:?}: {reason}"));
                    false
                }
                End::Unanswered => {
                    tally.unanswered += 1;
                    false
                }
            };
            thread::sleep(self.pause);
            if !keeps || is_leaving.load(Ordering::Relaxed) {
                break;
            }
        }
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    fn shake_hands(
        &self,
        mut stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&fs::read(&self.trusted)?) {
            roots.add(certificate?)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.host.clone())?;
        let mut connection = ClientConnection::new(Arc::new(config), name)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    fn ask(&self, stream: &mut StreamOwned<ClientConnection, TcpStream>) -> End {
        let wish = if self.requests_per_connection == 1 { "close" } else { "keep-alive" };
        let request =
            format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: {wish}\r\n\r\n", self.host);
        let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.flush());
        if let Err(error) = sent {
            return End::Cut(format!("cannot ask: {error}"));
        }
        let mut seen = Vec::new();
        loop {
            if let Some(end) = read(&seen) {
                return end;
            }
            let mut part = [0; 4096];
            match stream.read(&mut part) {
                Ok(0) => return End::Cut(format!("closed after {} bytes", seen.len())),
                Ok(count) => seen.extend_from_slice(&part[..count]),
                Err(error) if is_timeout(&error) => return End::Unanswered,
                Err(error) => return End::Cut(format!("after {} bytes: {error}", seen.len())),
            }
            if seen.len() > MAX_ANSWER_BYTES {
                return End::Refused("an answer without an end".to_owned());
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// What an answer of HTTP/1.1 says; `None` until it is whole.
fn read(seen: &[u8]) -> Option<End> {
    let text = String::from_utf8_lossy(seen);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let field = |name: &str| {
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let length = field("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    if body.len() < length {
        return None;
    }
    if status.split(' ').nth(1).is_none_or(|code| !code.starts_with('2')) {
        return Some(End::Refused(status.to_owned()));
    }
    let keeps = field("connection").is_none_or(|it| !it.eq_ignore_ascii_case("close"));
    Some(End::Answered { keeps })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::vault_server::Authority;

    /// A server that does something else with each connection, and a visitor that counts it.
    #[test]
    fn each_request_is_counted_by_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("Lab PKI").unwrap();
        let trusted = folder.path().join("ca.pem");
        fs::write(&trusted, authority.pem()).unwrap();
        let serve = |authority: &Authority| {
            let (chain, key) = authority.issue(&["web.lab.example".to_owned()]).unwrap();
            let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            let provider = Arc::new(ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth();
            Arc::new(config.with_single_cert(chain, key).unwrap())
        };
        let good = serve(&authority);
        let stranger = serve(&Authority::new("Somebody else").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let visit = Visit {
            address: listener.local_addr().unwrap(),
            host: "web.lab.example".to_owned(),
            trusted,
            network_of: None,
            requests_per_connection: 1,
            pause: Duration::ZERO,
        };
        let answers = [
            Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv1"),
            Some("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
            Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nv"),
            Some(""),
            None,
        ];
        let server = thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let config = if answer.is_none() { &stranger } else { &good };
                let connection = ServerConnection::new(Arc::clone(config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                let mut asked = [0; 4096];
                if stream.read(&mut asked).is_ok() {
                    stream.write_all(answer.unwrap_or_default().as_bytes()).unwrap();
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                }
            }
        });
        let mut tally = Tally::default();
        for _ in answers {
            visit.one_connection(&AtomicBool::new(false), &mut tally);
        }
        server.join().unwrap();
        visit.one_connection(&AtomicBool::new(false), &mut tally);
        let Tally { answered, refused, cut, unshaken, unconnected, .. } = tally.clone();
        assert_eq!((answered, refused, cut, unshaken, unconnected), (1, 1, 2, 1, 1), "{tally}");
        assert_eq!((tally.lost(), tally.shown.len()), (5, 1), "{tally}");
    }
}
