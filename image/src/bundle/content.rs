//! The first layer of a bundle: files of YAML in folders of waves, as a compressed tar stream.

use std::io::{self, Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use crate::bundle::index::is_wave_name;
use crate::io::limit::LimitReader;
use crate::io::tar::TarWriter;

/// The largest content that is read, compressed.
pub const MAX_CONTENT_BYTES: u64 = 16 << 20;
/// The largest tar stream that is read. A few kilobytes can stand for gigabytes of zeros.
pub const MAX_TAR_BYTES: u64 = 64 << 20;
/// The most files.
pub const MAX_FILES: usize = 10_000;

/// High enough for text; the level is part of the digest.
const GZIP_LEVEL: u32 = 9;

/// One file of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentFile {
    /// Below the bundle's root, `10-rbac/operator.yaml`.
    pub path: String,
    /// YAML, one document or more.
    pub text: String,
}

impl ContentFile {
    /// The name of its wave, `10-rbac`.
    pub fn wave(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }
}

/// Content that no bundle has.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The stream is damaged, too long, or no tar stream.
    #[error("the content cannot be unpacked")]
    Read(#[source] io::Error),
    /// Something that is no file.
    #[error("`{path}` is not a regular file")]
    NotAFile {
        /// Its path.
        path: String,
    },
    /// A file that is not in a wave, or leads out of the bundle.
    #[error("`{path}` is not a YAML file in the folder of a wave, as `10-rbac/operator.yaml` is")]
    Path {
        /// Its path.
        path: String,
    },
    /// Files come twice, or not in order.
    #[error("`{path}` stands behind `{before}`: files come once, and in order")]
    Order {
        /// Its path.
        path: String,
        /// The path before it.
        before: String,
    },
    /// A file is not text.
    #[error("`{path}` is not UTF-8 text")]
    NotText {
        /// Its path.
        path: String,
    },
    /// More files than [`MAX_FILES`].
    #[error("it has more than {MAX_FILES} files")]
    TooMany,
}

/// Whether a path is `WAVE/…/NAME.yaml`, of plain names only.
pub fn is_content_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('.')
            && name.bytes().all(is_plain)
    };
    let is_yaml = [".yaml", ".yml"].iter().any(|ending| path.ends_with(ending));
    match path.split_once('/') {
        Some((wave, rest)) => {
            is_wave_name(wave) && rest.split('/').all(is_name) && is_yaml && path.len() <= 1024
        }
        None => false,
    }
}

/// Sorts files in the order in which they are applied and packed: by wave, then by the names in the path.
pub fn sort(files: &mut [ContentFile]) {
    files.sort_by(|a, b| names(&a.path).cmp(names(&b.path)));
}

/// A folder comes before another whose name is longer, which the `/` after it would not do.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
}

/// Packs sorted files. The owner is 0 and the time is that of the Unix epoch.
pub(super) fn pack(files: &[ContentFile]) -> Vec<u8> {
    let gzip: GzEncoder<Vec<u8>> =
        GzBuilder::new().mtime(0).write(Vec::new(), Compression::new(GZIP_LEVEL));
    let mut tar = TarWriter::new(gzip, 0);
    for file in files {
        let bytes = file.text.as_bytes();
        tar.file(&file.path, 0o644, bytes.len() as u64, bytes)
            .expect("a vector takes all, and a text is as long as it says");
    }
    let mut gzip = tar.finish().expect("a vector takes all");
    gzip.flush().expect("a vector takes all");
    gzip.finish().expect("a vector takes all")
}

/// Unpacks a compressed tar stream. At most [`MAX_TAR_BYTES`] are held.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<ContentFile>, ContentError> {
    let stream = LimitReader::new(GzDecoder::new(bytes), MAX_TAR_BYTES);
    let mut archive = tar::Archive::new(stream);
    let mut files: Vec<ContentFile> = Vec::new();
    for entry in archive.entries().map_err(ContentError::Read)? {
        let mut entry = entry.map_err(ContentError::Read)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(ContentError::NotAFile { path });
        }
        if !is_content_path(&path) {
            return Err(ContentError::Path { path });
        }
        if let Some(last) = files.last()
            && !names(&last.path).lt(names(&path))
        {
            return Err(ContentError::Order { path, before: last.path.clone() });
        }
        if files.len() == MAX_FILES {
            return Err(ContentError::TooMany);
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(ContentError::Read)?;
        let text = match String::from_utf8(text) {
            Ok(text) => text,
            Err(_) => return Err(ContentError::NotText { path }),
        };
        files.push(ContentFile { path, text });
    }
    // The check sum of the gzip stream is behind the end of the tar stream.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ContentError::Read)?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> ContentFile {
        ContentFile { path: path.to_owned(), text: format!("# {path}\n") }
    }

    #[test]
    fn is_read_back_as_packed() {
        let mut files =
            ["10-a/b.yaml", "10-a-b/a.yaml", "00-crds/x/y.yml", "00-crds/x.yaml"].map(file);
        sort(&mut files);
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["00-crds/x/y.yml", "00-crds/x.yaml", "10-a/b.yaml", "10-a-b/a.yaml"]);
        assert_eq!(unpack(&pack(&files)).unwrap(), files);
        assert_eq!(pack(&files), pack(&files));
    }

    #[track_caller]
    fn check(files: &[&str], expected: &str) {
        let files: Vec<ContentFile> = files.iter().map(|path| file(path)).collect();
        assert_eq!(unpack(&pack(&files)).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_no_bundle_has_is_refused() {
        let path = |path| {
            format!(
                "`{path}` is not a YAML file in the folder of a wave, as `10-rbac/operator.yaml` is"
            )
        };
        for bad in ["a.yaml", "00-a/../../b.yaml", "00-a/.b.yaml", "00-a/b.json", "x/a.yaml"] {
            check(&[bad], &path(bad));
        }
        let order = "`00-a/a.yaml` stands behind `00-a/b.yaml`: files come once, and in order";
        check(&["00-a/b.yaml", "00-a/a.yaml"], order);
        let twice = "`00-a/a.yaml` stands behind `00-a/a.yaml`: files come once, and in order";
        check(&["00-a/a.yaml", "00-a/a.yaml"], twice);

        let mut link = TarWriter::new(Vec::new(), 0);
        link.symlink("00-a/a.yaml", "../../etc/passwd").unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&link.finish().unwrap()).unwrap();
        let error = unpack(&gzip.finish().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "`00-a/a.yaml` is not a regular file");
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let mut tar = TarWriter::new(&mut gzip, 0);
        let size = MAX_TAR_BYTES + 1;
        tar.file("00-a/a.yaml", 0o644, size, io::repeat(b' ').take(size)).unwrap();
        tar.finish().unwrap();
        let bytes = gzip.finish().unwrap();
        assert!((bytes.len() as u64) < MAX_CONTENT_BYTES);
        assert!(matches!(unpack(&bytes), Err(ContentError::Read(_))));
    }

    #[test]
    fn a_cut_stream_is_refused() {
        let bytes = pack(&[file("00-a/a.yaml")]);
        for cut in [0, 1, 10, bytes.len() - 1] {
            assert!(matches!(unpack(&bytes[..cut]), Err(ContentError::Read(_))), "{cut}");
        }
    }
}
