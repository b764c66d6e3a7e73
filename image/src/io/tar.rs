//! A tar writer that leaves nothing to chance: USTAR headers, owner 0, no names, one clock.
//!
//! A PAX extended header is written only for what USTAR cannot say: a path that is longer than its fields or not
//! ASCII. Its records are sorted by key, and its own name does not depend on the process.
//!
//! Format: <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html#tag_20_94_13_06>

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

/// Bytes of file content held in memory at a time.
pub const COPY_BUFFER_BYTES: usize = 128 * 1024;

/// The largest file that a USTAR header can state, 11 octal digits.
pub const MAX_FILE_BYTES: u64 = 0o77_777_777_777;

const BLOCK_BYTES: usize = 512;

/// A tar stream could not be written, or its file not be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The content was not as long as announced.
    #[error(
        "the file changed while it was read: {announced} bytes were announced and {found} came"
    )]
    Changed {
        /// The size in the header.
        announced: u64,
        /// What came; one more than announced stands for any longer content.
        found: u64,
    },
    /// The file is longer than the format can say.
    #[error("the file has {size} bytes; a tar header can state {MAX_FILE_BYTES} at most")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// The content could not be read.
    #[error("cannot read the content")]
    Read(#[source] io::Error),
    /// The stream could not be written.
    #[error("cannot write the tar stream")]
    Write(#[source] io::Error),
}

/// Writes one tar stream. Paths are relative, without a final `/`, in an order the caller chooses.
pub struct TarWriter<W: Write> {
    inner: W,
    mtime: u64,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// Starts a stream whose entries all have `mtime`, in seconds since the Unix epoch.
    pub fn new(inner: W, mtime: u64) -> Self {
        Self { inner, mtime, buffer: vec![0; COPY_BUFFER_BYTES] }
    }

    /// Writes a directory.
    ///
    /// # Errors
    /// [`TarError::Write`].
    pub fn directory(&mut self, path: &str, mode: u32) -> Result<(), TarError> {
        self.header(EntryType::Directory, &format!("{path}/"), mode, 0, "")
    }

    /// Writes a symbolic link with the text `target`.
    ///
    /// # Errors
    /// [`TarError::Write`].
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<(), TarError> {
        self.header(EntryType::Symlink, path, 0o777, 0, target)
    }

    /// Writes a file of `size` bytes, read from `content` to its end.
    ///
    /// # Errors
    /// [`TarError::Changed`] when `content` does not have `size` bytes; the stream is then of no use. The others as
    /// they say.
    pub fn file(
        &mut self,
        path: &str,
        mode: u32,
        size: u64,
        mut content: impl Read,
    ) -> Result<(), TarError> {
        if size > MAX_FILE_BYTES {
            return Err(TarError::TooLarge { size });
        }
        self.header(EntryType::Regular, path, mode, size, "")?;
        let mut found = 0;
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TarError::Read(error)),
            };
            found += count as u64;
            if found > size {
                return Err(TarError::Changed { announced: size, found: size + 1 });
            }
            self.inner.write_all(&self.buffer[..count]).map_err(TarError::Write)?;
        }
        if found < size {
            return Err(TarError::Changed { announced: size, found });
        }
        self.pad(size)
    }

    /// Ends the stream with two zero blocks and gives the inner writer back.
    ///
    /// # Errors
    /// [`TarError::Write`].
    pub fn finish(mut self) -> Result<W, TarError> {
        self.inner.write_all(&[0; 2 * BLOCK_BYTES]).map_err(TarError::Write)?;
        Ok(self.inner)
    }

    fn header(
        &mut self,
        kind: EntryType,
        path: &str,
        mode: u32,
        size: u64,
        target: &str,
    ) -> Result<(), TarError> {
        let mut header = self.plain_header(kind, mode, size);
        let mut records = String::new();
        // Sorted by key: `linkpath` before `path`.
        if target.is_ascii() && target.len() <= 100 {
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        } else {
            records += &pax_record("linkpath", target);
        }
        let fields = header.as_ustar_mut().expect("made as a USTAR header");
        match split(path) {
            Some((prefix, name)) => {
                fields.prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
                fields.name[..name.len()].copy_from_slice(name.as_bytes());
            }
            None => records += &pax_record("path", path),
        }
        if !records.is_empty() {
            let mut extended = self.plain_header(EntryType::XHeader, 0o644, records.len() as u64);
            extended.as_old_mut().name[..PAX_NAME.len()].copy_from_slice(PAX_NAME.as_bytes());
            extended.set_cksum();
            self.inner.write_all(extended.as_bytes()).map_err(TarError::Write)?;
            self.inner.write_all(records.as_bytes()).map_err(TarError::Write)?;
            self.pad(records.len() as u64)?;
        }
        header.set_cksum();
        self.inner.write_all(header.as_bytes()).map_err(TarError::Write)
    }

    /// A header with all but the names and the checksum.
    fn plain_header(&self, kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(self.mtime);
        header.set_device_major(0).expect("made as a USTAR header");
        header.set_device_minor(0).expect("made as a USTAR header");
        header
    }

    /// Fills the last block of `size` bytes of content with zeros.
    fn pad(&mut self, size: u64) -> Result<(), TarError> {
        let over = (size % BLOCK_BYTES as u64) as usize;
        let zeros = [0; BLOCK_BYTES];
        match over {
            0 => Ok(()),
            over => self.inner.write_all(&zeros[over..]).map_err(TarError::Write),
        }
    }
}

