//! Whether a file is an image archive: a tar stream, compressed or not, with the documents that a container runtime
//! looks for first.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;

use crate::oci::layout::MARKER;

/// The first bytes of a gzip stream: <https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1>.
pub(crate) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The documents of an `oci-archive`.
const OCI: [&str; 2] = [MARKER.0, "index.json"];

/// The document of a `docker-archive`.
const DOCKER: &str = "manifest.json";

/// Whether `file` is an `oci-archive` or a `docker-archive`. Only names are looked at.
///
/// # Errors
/// When it cannot be read. What is no tar stream is no archive, and no error.
pub fn is_image_archive(mut file: impl Read + Seek) -> io::Result<bool> {
    let mut first = Vec::new();
    file.by_ref().take(GZIP.len() as u64).read_to_end(&mut first)?;
    file.seek(SeekFrom::Start(0))?;
    let mut seen = BTreeSet::new();
    let names = match first == GZIP {
        true => gather(tar::Archive::new(MultiGzDecoder::new(file)).entries()?, &mut seen),
        // Contents are skipped, and an archive may have gigabytes of them.
        false => gather(tar::Archive::new(file).entries_with_seek()?, &mut seen),
    };
    // Where it ends too early, or is no tar stream at all, what was seen until then decides.
    drop(names);
    Ok(OCI.iter().all(|name| seen.contains(*name)) || seen.contains(DOCKER))
}

fn gather<R: Read>(entries: tar::Entries<R>, seen: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in entries {
        let name = String::from_utf8_lossy(&entry?.path_bytes()).into_owned();
        let name = name.strip_prefix("./").unwrap_or(&name);
        if OCI.contains(&name) || name == DOCKER {
            seen.insert(name.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn tar(names: &[&str]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_size(3);
            tar.append_data(&mut header, name, &b"{}\n"[..]).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: bool) {
        assert_eq!(is_image_archive(Cursor::new(bytes)).unwrap(), expected);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        assert_eq!(is_image_archive(Cursor::new(gzip.finish().unwrap())).unwrap(), expected);
    }

    #[test]
    fn archives_are_known_by_their_documents() {
        check(&tar(&["blobs/sha256/a", "index.json", "oci-layout"]), true);
        check(&tar(&["layer.tar", "manifest.json"]), true);
        check(&tar(&["index.json"]), false);
        check(&tar(&["etc/manifest.json"]), false);
        check(&tar(&[]), false);
        check(b"name: lab\n", false);
        check(b"", false);
        check(&[0xff; 4096], false);
    }
}
