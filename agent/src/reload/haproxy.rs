//! haproxy's sockets: the master's, which takes `reload`, and the worker's, which takes runtime commands.
//!
//! Nothing here interrupts a connection: the old worker hands its listening sockets over and ends when its last connection
//! has, and a certificate is exchanged for connections that come after.

use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::show_proc::{self, Processes, Progress};

/// How long one command may take. The answer comes from memory.
const COMMAND_LIMIT: Duration = Duration::from_secs(2);
/// How long the master may be away while it starts anew.
const AWAY_LIMIT: Duration = Duration::from_secs(5);
/// How long a new worker may take to serve: it reads its files once more, large lists included.
const RELOAD_LIMIT: Duration = Duration::from_secs(15);
/// Pause between two looks at a reload.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Longer answers are cut: `show ssl cert` and `show proc` are a few kilobytes.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Why haproxy did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HaproxyError {
    #[error("haproxy does not answer at `{socket}`: {source}")]
    Silent { socket: Utf8PathBuf, source: io::Error },
    #[error(
        "haproxy's master could not load what its check had passed, and goes on with the old config"
    )]
    NotLoaded,
    #[error("no new worker of haproxy serves within {} s", RELOAD_LIMIT.as_secs())]
    NoWorker,
}

/// Has haproxy read its config again, and waits until a new worker serves it.
///
/// # Errors
/// The old worker goes on.
pub(crate) async fn reload(master: &Utf8Path, admin: &Utf8Path) -> Result<(), HaproxyError> {
    let silent = |source| HaproxyError::Silent { socket: master.to_owned(), source };
    let before = here(master).await.map_err(silent)?;
    // Up to 2.6 the master closes the connection without an answer: it starts anew. What became of it is looked at below.
    ask(master, "reload").await.map_err(silent)?;
    let start = Instant::now();
    while start.elapsed() < RELOAD_LIMIT {
        // No answer while the master starts anew is no failure.
        if let Ok(now) = processes(master).await {
            match show_proc::progress(&before, &now) {
                Progress::Waiting => {}
                Progress::Refused => return Err(HaproxyError::NotLoaded),
                Progress::Taken(_) if answers(admin).await => return Ok(()),
                Progress::Taken(_) => {}
            }
        }
        sleep(LOOK_PAUSE).await;
    }
    Err(HaproxyError::NoWorker)
}

/// The processes, as soon as the master answers: it is away for a moment when somebody has just told it to reload.
async fn here(master: &Utf8Path) -> io::Result<Processes> {
    let start = Instant::now();
    loop {
        match processes(master).await {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && start.elapsed() < AWAY_LIMIT =>
            {
                sleep(LOOK_PAUSE).await;
            }
            done => return done,
        }
    }
}

async fn processes(master: &Utf8Path) -> io::Result<Processes> {
    let answer = ask(master, "show proc").await?;
    show_proc::parse(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no list of processes"))
}

/// Whether the worker answers. It took the socket over from the one before, which serves no more.
async fn answers(admin: &Utf8Path) -> bool {
    ask(admin, "show info").await.is_ok_and(|answer| answer.contains("Stopping: 0"))
}

/// Gives one command and reads the answer to its end.
pub(crate) async fn ask(socket: &Utf8Path, command: &str) -> io::Result<String> {
    let asking = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(command.as_bytes()).await?;
        stream.write_all(b"\n").await?;
        // The master keeps the connection for further commands unless it is told that there are none.
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    timeout(COMMAND_LIMIT, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
