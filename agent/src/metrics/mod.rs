//! What monitoring sees of a node: takes plain facts, gives text in Prometheus' format, in a file.
//!
//! A file that the node exporter's textfile collector picks up, rather than a port: it needs no listener of the agent's and
//! no right to reach it, it is there while the agent restarts, and a network that is down loses nothing. Its age says
//! whether the agent still works. Expiry is given as a point in time too, which stays right however old the file is.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

mod bundle;
mod facts;
mod text;

use std::io;

pub(crate) use self::bundle::{BundleFacts, bundle_text};
pub(crate) use self::facts::{
    CertificateFacts, Facts, IssuerFacts, SecretFileFacts, ServerFacts, VaultFacts, certificates,
};
pub(crate) use self::text::text;
use crate::host::Host;
use crate::host::files::{Attributes, replace};

/// Where the file is; the node exporter is told by `--collector.textfile.directory`.
pub(crate) const METRICS_PATH: &str = "/run/basalt/metrics/basalt.prom";

/// Where the one about the operator bundle is, on nodes that may apply it.
pub(crate) const BUNDLE_METRICS_PATH: &str = "/run/basalt/metrics/basalt-bundle.prom";

/// Puts the file in its place, whole. Nothing in it is secret.
///
/// # Errors
/// The old file stays, and becomes old.
pub(crate) fn publish(host: &Host, facts: &Facts) -> io::Result<()> {
    put(host, METRICS_PATH, &text(facts))
}

/// The same for the bundle; without facts there is no file.
///
/// # Errors
/// The old file stays, and becomes old.
pub(crate) fn publish_bundle(host: &Host, facts: Option<&BundleFacts>) -> io::Result<()> {
    match facts {
        Some(facts) => put(host, BUNDLE_METRICS_PATH, &bundle_text(facts)),
        None => match std::fs::remove_file(host.real(BUNDLE_METRICS_PATH)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

fn put(host: &Host, path: &str, text: &str) -> io::Result<()> {
    let path = host.path(path);
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    if !folder.is_dir() {
        let attributes = Attributes { mode: 0o755, owner: host.owner, label: None };
        crate::host::files::ensure_directory(folder, attributes)?;
    }
    let attributes = Attributes { mode: 0o644, owner: host.owner, label: None };
    replace(&path, text.as_bytes(), attributes)
}

#[cfg(test)]
mod tests;
