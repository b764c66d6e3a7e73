//! A reader that refuses streams longer than expected.

use std::io::{self, Read};

/// Fails once more than a given number of bytes comes: guards what is read into memory against a foreign file.
pub struct LimitReader<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> LimitReader<R> {
    /// Wraps `inner`, of which at most `limit` bytes are accepted.
    pub fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit, limit }
    }
}

impl<R: Read> Read for LimitReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("longer than the {} bytes accepted here", self.limit),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_the_limit_pass_and_no_byte_more() {
        let mut text = String::new();
        LimitReader::new(&b"abc"[..], 3).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        let error = LimitReader::new(&b"abcd"[..], 3).read_to_string(&mut text).unwrap_err();
        assert_eq!(error.to_string(), "longer than the 3 bytes accepted here");
    }
}
