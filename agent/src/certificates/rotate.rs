//! Rotations that somebody asks for: files in a folder that only root may write to, which the service watches.
//!
//! A request is there until it is done, so that it outlives a restart of the service; one that is carried out twice is a
//! renewal more.

use std::io;

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::host::files::{self, Attributes, ensure_own_directory, is_temporary_name};
use crate::host::look;

/// The folder of the requests, one `NAME.json` for a certificate.
pub(crate) const REQUESTS_DIRECTORY: &str = "/run/basalt/rotate";

/// Somebody wants a new certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Unlike that of any other request, to know the answer by.
    pub(crate) id: String,
    /// Whether the new one is taken into use at once, whatever its window.
    pub(crate) now: bool,
}

fn path(name: &str) -> String {
    format!("{REQUESTS_DIRECTORY}/{name}.json")
}

/// Leaves a request for the service.
///
/// # Errors
/// When the folder may not be written to.
pub(crate) fn ask(host: &Host, name: &str, request: &Request) -> io::Result<()> {
    prepare(host)?;
    let text = serde_json::to_vec(request)?;
    let attributes = Attributes { mode: 0o600, owner: host.owner, label: None };
    files::replace(&host.path(&path(name)), &text, attributes)
}

/// Makes the folder, for the service to watch.
///
/// # Errors
/// When it may not be made.
pub(crate) fn prepare(host: &Host) -> io::Result<()> {
    let attributes = Attributes { mode: 0o700, owner: host.owner, label: None };
    ensure_own_directory(&host.path(REQUESTS_DIRECTORY), attributes)
}

/// The requests that are there, with the names of their certificates. What is no request is removed.
pub(crate) fn pending(host: &Host) -> Vec<(String, Request)> {
    let mut requests = Vec::new();
    let Ok(entries) = host.path(REQUESTS_DIRECTORY).read_dir_utf8() else { return requests };
    for entry in entries.flatten().filter(|entry| !is_temporary_name(entry.file_name())) {
        let name = entry.file_name().strip_suffix(".json");
        let request =
            look::read(entry.path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
        match name.zip(request) {
            Some((name, request)) => requests.push((name.to_owned(), request)),
            None => {
                tracing::warn!(file = entry.file_name(), "removing what is no request to rotate");
                // What stays is looked at again and removed then.
                let _ = files::remove(entry.path());
            }
        }
    }
    requests.sort_by(|a, b| a.0.cmp(&b.0));
    requests
}

/// The request is answered.
///
/// # Errors
/// It stays.
pub(crate) fn done(host: &Host, name: &str) -> io::Result<()> {
    files::remove(&host.path(&path(name)))
}
