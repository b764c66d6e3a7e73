//! A new config for a pod that runs: looked at by the program itself, brought in without a restart, and verified. What is
//! refused leaves the old files in place, and the program on them.
//!
//! [`haproxy`] hands its listening sockets from one worker to the next, so no connection is lost; keepalived reads its config
//! anew on SIGHUP, and the virtual addresses stay where they are. How each is spoken to is the pods' own affair
//! ([`basalt_static_pods::control`]).

pub(crate) mod haproxy;
mod refused;
pub(crate) mod show_proc;

use std::io;
use std::time::Duration;

use basalt_model::node::Node;
use basalt_static_pods::control;
use camino::Utf8PathBuf;
use tokio::time::sleep;

use crate::host::Host;
use crate::host::cri::{CONTAINERD_SOCKET, Container, ContainerState, Cri, CriError};
use crate::host::files::{self, Attributes};
use crate::host::look;
use crate::host::runs::LocalPod;

/// Of our own pods.
const NAMESPACE: &str = "kube-system";
/// How long a program may look at its config. haproxy resolves no names there and reads a few files.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
/// How long keepalived may take to answer after a reload; its own verdict comes after five seconds.
const VERIFY_LIMIT: Duration = Duration::from_secs(8);
/// keepalived's answer to SIGHUP and then SIGUSR1 is one of the new config when the two are apart.
const AFTER_HANG_UP: Duration = Duration::from_millis(500);
/// More of what a program says does not help anybody.
const MAX_SAID_LINES: usize = 12;

/// A config file as it is to be.
#[derive(Clone, Debug)]
pub(crate) struct NewFile<'a> {
    /// Host path.
    pub(crate) path: &'a str,
    pub(crate) contents: &'a str,
    pub(crate) attributes: Attributes,
}

/// Why a running pod did not take its new config. Unless `old` says otherwise, it goes on with the old one.
#[derive(Debug, thiserror::Error)]
#[error("pod {pod} does not take its new config: {cause}; {old}")]
pub(crate) struct ReloadError {
    pod: String,
    cause: Cause,
    old: Old,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("cannot write `{path}`: {source}")]
    Write { path: String, source: io::Error },
    #[error(transparent)]
    Runtime(#[from] CriError),
    #[error("the program refuses it: {said}")]
    Refused { said: String },
    #[error("cannot be told: {said}")]
    Unheard { said: String },
    #[error(transparent)]
    Haproxy(#[from] haproxy::HaproxyError),
    #[error("no way is known to bring it in")]
    Unknown,
}

/// What became of the old files.
#[derive(Debug)]
enum Old {
    Back,
    NotBack(String),
    /// They are back, and the program did not take them.
    NotTaken(String),
}

impl std::fmt::Display for Old {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Old::Back => f.write_str("the old files are back"),
            Old::NotTaken(reason) => {
                write!(f, "the old files are back, but not taken: {reason}")
            }
            Old::NotBack(reason) => write!(f, "and the old files could not be put back: {reason}"),
        }
    }
}

impl ReloadError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match &self.cause {
            Cause::Refused { .. } => {
                Some("correct it in cluster.yaml, raise `generation`, and build again")
            }
            Cause::Runtime(error) => error.hint(),
            Cause::Write { .. } | Cause::Unheard { .. } | Cause::Haproxy(_) | Cause::Unknown => {
                None
            }
        }
    }
}

/// Writes `files` and has the running pod take them. When the pod does not run, writing is all: it reads them when it
/// starts. What the program refused before is not brought in again, unless something in the folders `named` has changed:
/// those that configs name.
///
/// # Errors
/// [`ReloadError`]; the pod runs on the old config then.
pub(crate) async fn reload(
    host: &Host,
    pod: &str,
    run: &LocalPod,
    new: &[NewFile<'_>],
    named: &[String],
) -> Result<(), ReloadError> {
    let fail = |cause, old| ReloadError { pod: pod.to_owned(), cause, old };
    // Before anything is touched: whether there is anybody to ask.
    let container = running(host, pod, run).await.map_err(|error| fail(error.into(), Old::Back))?;
    let image = container.as_ref().map(|running| running.image.as_str());
    let digest = refused::digest(host, new, named);
    // Without files it is about those of an interrupted round, and nobody knows which these are.
    if !new.is_empty()
        && let Some(said) = refused::recall(host, pod, &digest, image)
    {
        return Err(fail(Cause::Refused { said }, Old::Back));
    }
    let old = remember(host, new).map_err(|cause| fail(cause, Old::Back))?;
    if let Err(cause) = write(host, new) {
        return Err(fail(cause, put_back(host, &old)));
    }
    let Some(Running { runtime, container, image }) = container else { return Ok(()) };
    let Err(cause) = bring_in(host, pod, &runtime, &container).await else {
        refused::forget(host, pod);
        return Ok(());
    };
    if let Cause::Refused { said } = &cause
        && let Err(error) = refused::remember(host, pod, digest, &image, said)
    {
        tracing::debug!(%pod, %error, "cannot remember what was refused");
    }
    let was_taken = !matches!(cause, Cause::Refused { .. });
    let mut back = put_back(host, &old);
    // A program that may have read the new files has to read the old ones again.
    if was_taken
        && matches!(back, Old::Back)
        && let Err(error) = bring_in(host, pod, &runtime, &container).await
    {
        back = Old::NotTaken(error.to_string());
    }
    Err(fail(cause, back))
}

/// How a pod took the news that a file it reads has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It has read it.
    Reloaded,
    /// It reads it when it starts.
    NotRunning,
    /// It reads files only when it starts, as far as anybody knows.
    Unknown,
}

