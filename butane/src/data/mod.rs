//! Contents in the config itself: a data URL (RFC 2397) in `source`.
//!
//! A resource with `inline` or `local` first has [`Data`] that waits: nothing has been read. When the config is whole,
//! [`pack()`] reads, sizes and compresses all of them at once, on several threads when there is much to do; [`choice`] is
//! what one of them does, with [`reference`] where it is close. What is kept is the shortest form of the bytes; the URL
//! itself is made while it is printed.

mod choice;
mod huffman;
mod pack;
mod reference;

use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
pub(crate) use choice::Forms;
pub(crate) use pack::pack;

use crate::local::Found;

/// Contents that are, or become, a data URL.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// Not looked at yet.
    Waiting(Waiting),
    /// In its final form.
    Packed(Arc<Packed>),
}

/// Where contents are to be taken from.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub source: Source,
    pub forms: Forms,
}

/// Contents before they are read.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Bytes(Arc<[u8]>),
    /// A file of the build machine.
    File(Found),
}

impl Source {
    /// How much there is to be read, as far as is known.
    fn bytes(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File(found) => found.bytes,
        }
    }
}

/// How the bytes of a data URL are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Escaped,
    Base64,
}

/// What stands before base64.
const BASE64_PREFIX: &str = ";base64,";

/// The bytes that a data URL carries: the contents, or their gzip.
#[derive(Debug)]
pub(crate) struct Packed {
    bytes: Vec<u8>,
    form: Form,
    /// Made when somebody wants to see all of it.
    url: OnceLock<String>,
}

impl Packed {
    fn new(bytes: Vec<u8>, form: Form) -> Packed {
        Packed { bytes, form, url: OnceLock::new() }
    }

    /// What the URL carries.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The URL as text. It stays in memory; [`write_url`](Packed::write_url) needs none.
    pub(crate) fn url(&self) -> &str {
        self.url.get_or_init(|| {
            let mut url = Vec::new();
            self.write_url(&mut url).expect("memory takes every byte");
            String::from_utf8(url).expect("a data URL is ASCII")
        })
    }

    /// Writes the URL. None of its characters needs an escape in JSON or YAML.
    pub(crate) fn write_url(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(b"data:")?;
        match self.form {
            Form::Escaped => {
                out.write_all(b",")?;
                escape(&self.bytes, out)
            }
            Form::Base64 => {
                out.write_all(BASE64_PREFIX.as_bytes())?;
                encode(&self.bytes, out)
            }
        }
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Packed) -> bool {
        self.form == other.form && self.bytes == other.bytes
    }
}

fn encode(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    /// Whole groups, so that only the last chunk has padding.
    const CHUNK: usize = 3 * 4096;
    let mut buffer = [0; CHUNK / 3 * 4];
    for chunk in bytes.chunks(CHUNK) {
        let length = BASE64_STANDARD
            .encode_slice(chunk, &mut buffer)
            .expect("four characters for three bytes is what the buffer has");
        out.write_all(&buffer[..length])?;
    }
    Ok(())
}

fn escape(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for run in bytes.chunk_by(|a, b| is_unreserved(*a) && is_unreserved(*b)) {
        match run {
            [byte] if !is_unreserved(*byte) => {
                let digit = |bits: u8| DIGITS[usize::from(bits)];
                out.write_all(&[b'%', digit(byte >> 4), digit(byte & 15)])?;
            }
            run => out.write_all(run)?,
        }
    }
    Ok(())
}

/// Whether each byte is one of the unreserved characters of RFC 2396.
const UNRESERVED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let character = byte as u8;
        table[byte] = character.is_ascii_alphanumeric()
            || matches!(character, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')');
        byte += 1;
    }
    table
};

fn is_unreserved(byte: u8) -> bool {
    UNRESERVED[usize::from(byte)]
}

/// How many bytes `contents` have when escaped.
fn escaped_length(contents: &[u8]) -> usize {
    // In pieces whose count fits a small number: that is what the processor adds up fast.
    let reserved =
        |chunk: &[u8]| chunk.iter().map(|byte| u32::from(!is_unreserved(*byte))).sum::<u32>();
    contents.len()
        + 2 * contents.chunks(1 << 20).map(|chunk| reserved(chunk) as usize).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_the_same_in_pieces() {
        let bytes: Vec<u8> = (0..20_000_u32).map(|n| (n * n % 251) as u8).collect();
        let url = format!("data:;base64,{}", BASE64_STANDARD.encode(&bytes));
        assert_eq!(Packed::new(bytes, Form::Base64).url(), url);
        assert_eq!(Packed::new(b"a% \xffb".to_vec(), Form::Escaped).url(), "data:,a%25%20%FFb");
    }
}
