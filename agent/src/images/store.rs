//! containerd's store of images, through `ctr`: the program that comes with containerd, in its version.
//!
//! The kubelet's own interface to containerd (CRI) cannot take an image from a file, nor pin one.

use std::collections::BTreeSet;
use std::io;
use std::process::{ChildStdin, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use basalt_image::io::digest::Digest;
use basalt_image::oci::import::ImportError;
use basalt_model::names::ImageReference;
use camino::Utf8PathBuf;

use super::bill::Baked;
use crate::host::Host;

/// The program.
const CTR: &str = "ctr";
/// containerd's socket.
const SOCKET: &str = "/run/containerd/containerd.sock";
/// The namespace in which containerd keeps what is the kubelet's.
const NAMESPACE: &str = "k8s.io";
/// Says that the kubelet is to leave the image alone when it clears up.
const PIN: (&str, &str) = ("io.cri-containerd.pinned", "pinned");
/// Says that the image is there because it is baked in: what loses that is unpinned.
const MARK: (&str, &str) = ("dev.basalt.baked-in", "true");
/// How long containerd may take to answer after its start.
const LIMIT: Duration = Duration::from_secs(60);

/// How long one answer may take when the one who asks has other things to do.
const SHORT_LIMIT: Duration = Duration::from_secs(5);

/// containerd cannot be asked, or refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot run `{CTR}`")]
    Start(#[source] io::Error),
    #[error("containerd does not answer: {0}")]
    Silent(String),
    #[error("containerd refuses the image: {0}")]
    Refused(String),
    #[error("`{CTR} {arguments}` failed: {message}")]
    Failed { arguments: String, message: String },
}

impl StoreError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Start(_) => {
                Some("it is part of containerd: install the operating system image again")
            }
            Self::Silent(_) => Some("`systemctl status containerd` says why"),
            Self::Refused(_) | Self::Failed { .. } => None,
        }
    }
}

/// The store of the host's containerd.
pub(super) struct Store {
    socket: Utf8PathBuf,
    /// How long one answer may take, where that matters.
    limit: Option<Duration>,
}

impl Store {
    /// For those who ask again anyway: an answer has a limit of seconds.
    pub(super) fn in_passing(host: &Host) -> Store {
        Store { socket: host.real(SOCKET), limit: Some(SHORT_LIMIT) }
    }

    /// Waits until containerd answers.
    pub(super) fn of(host: &Host) -> Result<Store, StoreError> {
        let store = Store { socket: host.real(SOCKET), limit: None };
        let limit = Instant::now() + LIMIT;
        loop {
            let output = store.run(&["version"])?;
            if output.status.success() {
                return Ok(store);
            }
            if Instant::now() > limit {
                return Err(StoreError::Silent(last_line(&output)));
            }
            sleep(Duration::from_millis(250));
        }
    }

    /// The names of `images` that lead to the right image, whole, unpacked and pinned.
    pub(super) fn ready(&self, images: &[Baked]) -> Result<BTreeSet<String>, StoreError> {
        let filter = |image: &Baked| {
            let digest = image.digest();
            let of = move |name: String| {
                format!(
                    "name=={name:?},target.digest==\"{digest}\",labels.{:?}=={},labels.{:?}=={}",
                    PIN.0, PIN.1, MARK.0, MARK.1
                )
            };
            image.names().into_iter().map(of).collect::<Vec<_>>()
        };
        let filters: Vec<String> = images.iter().flat_map(filter).collect();
        if filters.is_empty() {
            // Without a filter this would be the question for all there are.
            return Ok(BTreeSet::new());
        }
        self.whole(&filters)
    }

