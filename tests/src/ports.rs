//! Ports for servers that take no socket, only a number.
//!
//! A port that the system gives to nobody in particular can be somebody's a moment later: the next connection out, or the
//! next server that asks. These are given to one at a time, across threads and processes, and lie where connections out
//! do not begin.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;

use crate::cache;

/// Behind those that services are known by and before those of connections out, by Linux's default
/// (`net.ipv4.ip_local_port_range`). A port comes again after all the others did.
const PORTS: Range<u16> = 20_000..32_000;

/// A port on which nobody listens, and that nobody else is given.
///
/// # Errors
/// When the cache folder cannot be written, or no port is free.
pub fn free_port() -> io::Result<u16> {
    next(&cache::folder(), |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok())
}

/// The same on 127.0.0.1.
///
/// # Errors
/// As [`free_port`].
pub fn free_address() -> io::Result<SocketAddr> {
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)))
}

fn next(folder: &Path, is_free: impl Fn(u16) -> bool) -> io::Result<u16> {
    fs::create_dir_all(folder)?;
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(folder.join("last-port"))?;
    file.lock()?;
    let mut last = String::new();
    file.read_to_string(&mut last)?;
    let first = match last.parse() {
        Ok(last) if PORTS.contains(&last) => last + 1,
        // The first time, or somebody else wrote there.
        _ => PORTS.start,
    };
    let free = (first..PORTS.end).chain(PORTS.start..first).find(|port| is_free(*port));
    let free = free.ok_or_else(|| io::Error::other(format!("no port of {PORTS:?} is free")))?;
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{free}")?;
    Ok(free)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nobody_is_given_the_port_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let take = || (0..100).map(|_| next(folder.path(), |_| true).unwrap()).collect::<Vec<_>>();
        let given = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(take));
            threads.into_iter().flat_map(|it| it.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 400);
    }

    #[test]
    fn they_come_round_and_leave_out_what_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let next = |taken: &[u16]| next(folder.path(), |port| !taken.contains(&port));
        let (first, last) = (PORTS.start, PORTS.end - 1);
        assert_eq!(next(&[first]).unwrap(), first + 1);
        fs::write(folder.path().join("last-port"), last.to_string()).unwrap();
        assert_eq!(next(&[]).unwrap(), first);
        fs::write(folder.path().join("last-port"), (last - 1).to_string()).unwrap();
        assert_eq!(next(&[last, first]).unwrap(), first + 1);
        let all: Vec<u16> = PORTS.collect();
        assert!(next(&all).unwrap_err().to_string().contains("is free"));
    }
}