/// The name of every extended header. GNU tar puts a process id there.
const PAX_NAME: &str = "PaxHeaders/entry";

/// Splits a path into the prefix and name fields of a USTAR header (155 and 100 bytes, joined by a `/`); `None` when
/// it does not fit or is not ASCII.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= 100 {
        return Some(("", path));
    }
    // The name of a directory ends in a `/`, which cannot be where the path is split.
    let slashes = path.bytes().enumerate().filter(|&(i, b)| b == b'/' && i + 1 < path.len());
    slashes
        .map(|(at, _)| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100)
}

/// One record, `LENGTH KEY=VALUE\n`, where the length counts its own digits too.
fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, type, mode, owner, link target and content of each entry, read back by the `tar` crate.
    fn read_back(bytes: &[u8]) -> Vec<(String, EntryType, u32, u64, String, String)> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let link = entry.link_name().unwrap();
            (
                entry.path().unwrap().to_str().unwrap().to_owned(),
                entry.header().entry_type(),
                entry.header().mode().unwrap(),
                entry.header().uid().unwrap() + entry.header().gid().unwrap(),
                link.map(|link| link.to_str().unwrap().to_owned()).unwrap_or_default(),
                text,
            )
        });
        entries.collect()
    }

    #[test]
    fn is_read_back_as_written() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(90));
        let longer = format!("{}/{}", "d".repeat(160), "f".repeat(90));
        let other = "usr/share/Ω";
        let mut tar = TarWriter::new(Vec::new(), 7);
        tar.directory("usr", 0o755).unwrap();
        tar.directory(&"e".repeat(100), 0o700).unwrap();
        for path in [&long, &longer, other] {
            tar.file(path, 0o4755, 3, &b"abc"[..]).unwrap();
            tar.symlink(path, path).unwrap();
        }
        let bytes = tar.finish().unwrap();
        let mut expected = vec![
            ("usr/".to_owned(), EntryType::Directory, 0o755, 0, String::new(), String::new()),
            (format!("{}/", "e".repeat(100)), EntryType::Directory, 0o700, 0, "".into(), "".into()),
        ];
        for path in [&long, &longer, other] {
            let path = path.to_owned();
            expected.extend([
                (path.clone(), EntryType::Regular, 0o4755, 0, String::new(), "abc".to_owned()),
                (path.clone(), EntryType::Symlink, 0o777, 0, path, String::new()),
            ]);
        }
        assert_eq!(read_back(&bytes), expected);
        assert_eq!(bytes.len() % BLOCK_BYTES, 0);
    }

    #[track_caller]
    fn check_size(announced: u64, content: &[u8], expected: &str) {
        let error = TarWriter::new(Vec::new(), 0).file("a", 0, announced, content).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_file_of_another_size_is_refused() {
        let changed = "the file changed while it was read:";
        check_size(2, b"abc", &format!("{changed} 2 bytes were announced and 3 came"));
        check_size(0, b"abc", &format!("{changed} 0 bytes were announced and 1 came"));
        check_size(4, b"abc", &format!("{changed} 4 bytes were announced and 3 came"));
        check_size(
            MAX_FILE_BYTES + 1,
            b"",
            "the file has 8589934592 bytes; a tar header can state 8589934591 at most",
        );
    }

    #[test]
    fn pax_records_count_themselves() {
        assert_eq!(pax_record("path", "a"), "9 path=a\n");
        for length in [1, 2, 80, 89, 90, 91, 92, 93, 980, 990, 991, 9990] {
            let record = pax_record("path", &"a".repeat(length));
            assert_eq!(record.split(' ').next().unwrap(), record.len().to_string());
        }
    }
}
