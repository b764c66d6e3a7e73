//! A machine's console: a terminal whose output is kept in a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

/// A terminal that a machine writes to.
#[derive(Debug)]
pub(crate) struct Console {
    log: PathBuf,
    terminal: PathBuf,
    /// As long as this end is open, the other end sees no end, however often the machine opens and closes its console.
    held_open: Option<File>,
    copier: Option<JoinHandle<()>>,
}

impl Console {
    /// Makes a terminal; what is written to it goes to the file `log`.
    pub(crate) fn new(log: &Path) -> Result<Self> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
            .context("cannot make a terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let terminal = PathBuf::from(ptsname_r(&master)?);
        let held_open = open(&terminal)?;
        let file = File::create(log)?;
        let copier = thread::spawn(move || copy(master, file));
        let (held_open, copier) = (Some(held_open), Some(copier));
        Ok(Self { log: log.to_owned(), terminal, held_open, copier })
    }

    /// The terminal's device.
    pub(crate) fn device(&self) -> &Path {
        &self.terminal
    }

    /// Opens the terminal for writing to it.
    pub(crate) fn open(&self) -> io::Result<File> {
        open(&self.terminal)
    }

    /// What was written so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).replace('\r', "")
    }

    /// Waits until all that was written is in the log, and gives it. The machine has to be gone.
    pub(crate) fn finish(mut self) -> String {
        self.close();
        self.text()
    }

    fn close(&mut self) {
        self.held_open = None;
        if let Some(copier) = self.copier.take() {
            let _ = copier.join();
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.close();
    }
}

fn open(terminal: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOCTTY.bits();
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(terminal)
}

/// Ends with the error that reading gives when the last other end is closed.
fn copy(mut master: PtyMaster, mut log: File) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        if log.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}
