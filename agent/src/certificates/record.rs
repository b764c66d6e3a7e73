//! What is kept of each certificate: the set that its folder is to hold, the one before while the new one is not proved, and
//! the one that waits for its window. The folder follows from it, so that a broken or half-written one can be made again.

use std::io;
use std::os::unix::fs::MetadataExt as _;

use basalt_model::node::Certificate;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::layout::Pkcs12;
use super::leaf::{Leaf, LeafError};
use super::report::Last;
use super::secret::Secret;
use super::time::UnixSeconds;
use crate::fault;
use crate::host::Host;
use crate::host::files::{Attributes, ensure_own_directory, replace};
use crate::host::look::{self, sha256};

/// The folder of the records. Only root looks into it.
pub(crate) const RECORDS_DIRECTORY: &str = "/var/lib/basalt/issued";
/// The `schema` value this build writes and reads.
const SCHEMA: u32 = 1;

/// What is kept of one certificate, at `RECORDS_DIRECTORY/NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Form of this document; always [`SCHEMA`].
    schema: u32,
    /// What the folder holds, or is about to.
    pub(crate) current: Issued,
    /// Whether the consumers have shown it.
    pub(crate) proved: bool,
    /// What the folder held before, until `current` is proved.
    pub(crate) previous: Option<Issued>,
    /// What waits to be taken into use.
    pub(crate) next: Option<Waiting>,
    /// What happened last.
    pub(crate) last: Option<Last>,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issued {
    /// PKCS#8 in PEM.
    pub(crate) key: Secret,
    /// The certificate in PEM.
    pub(crate) certificate: String,
    /// Its intermediates in PEM, the issuer first.
    pub(crate) chain: Vec<String>,
    /// The certificate of the one that signed it, in PEM; empty for a placeholder.
    pub(crate) issuer: String,
    /// The text of `ca.pem`; empty for a placeholder, which nobody is to trust.
    pub(crate) trust: String,
    /// Key and certificates as PKCS#12; kept, since it is different each time that it is made.
    pub(crate) pkcs12: Option<Pkcs12>,
    /// What was asked for, as [`asked`] says it.
    pub(crate) asked: String,
    /// When it was signed, by the clock as it was.
    pub(crate) signed_at: UnixSeconds,
}

/// A certificate that waits to be taken into use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Waiting {
    pub(crate) issued: Issued,
    /// Somebody asked for it to be used at once, whatever the window.
    pub(crate) at_once: bool,
}

impl Issued {
    /// What the certificate says.
    pub(crate) fn leaf(&self) -> Result<Leaf, LeafError> {
        Leaf::of(&self.certificate)
    }

    /// Whether it only stands in for a real one.
    pub(crate) fn is_placeholder(&self) -> bool {
        self.issuer.is_empty() && self.trust.is_empty()
    }
}

impl Record {
    /// The record of a first certificate.
    pub(crate) fn new(current: Issued) -> Record {
        let proved = current.is_placeholder();
        Record { schema: SCHEMA, current, proved, previous: None, next: None, last: None }
    }

    /// Takes the one that waits into use: it has to prove itself.
    pub(crate) fn activate(&mut self) {
        if let Some(waiting) = self.next.take() {
            let before = std::mem::replace(&mut self.current, waiting.issued);
            // While nothing has been proved since, the one before that is what to go back to.
            if self.proved {
                self.previous = Some(before);
            }
            self.proved = false;
        }
    }

    /// The consumers have shown the current one.
    pub(crate) fn prove(&mut self) {
        self.proved = true;
        self.previous = None;
    }

    /// Puts the one before back.
    pub(crate) fn go_back(&mut self) {
        if let Some(previous) = self.previous.take() {
            self.current = previous;
        }
    }
}

/// What a node asks of Vault, without how long: a certificate of another one is not what is wanted.
pub(crate) fn asked(certificate: &Certificate, mount: &str, role: &str) -> String {
    let names = &certificate.subject_alternative_names;
    let parts =
        (mount, role, &certificate.common_name, names, certificate.key, &certificate.usages);
    sha256(&serde_json::to_vec(&parts).expect("names and words"))
}

/// A record that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("cannot read the record of certificate `{name}`")]
    Read { name: String, source: io::Error },
    #[error("the record of certificate `{name}` is broken: {reason}")]
    Broken { name: String, reason: String },
    #[error("cannot write the record of certificate `{name}`")]
    Write { name: String, source: io::Error },
}

fn file(name: &str) -> String {
    format!("{RECORDS_DIRECTORY}/{name}.json")
}

/// Reads the record of a certificate; `None` when there is none yet.
///
/// # Errors
/// A broken one may be replaced; one that cannot be read may not.
pub(crate) fn load(host: &Host, name: &str) -> Result<Option<Record>, RecordError> {
    let bytes = match look::read(&host.path(&file(name))) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RecordError::Read { name: name.to_owned(), source }),
    };
    let broken = |reason: String| RecordError::Broken { name: name.to_owned(), reason };
    // The text of the error names a place, and a word of a wrong type at most; keys are strings, and never named.
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|error| broken(format!("line {} column {}", error.line(), error.column())))?;
    if record.schema != SCHEMA {
        return Err(broken(format!("`schema` is {}, this agent reads {SCHEMA}", record.schema)));
    }
    let certificates = [Some(&record.current), record.previous.as_ref()];
    for issued in certificates.into_iter().flatten().chain(record.next.iter().map(|it| &it.issued))
    {
        issued.leaf().map_err(|error| broken(error.to_string()))?;
    }
    Ok(Some(record))
}

/// Moves a broken record out of the way, for people to look at.
///
/// # Errors
/// It is where it was.
pub(crate) fn set_aside(host: &Host, name: &str) -> io::Result<()> {
    let path = host.path(&file(name));
    std::fs::rename(&path, path.with_extension("broken"))
}

/// Writes the record, whole or not at all.
///
/// # Errors
/// The old one is intact.
pub(crate) fn save(host: &Host, name: &str, record: &Record) -> Result<(), RecordError> {
    let write = || {
        fault::point()?;
        let directory = Attributes { mode: 0o700, owner: host.owner, label: None };
        let path = host.path(RECORDS_DIRECTORY);
        let is_ours = path
            .symlink_metadata()
            .is_ok_and(|it| it.is_dir() && it.mode() & 0o7777 == directory.mode);
        if !is_ours {
            ensure_own_directory(&path, directory)?;
        }
        // So large that it never grows: a buffer that moves leaves a copy behind.
        let mut text = Zeroizing::new(Vec::with_capacity(512 << 10));
        serde_json::to_writer(&mut *text, record)?;
        fault::point()?;
        let attributes = Attributes { mode: 0o600, owner: host.owner, label: None };
        replace(&host.path(&file(name)), &text, attributes)?;
        fault::point()
    };
    write().map_err(|source| RecordError::Write { name: name.to_owned(), source })
}