    /// Whether there is a whole image of this name.
    pub(super) fn has(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.whole(&[format!("name=={name:?}")])?.contains(name))
    }

    /// The names that match one of the filters and whose images are whole and unpacked. Damaged ones make `ctr` fail
    /// after it has told of the others.
    fn whole(&self, filters: &[String]) -> Result<BTreeSet<String>, StoreError> {
        let mut arguments = vec!["images", "check", "--quiet"];
        arguments.extend(filters.iter().map(String::as_str));
        let output = self.run(&arguments)?;
        if !output.status.success() && !self.run(&["version"])?.status.success() {
            return Err(StoreError::Silent(last_line(&output)));
        }
        Ok(lines(&output))
    }

    /// Gives containerd an archive, which `write` writes.
    pub(super) fn import(
        &self,
        write: impl FnOnce(ChildStdin) -> Result<(), ImportError>,
    ) -> Result<(), StoreError> {
        let label = |(key, value): (&str, &str)| format!("{key}={value}");
        let mut child = self
            .command(&["images", "import", "--label", &label(PIN), "--label", &label(MARK), "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(StoreError::Start)?;
        let stdin = child.stdin.take().expect("it was asked for");
        // An archive that ends early is refused, so that what is wrong with it is told by containerd too.
        let written = write(stdin);
        let output = child.wait_with_output().map_err(StoreError::Start)?;
        match (written, output.status.success()) {
            (_, false) => Err(StoreError::Refused(last_line(&output))),
            (Err(error), true) => Err(StoreError::Refused(error.to_string())),
            (Ok(()), true) => Ok(()),
        }
    }

    /// Makes containerd forget blobs, so that it takes them again. What runs of them goes on: it is unpacked.
    pub(super) fn forget(&self, blobs: impl Iterator<Item = Digest>) -> Result<(), StoreError> {
        for blob in blobs {
            // One that is not known is forgotten already.
            self.run(&["content", "delete", &blob.to_string()])?;
        }
        Ok(())
    }

    /// Unpins what was baked in before and is not any more, and gives the names. The kubelet clears it away when no pod
    /// uses it. Those in `kept` stay pinned: the agent unpins them when no pod set needs them.
    pub(super) fn retire(
        &self,
        images: &[Baked],
        kept: &BTreeSet<String>,
    ) -> Result<Vec<String>, StoreError> {
        let filter = format!("labels.{:?}=={}", MARK.0, MARK.1);
        let marked = self.success(&["images", "list", "--quiet", &filter])?;
        let wanted: BTreeSet<String> = images.iter().flat_map(Baked::names).collect();
        let stale: Vec<String> = marked.into_iter().filter(|name| !wanted.contains(name)).collect();
        for name in &stale {
            // An empty value takes a label away.
            let (pin, mark) = (format!("{}=", PIN.0), format!("{}=", MARK.0));
            match kept.contains(name) {
                true => self.success(&["images", "label", name, &mark])?,
                false => self.success(&["images", "label", name, &pin, &mark])?,
            };
        }
        Ok(stale.into_iter().filter(|name| !kept.contains(name)).collect())
    }

    /// Pins an image under each of its names, and gives their number.
    pub(super) fn pin(&self, reference: &str) -> Result<usize, StoreError> {
        let names = self.success(&words(&list(reference, "")))?;
        let pin = format!("{}={}", PIN.0, PIN.1);
        for name in &names {
            self.success(&["images", "label", name, &pin])?;
        }
        Ok(names.len())
    }

    /// Unpins an image under each of its names, baked-in ones excepted.
    pub(super) fn unpin(&self, reference: &str) -> Result<(), StoreError> {
        let not_baked = format!(",labels.{:?}!={}", MARK.0, MARK.1);
        let pin = format!("{}=", PIN.0);
        for name in self.success(&words(&list(reference, &not_baked)))? {
            self.success(&["images", "label", &name, &pin])?;
        }
        Ok(())
    }

    fn success(&self, arguments: &[&str]) -> Result<BTreeSet<String>, StoreError> {
        let output = self.run(arguments)?;
        match output.status.success() {
            true => Ok(lines(&output)),
            false => Err(StoreError::Failed {
                arguments: arguments.join(" "),
                message: last_line(&output),
            }),
        }
    }

    fn run(&self, arguments: &[&str]) -> Result<Output, StoreError> {
        self.command(arguments).stdin(Stdio::null()).output().map_err(StoreError::Start)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CTR);
        command.args(["--address", self.socket.as_str(), "--namespace", NAMESPACE]);
        if let Some(limit) = self.limit.map(|limit| format!("{}s", limit.as_secs())) {
            command.args(["--connect-timeout", &limit, "--timeout", &limit]);
        }
        command.args(arguments);
        command
    }
}

/// The name under which kubelet and containerd look for the image that pods call `reference`.
pub(super) fn name(reference: &str) -> String {
    match reference.parse::<ImageReference>() {
        Ok(reference) => format!("{}@{}", reference.repository(), reference.digest()),
        Err(_) => reference.to_owned(),
    }
}

/// The arguments that list the names of an image; `and` is one more condition.
fn list(reference: &str, and: &str) -> Vec<String> {
    let mut arguments: Vec<String> = ["images", "list", "--quiet"].map(str::to_owned).into();
    arguments.push(format!("name=={:?}{and}", name(reference)));
    // Under its other names too, so that it does not matter which of them goes first.
    if let Some((_, digest)) = reference.split_once('@') {
        arguments.push(format!("target.digest=={digest:?}{and}"));
    }
    arguments
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn lines(output: &Output) -> BTreeSet<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The last thing it said is why it failed; before that come warnings.
fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it did not say why").to_owned()
}
