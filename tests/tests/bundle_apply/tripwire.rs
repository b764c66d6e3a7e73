//! Something between an agent and the API server that lets a certain number of writes pass, and pulls the plug at the
//! next: before the server sees it, or after it has been carried out and before the agent hears of it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use e2e::peers::peer;
use e2e::ports::free_address;
use e2e::wait::until;

use crate::bench::Lab;

/// When the plug is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The server has not seen the write.
    Before,
    /// The server has carried it out.
    After,
    /// The write goes on its way, and its answer comes back, as if nothing were the matter.
    Meanwhile,
}

type Plug = Box<dyn FnMut() + Send>;

#[derive(Default)]
struct State {
    /// Writes that have passed.
    passed: usize,
    armed: Option<(usize, Moment, Plug)>,
    /// The write at which the plug was pulled.
    pulled_at: Option<String>,
}

/// The thing between.
pub(crate) struct Tripwire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    proxy: Child,
}

impl Tripwire {
    /// Starts one in front of the lab's API server. It does not ask who is there: `kubectl proxy` behind it has a
    /// certificate.
    pub(crate) fn start(lab: &Lab) -> Tripwire {
        let kubectl = peer("kubectl").expect("the cluster has found it already");
        let free = free_address().unwrap();
        let proxy = Command::new(&kubectl.program)
            .arg(format!("--kubeconfig={}", lab.plane.admin_kubeconfig().display()))
            .args(["proxy", &format!("--port={}", free.port())])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let up = || TcpStream::connect(free).ok();
        until("kubectl proxy", Duration::from_secs(60), up).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(free) else { continue };
                let state = shared.clone();
                thread::spawn(move || {
                    let _ = relay(client, server, &state);
                });
            }
        });
        Tripwire { address, state, proxy }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Pulls the plug at the write with this number, from 0.
    pub(crate) fn arm(&self, write: usize, moment: Moment, plug: impl FnMut() + Send + 'static) {
        let mut state = self.state.lock().unwrap();
        *state = State { passed: 0, armed: Some((write, moment, Box::new(plug))), pulled_at: None };
    }

    /// Lets everything pass.
    pub(crate) fn disarm(&self) {
        *self.state.lock().unwrap() = State::default();
    }

    /// Writes that have come since it was armed or disarmed.
    pub(crate) fn passed(&self) -> usize {
        self.state.lock().unwrap().passed
    }

    /// The write at which the plug was pulled.
    pub(crate) fn pulled_at(&self) -> Option<String> {
        self.state.lock().unwrap().pulled_at.clone()
    }
}

impl Drop for Tripwire {
    fn drop(&mut self) {
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

/// Passes on one request after another, each with its answer.
fn relay(mut client: TcpStream, mut server: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut back_from = server.try_clone()?;
    let mut back_to = client.try_clone()?;
    // Set while an answer must not reach the agent; then told that the server has answered.
    let held: Arc<Mutex<Option<std::sync::mpsc::Sender<()>>>> = Arc::default();
    let of_answers = held.clone();
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(count @ 1..) = back_from.read(&mut buffer) {
            if let Some(answered) = &*of_answers.lock().unwrap() {
                let _ = answered.send(());
                continue;
            }
            if back_to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = back_to.shutdown(Shutdown::Both);
    });
    while let Some(request) = read_request(&mut client)? {
        let line = request.head.lines().next().unwrap_or_default().to_owned();
        let mut state = state.lock().unwrap();
        let is_due = is_write(&line) && {
            state.passed += 1;
            state.armed.as_ref().is_some_and(|(write, ..)| state.passed == write + 1)
        };
        if !is_due {
            drop(state);
            server.write_all(&request.bytes)?;
            continue;
        }
        let (_, moment, mut plug) = state.armed.take().expect("it is due");
        if moment == Moment::After {
            let (answered, answer) = std::sync::mpsc::channel();
            *held.lock().unwrap() = Some(answered);
            server.write_all(&request.bytes)?;
            let _ = answer.recv_timeout(Duration::from_secs(30));
        }
        plug();
        state.pulled_at = Some(line);
        if moment == Moment::Meanwhile {
            drop(state);
            server.write_all(&request.bytes)?;
            continue;
        }
        server.shutdown(Shutdown::Both)?;
        return client.shutdown(Shutdown::Both);
    }
    server.shutdown(Shutdown::Both)
}

/// What changes something; the Lease does not count.
fn is_write(line: &str) -> bool {
    !line.starts_with("GET ") && !line.contains("dryRun=All") && !line.contains("/leases")
}

struct Request {
    head: String,
    bytes: Vec<u8>,
}

fn read_request(client: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut byte = [0; 1];
    while !bytes.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Ok(None);
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    bytes.extend(body);
    Ok(Some(Request { head, bytes }))
}
