//! SHA-256 digests, and a reader and a writer that compute one on the way.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The SHA-256 digest of some bytes. Prints as OCI writes it, `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// A text that is not a SHA-256 digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not `sha256:` and 64 hex digits in lower case")]
pub struct NotADigest(pub String);

impl Digest {
    /// Computes the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 hex digits, without `sha256:` before them.
    ///
    /// # Errors
    /// When `hex` is anything else; the error shows it.
    pub fn from_hex(hex: &str) -> Result<Self, NotADigest> {
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        if hex.len() != 64 {
            return Err(NotADigest(hex.to_owned()));
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            match (value(pair[0]), value(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => return Err(NotADigest(hex.to_owned())),
            }
        }
        Ok(Self(bytes))
    }

    /// The 64 hex digits alone: the name of a blob in an OCI layout.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| NotADigest(text.to_owned()))?;
        Self::from_hex(hex).map_err(|_| NotADigest(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = NotADigest;
    fn try_from(text: String) -> Result<Self, NotADigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Hashes and counts what is read through it.
pub struct DigestReader<R> {
    inner: R,
    hash: Sha256,
    size: u64,
}

impl<R: Read> DigestReader<R> {
    /// Wraps `inner`, with nothing read so far.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// Reads and hashes what is left, so that [`DigestReader::finish`] speaks of the whole stream.
    ///
    /// # Errors
    /// Those of the inner reader.
    pub fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }

    /// The digest and the number of the bytes read.
    pub fn finish(self) -> (Digest, u64) {
        (Digest(self.hash.finalize().into()), self.size)
    }
}

impl<R: Read> Read for DigestReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}

/// Hashes and counts what is written through it.
pub struct DigestWriter<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> DigestWriter<W> {
    /// Wraps `inner`, with nothing written so far.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    /// The inner writer, and the digest and the number of the bytes written.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.hash.finalize().into()), self.size)
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digest_texts() {
        assert_eq!(Digest::of(b"abc").to_string(), ABC);
        assert_eq!(ABC.parse::<Digest>().unwrap(), Digest::of(b"abc"));
        for bad in ["", "sha256:", &ABC[7..], &ABC.to_uppercase(), &ABC[..70], "sha512:00"] {
            assert_eq!(bad.parse::<Digest>(), Err(NotADigest(bad.to_owned())));
        }
    }

    #[test]
    fn reader_and_writer_agree_with_the_digest_of_the_whole() {
        let mut reader = DigestReader::new(&b"abc"[..]);
        let mut one = [0; 1];
        reader.read_exact(&mut one).unwrap();
        reader.drain().unwrap();
        assert_eq!(reader.finish(), (Digest::of(b"abc"), 3));

        let mut writer = DigestWriter::new(Vec::new());
        writer.write_all(b"a").unwrap();
        writer.write_all(b"bc").unwrap();
        assert_eq!(writer.finish(), (b"abc".to_vec(), Digest::of(b"abc"), 3));
    }
}
