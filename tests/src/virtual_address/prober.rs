//! A client that asks the virtual address all the time, and looks at who holds it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use super::backends::ANSWER;
use crate::network::Switch;

/// How often it asks; an answer that takes longer delays the next question.
pub const INTERVAL: Duration = Duration::from_millis(25);
/// How long an answer may take. On the switch of one machine it takes less than a millisecond.
const PATIENCE: Duration = Duration::from_millis(250);

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was asked.
    pub at: Instant,
    /// Whether a server's answer came back.
    pub answered: bool,
    /// How many machines had the address on an interface just then.
    pub holders: usize,
}

/// Asks until it is dropped.
#[derive(Debug)]
pub struct Prober {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Asks `address` from the switch's own place. `machines` are the pids of the machines that may hold it.
    ///
    /// # Errors
    /// When the switch is gone.
    pub fn start(switch: &Switch, address: SocketAddr, machines: Vec<i32>) -> Result<Prober> {
        let namespace = File::open(switch.namespace()).context("the switch is there")?;
        let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
        let stop: Arc<AtomicBool> = Arc::default();
        let (out, until) = (Arc::clone(&samples), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            // Of this thread alone.
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
            while !until.load(Ordering::Relaxed) {
                let at = Instant::now();
                let answered = asks(address).is_ok_and(|answer| answer.ends_with(ANSWER));
                let is_holder = |pid: &&i32| holds(**pid, &address.ip().to_string());
                let holders = machines.iter().filter(is_holder).count();
                let sample = Sample { at, answered, holders };
                out.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(sample);
                thread::sleep(INTERVAL.saturating_sub(at.elapsed()));
            }
        });
        Ok(Prober { samples, stop, thread: Some(thread) })
    }

    /// What was seen so far.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Whether the last `count` questions were answered, all of them by one holder.
    pub fn is_steady(&self, count: usize) -> bool {
        let samples = self.samples();
        let good = |sample: &Sample| sample.answered && sample.holders == 1;
        samples.len() >= count && samples[samples.len() - count..].iter().all(good)
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether the machine with this pid 1 has an IPv4 address on an interface.
pub fn holds(pid: i32, address: &str) -> bool {
    let table = fs::read_to_string(format!("/proc/{pid}/net/fib_trie")).unwrap_or_default();
    let lines: Vec<&str> = table.lines().collect();
    lines.windows(2).any(|pair| {
        pair[0].trim() == format!("|-- {address}") && pair[1].trim() == "/32 host LOCAL"
    })
}

/// One request by HTTP/1.0, on a connection of its own.
fn asks(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer)
}
