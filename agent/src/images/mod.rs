//! The container images that are baked into the operating system image: every one is in containerd's store, under every
//! name that pods use, and pinned. Nothing here needs a network.
//!
//! Read [`import`]. [`bill`] is what the image holds and [`status`] what people are told; both are pure. [`store`] is
//! containerd, [`report`] what stays behind for others.

mod bill;
mod report;
mod status;
mod store;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use basalt_image::io::digest::Digest;
use basalt_image::oci::import::{self as archive, ImportError};
use basalt_model::node::{IMAGE_BILL_PATH, NODE_JSON_PATH, Node};

pub(crate) use self::report::{Report, RowState};
pub(crate) use self::status::add_to;

use self::bill::{Baked, BillError};
use self::report::Row;
use self::store::{Store, StoreError};
use crate::causes::chain;
use crate::host::{Host, generations, look};
use crate::probe::look::{images_of, pods_of};

/// Where containerd unpacks images.
const CONTAINERD_DIRECTORY: &str = "/var/lib/containerd";

/// The images could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImagesError {
    /// The image's own account of what it holds.
    #[error("cannot use `{IMAGE_BILL_PATH}`")]
    Bill(#[source] BillError),
    /// containerd does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was found out cannot be left for others.
    #[error("cannot write the report `{}`", report::PATH)]
    Report(#[source] io::Error),
}

impl ImagesError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Bill(_) => Some("it is part of the operating system image: build that again"),
            Self::Store(error) => error.hint(),
            Self::Report(_) => None,
        }
    }
}

/// What keeps one image from being imported.
#[derive(Debug, thiserror::Error)]
enum ImageError {
    #[error("cannot read the archive `{path}`")]
    Open { path: String, source: io::Error },
    #[error("cannot use the archive `{path}`")]
    Archive { path: String, source: ImportError },
    #[error("the archive `{path}` is damaged: it has the digest {found}")]
    Damaged { path: String, found: Digest },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("containerd took it and does not have it whole")]
    Incomplete,
}

impl ImageError {
    fn hint(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Archive { .. } | Self::Damaged { .. } => {
                "archives are part of the operating system image: go back to the one before, or install the image again"
            }
            Self::Store(error) => error.hint().unwrap_or("`journalctl -u containerd` says more"),
            Self::Incomplete => "`journalctl -u containerd` says more; is there space in /var?",
        }
    }
}

/// Brings every baked-in image into containerd that it does not have, and gives back what was found and done. When all
/// is there this is one question to containerd.
///
/// # Errors
/// When nothing can be found out. An image that cannot be imported is a row of the report.
pub(crate) fn import(host: &Host) -> Result<Report, ImagesError> {
    let baked = bill::read(host).map_err(ImagesError::Bill)?;
    let store = Store::of(host)?;
    let ready = store.ready(&baked)?;
    let mut rows = Vec::new();
    let mut is_changed = false;
    for image in &baked {
        if image.is_in(&ready) {
            rows.push(Row::of(image, RowState::Present));
            continue;
        }
        tracing::info!(image = %image.reference, "importing a baked-in image");
        is_changed = true;
        let state = match bring_in(host, &store, image) {
            Ok(()) => RowState::Imported,
            Err(error) => failed(&error),
        };
        rows.push(Row::of(image, state));
    }
    if is_changed {
        // What is unpacked is written back some time later; a power cut before that would leave half an image that
        // nobody notices.
        sync(host);
    }
    for name in store.retire(&baked, &kept(host))? {
        tracing::info!(%name, "unpinned an image that is no longer baked in");
    }
    if let Some(row) = sandbox(host, &store, &baked)? {
        rows.push(row);
    }
    let report = Report::new(rows);
    report.publish(host).map_err(ImagesError::Report)?;
    Ok(report)
}

/// Pins the image that pods call `reference`, so that the kubelet does not clear it away.
///
/// # Errors
/// When containerd does not answer or has no such image.
pub(crate) fn pin(host: &Host, reference: &str) -> io::Result<()> {
    let pinned = Store::in_passing(host).pin(reference).map_err(io::Error::other)?;
    match pinned {
        0 => Err(io::Error::new(io::ErrorKind::NotFound, "containerd does not have it")),
        _ => Ok(()),
    }
}

/// Unpins the image that pods call `reference`, unless it is baked in; one that is not there is fine.
///
/// # Errors
/// When containerd does not answer.
pub(crate) fn unpin(host: &Host, reference: &str) -> io::Result<()> {
    Store::in_passing(host).unpin(reference).map_err(io::Error::other)
}

/// The names in the store of the images that the pod sets on disk need: a set that returns needs them again.
fn kept(host: &Host) -> BTreeSet<String> {
    let sets = generations::scan(host).unwrap_or_default();
    let references = sets.whole().flat_map(|set| images_of(&pods_of(set)));
    references.map(|reference| store::name(&reference)).collect()
}

fn bring_in(host: &Host, store: &Store, image: &Baked) -> Result<(), ImageError> {
    let path = image.path();
    let open = || {
        File::open(host.real(&path))
            .map_err(|source| ImageError::Open { path: path.clone(), source })
    };
    let unusable = |source| ImageError::Archive { path: path.clone(), source };
    let contents = archive::contents(open()?).map_err(unusable)?;
    if contents.archive.hex() != image.sha256.as_str() {
        return Err(ImageError::Damaged { path: path.clone(), found: contents.archive });
    }
    let wanted = contents.find(&image.digest()).map_err(unusable)?;
    let take_in = || -> Result<bool, ImageError> {
        let file = open()?;
        store.import(|stdin| archive::rename(file, wanted, &image.names(), stdin))?;
        Ok(image.is_in(&store.ready(std::slice::from_ref(image))?))
    };
    if take_in()? {
        return Ok(());
    }
    // containerd takes a blob that it knows for one that it has, also when the file is gone.
    tracing::warn!(image = %image.reference, "containerd lost a part of the image; taking all of it again");
    store.forget(contents.blobs())?;
    if take_in()? { Ok(()) } else { Err(ImageError::Incomplete) }
}

/// A row about the pause image when the cluster names one that is not baked in: without it no pod starts.
fn sandbox(host: &Host, store: &Store, baked: &[Baked]) -> Result<Option<Row>, ImagesError> {
    let node = look::read_behind(&host.real(NODE_JSON_PATH))
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|text| Node::from_json(NODE_JSON_PATH, &text).ok());
    let Some(name) = node.map(|node| node.containerd.sandbox_image) else { return Ok(None) };
    let names: BTreeSet<String> = baked.iter().flat_map(Baked::names).collect();
    if names.contains(&name) {
        return Ok(None);
    }
    let state = match store.has(&name)? {
        true => RowState::Present,
        false => RowState::Failed {
            reason: "the pause image is not on this node and not baked in: no pod starts"
                .to_owned(),
            hint: "preload it in cluster.yaml, or leave `containerd.sandbox_image` out".to_owned(),
        },
    };
    Ok(Some(Row { name, digest: None, state }))
}

fn failed(error: &ImageError) -> RowState {
    let reason = chain(error);
    tracing::error!(error = %reason, "cannot import a baked-in image");
    RowState::Failed { reason, hint: error.hint().to_owned() }
}

fn sync(host: &Host) {
    let synced = File::open(host.real(CONTAINERD_DIRECTORY))
        .and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
    if let Err(error) = synced {
        tracing::warn!(%error, "cannot sync `{CONTAINERD_DIRECTORY}`");
    }
}
