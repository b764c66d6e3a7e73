//! Files that hold secrets: takes templates and a Vault, gives files that are whole, no more readable than they may be from
//! the first byte on, and written only when something has changed.
//!
//! [`template`] is the pure part. [`refresh`] is one look at Vault for one file; [`Pace`] says when the next one is due.

pub(crate) mod template;

use std::fmt;
use std::io;
use std::time::Duration;

use basalt_model::node::{Node, SecretFile};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use self::template::{Known, Place, Rendered, TemplateError, render};
use crate::activate::{Activation, tell_reloads};
use crate::host::files::{self, Attributes};
use crate::host::users::{self, Unknown};
use crate::host::{Host, Owner, look};
use crate::secret::SecretMap;

/// A template asks for so many different secrets at most.
const MOST_SECRETS: usize = 64;
/// How long everything that one template asks of Vault may take.
const ASK_LIMIT: Duration = Duration::from_secs(60);
/// First pause after a failure; each further one is twice as long, up to the file's own time.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// Whoever knows secrets: Vault, or a test.
pub(crate) trait Ask {
    /// Gives what is at a place.
    ///
    /// # Errors
    /// Why not; holds nothing secret.
    async fn ask(&mut self, place: &Place) -> Result<SecretMap, String>;
}

impl Ask for crate::vault::Vault {
    async fn ask(&mut self, place: &Place) -> Result<SecretMap, String> {
        let found = match place {
            Place::Kv { mount, path } => self.kv(mount, path).await,
            Place::Path(path) => self.read(path).await,
        };
        found.map_err(|error| error.to_string())
    }
}

/// Why a secret file is not as it should be. What was there stays. Holds nothing secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretFileError {
    #[error("secret file `{name}`: {source}")]
    Template { name: String, source: TemplateError },
    #[error("secret file `{name}`: cannot read {place}: {reason}")]
    Vault { name: String, place: Place, reason: String },
    #[error("secret file `{name}`: Vault has not answered everything within {} s", ASK_LIMIT.as_secs())]
    Late { name: String },
    #[error("secret file `{name}`: its template asks for more than {MOST_SECRETS} secrets")]
    TooMany { name: String },
    #[error("secret file `{name}`: {source}")]
    Owner { name: String, source: Unknown },
    #[error("secret file `{name}`: cannot write `{path}`: {source}")]
    Write { name: String, path: String, source: io::Error },
}

impl SecretFileError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            SecretFileError::Template { .. } | SecretFileError::TooMany { .. } => {
                "correct the template in cluster.yaml, raise `generation`, and build again"
            }
            SecretFileError::Vault { .. } | SecretFileError::Late { .. } => {
                "look whether the node's policy lets it read there; the file stays as it is"
            }
            SecretFileError::Owner { source, .. } => source.hint(),
            SecretFileError::Write { .. } => "look at the folder and at the space on the disk",
        }
    }
}

/// What a look at Vault came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// The file is as it should be.
    Same,
    /// It was written, and those who read it were told.
    Changed(Changed),
}

/// Who was told of a changed file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(crate) activation: Activation,
    /// Who could not be told, and why.
    pub(crate) failures: Vec<String>,
}

/// Renders one file, writes it when it has changed, and tells those who read it.
///
/// # Errors
/// [`SecretFileError`]; the file that was there is untouched.
pub(crate) async fn refresh(
    host: &Host,
    node: &Node,
    file: &SecretFile,
    vault: &mut impl Ask,
) -> Result<Refreshed, SecretFileError> {
    let name = || file.name.to_string();
    let rendering = rendered(file, vault);
    let contents = timeout(ASK_LIMIT, rendering)
        .await
        .map_err(|_| SecretFileError::Late { name: name() })??;
    let owner = users::resolve(host, &file.owner, &file.group)
        .map_err(|source| SecretFileError::Owner { name: name(), source })?;
    let attributes = Attributes { mode: file.mode.bits(), owner, label: None };
    let is_written = write(host, file, &contents, attributes).map_err(|source| {
        SecretFileError::Write { name: name(), path: file.destination.to_string(), source }
    })?;
    if !is_written {
        return Ok(Refreshed::Same);
    }
    tracing::info!(name = %file.name, path = %file.destination, "wrote a secret file");
    let spread = tell_reloads(host, node, &file.reload).await;
    Ok(Refreshed::Changed(Changed { activation: spread.activation, failures: spread.failures }))
}