/// Has the running pod read its files again. Nothing is written.
///
/// # Errors
/// The pod runs on what it had.
pub(crate) async fn tell(host: &Host, node: &Node, pod: &str) -> Result<Told, Cause> {
    if control::check_command(pod).is_none() {
        return Ok(Told::Unknown);
    }
    let name = format!("{pod}-{}", node.name);
    let run = LocalPod { namespace: NAMESPACE.to_owned(), name, uid: None };
    let Some(Running { runtime, container, .. }) = running(host, pod, &run).await? else {
        return Ok(Told::NotRunning);
    };
    bring_in(host, pod, &runtime, &container).await.map(|()| Told::Reloaded)
}

/// A pod that runs.
struct Running {
    runtime: Cri,
    container: Container,
    /// The digest of the config of its image.
    image: String,
}

/// The container of the pod, when it runs.
async fn running(host: &Host, pod: &str, run: &LocalPod) -> Result<Option<Running>, CriError> {
    if !host.real(CONTAINERD_SOCKET).exists() {
        return Ok(None);
    }
    let runtime = Cri::of(host)?;
    let is_it = |container: &Container| {
        container.name == pod
            && container.state == ContainerState::Running
            && run.is(&container.pod)
    };
    let Some(container) = runtime.containers().await?.into_iter().find(is_it) else {
        return Ok(None);
    };
    let status = runtime.container_status(&container.id).await?;
    Ok(status.map(|status| Running { runtime, container, image: status.image_id }))
}

/// Looks at the files as they are on the disk, by the program itself, and has it take them.
async fn bring_in(
    host: &Host,
    pod: &str,
    runtime: &Cri,
    container: &Container,
) -> Result<(), Cause> {
    let check = control::check_command(pod).ok_or(Cause::Unknown)?;
    match exec(runtime, container, &check, CHECK_LIMIT).await? {
        Ok(()) => {}
        Err(said) => return Err(Cause::Refused { said }),
    }
    match pod {
        "haproxy" => {
            let master = host.real(control::HAPROXY_MASTER_SOCKET);
            let admin = host.real(control::HAPROXY_ADMIN_SOCKET);
            Ok(haproxy::reload(&master, &admin).await?)
        }
        "keepalived" => {
            let commands = [
                (control::KEEPALIVED_RELOAD_COMMAND.map(str::to_owned).to_vec(), CHECK_LIMIT),
                (control::keepalived_verify_command(), VERIFY_LIMIT),
            ];
            for (command, limit) in commands {
                if let Err(said) = exec(runtime, container, &command, limit).await? {
                    return Err(Cause::Unheard { said });
                }
                sleep(AFTER_HANG_UP).await;
            }
            Ok(())
        }
        _ => Err(Cause::Unknown),
    }
}

/// Runs a command in the container: fine, or what it said.
async fn exec(
    runtime: &Cri,
    container: &Container,
    command: &[String],
    limit: Duration,
) -> Result<Result<(), String>, CriError> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let done = runtime.exec(&container.id, &words, limit).await?;
    if done.exit_code == 0 {
        return Ok(Ok(()));
    }
    let said = format!("{}{}", done.stderr, done.stdout);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Ok(Err(match lines.is_empty() {
        true => format!("exit status {}", done.exit_code),
        false => lines[..lines.len().min(MAX_SAID_LINES)].join("; "),
    }))
}

/// A config file as it was.
struct OldFile {
    path: Utf8PathBuf,
    /// `None`: it was not there.
    contents: Option<Vec<u8>>,
    attributes: Attributes,
}

fn remember(host: &Host, new: &[NewFile<'_>]) -> Result<Vec<OldFile>, Cause> {
    let one = |file: &NewFile<'_>| {
        let path = host.path(file.path);
        let contents = match look::read(&path) {
            Ok(contents) => Some(contents),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Something that is no file was not read by the program either.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
            Err(source) => return Err(Cause::Write { path: file.path.to_owned(), source }),
        };
        Ok(OldFile { path, contents, attributes: file.attributes })
    };
    new.iter().map(one).collect()
}

fn write(host: &Host, new: &[NewFile<'_>]) -> Result<(), Cause> {
    for file in new {
        files::replace(&host.path(file.path), file.contents.as_bytes(), file.attributes)
            .map_err(|source| Cause::Write { path: file.path.to_owned(), source })?;
    }
    Ok(())
}

fn put_back(host: &Host, old: &[OldFile]) -> Old {
    let mut reasons = Vec::new();
    for file in old {
        let done = match &file.contents {
            Some(contents) => files::replace(&file.path, contents, file.attributes),
            None => files::remove(&file.path),
        };
        if let Err(error) = done {
            reasons.push(format!("`{}`: {error}", host.shown(&file.path)));
        }
    }
    match reasons.is_empty() {
        true => Old::Back,
        false => Old::NotBack(reasons.join("; ")),
    }
}
