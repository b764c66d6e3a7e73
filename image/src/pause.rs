//! The pause image: what a pod's sandbox runs, a few hundred bytes made here, so that no pod waits for a registry.
//!
//! Every pod has one container of this image, which holds the pod's namespaces and does nothing else. The same bytes
//! come out on every build machine and in every build, hence the same digest on every node.

mod elf;
mod program;

use serde_json::json;

use crate::io::digest::Digest;
use crate::io::tar::{TarError, TarWriter};
use crate::oci::Architecture;
use crate::oci::layout::{CONFIG_TYPE, INDEX_TYPE, MANIFEST_TYPE, MARKER};

/// The media type of a layer that is a plain tar stream.
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// Where the program is in the image.
const PROGRAM: &str = "pause";

/// The pause image of one architecture, packed as an `oci-archive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The archive.
    pub archive: Vec<u8>,
    /// Digest of the image's manifest.
    pub manifest: Digest,
}

/// The pause image for `architecture`; `None` where no program for it is known here.
pub fn pause(architecture: Architecture) -> Option<Pause> {
    let program = program::program(architecture)?;
    Some(pack(&program, architecture).expect("short names and short files fit into a tar stream"))
}

fn pack(program: &[u8], architecture: Architecture) -> Result<Pause, TarError> {
    let mut layer = TarWriter::new(Vec::new(), 0);
    layer.file(PROGRAM, 0o755, program.len() as u64, program)?;
    let layer = layer.finish().expect("a vector takes all that is written");
    let diff_id = Digest::of(&layer);
    let config = json!({
        "architecture": architecture.as_str(),
        "os": "linux",
        // Nobody: the program needs no rights, and a pod that shares its process namespace shows it to others.
        "config": {"User": "65535:65535", "Entrypoint": [format!("/{PROGRAM}")]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, "digest": Digest::of(config.as_bytes()), "size": config.len()},
        "layers": [{"mediaType": LAYER_TYPE, "digest": diff_id, "size": layer.len()}],
    })
    .to_string();
    let digest = Digest::of(manifest.as_bytes());
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [{
            "mediaType": MANIFEST_TYPE,
            "digest": digest,
            "size": manifest.len(),
            "platform": {"architecture": architecture.as_str(), "os": "linux"},
        }],
    })
    .to_string();

    let mut blobs = [&layer[..], config.as_bytes(), manifest.as_bytes()];
    blobs.sort_by_key(|blob| Digest::of(blob));
    let mut archive = TarWriter::new(Vec::new(), 0);
    for blob in blobs {
        let name = format!("blobs/sha256/{}", Digest::of(blob).hex());
        archive.file(&name, 0o644, blob.len() as u64, blob)?;
    }
    archive.file("index.json", 0o644, index.len() as u64, index.as_bytes())?;
    archive.file(MARKER.0, 0o644, MARKER.1.len() as u64, MARKER.1.as_bytes())?;
    let archive = archive.finish().expect("a vector takes all that is written");
    Ok(Pause { archive, manifest: digest })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use expect_test::expect;

    use super::*;
    use crate::oci::is_image_archive;

    /// Nodes name the image by tag, and containerd keeps what it has under that tag: other bytes want another tag,
    /// `PAUSE_IMAGE` of the model.
    #[test]
    fn the_bytes_never_change() {
        let digest = |architecture| pause(architecture).unwrap().manifest.to_string();
        expect!["sha256:b2ba2636abdf1b218cf3d89bdbc05d2e508cd9c90d840ce6c25198cb3f08f63b"]
            .assert_eq(&digest(Architecture::Amd64));
        expect!["sha256:f469045f56280a096270b13c85cb5bb7119f921478789972d858153ed534f512"]
            .assert_eq(&digest(Architecture::Arm64));
        assert_eq!(pause(Architecture::S390x), None);
    }

    #[test]
    fn it_is_an_archive() {
        let pause = pause(Architecture::Amd64).unwrap();
        assert!(is_image_archive(Cursor::new(&pause.archive)).unwrap());
    }
}