/// Asks for what the template needs until it has all of it.
async fn rendered(
    file: &SecretFile,
    vault: &mut impl Ask,
) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let name = || file.name.to_string();
    let mut known = Known::new();
    loop {
        let rendered = render(&file.template, &known)
            .map_err(|source| SecretFileError::Template { name: name(), source })?;
        let place = match rendered {
            Rendered::Whole(contents) => return Ok(contents),
            Rendered::Missing(_) if known.len() >= MOST_SECRETS => {
                return Err(SecretFileError::TooMany { name: name() });
            }
            Rendered::Missing(place) => place,
        };
        match vault.ask(&place).await {
            Ok(secret) => known.insert(place, secret),
            Err(reason) => return Err(SecretFileError::Vault { name: name(), place, reason }),
        };
    }
}

/// Writes the file unless it is as it should be already; whether it was written.
fn write(
    host: &Host,
    file: &SecretFile,
    contents: &[u8],
    attributes: Attributes,
) -> io::Result<bool> {
    let path = host.real(file.destination.as_str());
    if is_same(&path, contents, attributes) {
        return Ok(false);
    }
    if let Some(folder) = path.parent() {
        let attributes = Attributes { mode: 0o755, owner: host.owner, label: None };
        if !folder.is_dir() {
            files::ensure_directory(folder, attributes)?;
        }
    }
    files::replace(&path, contents, attributes)?;
    Ok(true)
}

fn is_same(path: &camino::Utf8Path, contents: &[u8], attributes: Attributes) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(seen) = path.symlink_metadata() else { return false };
    let owner = Owner { user: seen.uid(), group: seen.gid() };
    let is_dressed = seen.is_file()
        && owner == attributes.owner
        && seen.mode() & 0o7777 == attributes.mode & 0o7777;
    is_dressed && look::read(path).map(Zeroizing::new).is_ok_and(|old| **old == *contents)
}

/// When one file is looked at next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    due: Instant,
    failures: u32,
}

impl Pace {
    /// At once.
    pub(crate) fn new(now: Instant) -> Pace {
        Pace { due: now, failures: 0 }
    }

    /// When the next look is due.
    pub(crate) fn due(self) -> Instant {
        self.due
    }

    /// After a look that went well: when the file's time is over, less up to a tenth by `draw`, a number from 0 to 1, so
    /// that a fleet does not ask as one.
    pub(crate) fn succeeded(&mut self, file: &SecretFile, now: Instant, draw: f64) {
        let every = Duration::from_secs(60 * u64::from(file.refresh_minutes.max(1)));
        *self = Pace { due: now + every.mul_f64(1.0 - draw.clamp(0.0, 1.0) / 10.0), failures: 0 };
    }

    /// After one that did not: soon at first, then ever later, by a draw between nothing and all of the pause.
    pub(crate) fn failed(&mut self, file: &SecretFile, now: Instant, draw: f64) {
        let every = Duration::from_secs(60 * u64::from(file.refresh_minutes.max(1)));
        let pause = FIRST_RETRY.saturating_mul(1 << self.failures.min(12)).min(every);
        let pause = pause.mul_f64(draw.clamp(0.0, 1.0)).max(Duration::from_secs(1));
        *self = Pace { due: now + pause, failures: self.failures.saturating_add(1) };
    }
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rendered::Whole(_) => f.write_str("Whole(…)"),
            Rendered::Missing(place) => write!(f, "Missing({place})"),
        }
    }
}

#[cfg(test)]
mod tests;
