//! Which form contents take: the shortest one, and `compression` where the reference says it.

use std::borrow::Cow;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::reference::{self, Reference};
use super::{BASE64_PREFIX, Form, Packed, escaped_length};
use crate::version::{Base, Target};

/// The forms among which the shortest is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forms {
    /// Percent-escaped, whatever the length. `compression` is the person's.
    Escaped,
    /// Percent-escaped or base64. `compression` is the person's: what is compressed is not compressed again.
    Compressed,
    /// Percent-escaped or base64.
    Plain,
    /// Percent-escaped, base64, or base64 of gzip.
    All,
}

impl Forms {
    /// What a target's configs may have, when the person says that the contents are compressed, or does not.
    pub(crate) fn of(target: &Target, is_compressed: bool) -> Forms {
        if target.base == Base::V0_1 {
            Forms::Escaped
        } else if is_compressed {
            Forms::Compressed
        } else if target.openshift.is_some_and(|openshift| !openshift.compresses()) {
            Forms::Plain
        } else {
            Forms::All
        }
    }
}

const GZIP: &str = "gzip";

/// From this many bytes on, contents without one block that gets shorter are taken for random.
const LONG: usize = 16 * 1024;

/// How much work compression is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Effort {
    /// The shorter one of the two best levels: in a short text either may win. For configs that have to fit into the
    /// user data of a cloud, 16 KiB in some.
    #[default]
    Most,
    /// Level 8, which is about as short as the reference's level 9, on texts of few words shorter than our level 9, and
    /// takes half the time.
    Enough,
}

impl Effort {
    /// How many levels are tried.
    fn levels(self) -> usize {
        match self {
            Effort::Most => 2,
            Effort::Enough => 1,
        }
    }
}

/// Decides for one thing after the other; holds what is costly to make.
#[derive(Default)]
pub(super) struct Chooser {
    pub effort: Effort,
    /// Levels 8 and 9.
    compressors: [Option<Compress>; 2],
    reference: Reference,
    output: Vec<u8>,
}

impl Chooser {
    /// Brings `contents` into the shortest form, and says what `compression` becomes; `None` leaves it as it is.
    ///
    /// `compression` is set to the empty text rather than left away: a config that is merged into another one must not
    /// inherit the other's.
    pub(super) fn choose(
        &mut self,
        contents: Cow<[u8]>,
        forms: Forms,
    ) -> (Packed, Option<&'static str>) {
        if forms == Forms::Escaped {
            return (Packed::new(contents.into_owned(), Form::Escaped), None);
        }
        let escaped_length = 1 + escaped_length(&contents);
        let base64_length = BASE64_PREFIX.len() + contents.len().div_ceil(3) * 4;
        if forms == Forms::All
            && let Some(packed) = self.gzip(&contents, escaped_length.min(base64_length))
        {
            return (Packed::new(packed, Form::Base64), Some(GZIP));
        }
        let form = if base64_length < escaped_length { Form::Base64 } else { Form::Escaped };
        let compression = (forms != Forms::Compressed).then_some("");
        (Packed::new(contents.into_owned(), form), compression)
    }

    /// The gzip of `contents`, when the reference's is short enough to beat a form of `shortest` characters.
    fn gzip(&mut self, contents: &[u8], shortest: usize) -> Option<Vec<u8>> {
        let most = most_bytes(shortest).filter(|most| *most >= reference::SHORTEST_GZIP)?;
        // How far the reference's length may be from ours. Over ten thousand files it was at most a twelfth.
        let slack = 64 + most / 8;
        let ours = self.compress(contents, most + slack)?;
        if ours.len() + slack <= most {
            return Some(ours);
        }
        // Where not one block gets shorter in a long text, there is nothing for the reference to find either.
        let is_random = contents.len() >= LONG && ours.len() > contents.len() + FRAME_BYTES;
        (!is_random && self.reference.gzip_length(contents) <= most).then_some(ours)
    }

    /// A gzip file of at most `limit` bytes.
    fn compress(&mut self, contents: &[u8], limit: usize) -> Option<Vec<u8>> {
        let mut packed: Option<Vec<u8>> = None;
        for (level, compressor) in (8..).zip(&mut self.compressors[..self.effort.levels()]) {
            let compressor =
                compressor.get_or_insert_with(|| Compress::new(Compression::new(level), false));
            let limit = packed.as_ref().map_or(limit, |packed| packed.len() - 1);
            if gzip(compressor, contents, limit, &mut self.output) {
                packed = Some(self.output.clone());
            }
        }
        packed
    }
}

/// A gzip header (RFC 1952): deflate, no name, no time, best compression, no operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];

/// With the checksum and length at the end.
const FRAME_BYTES: usize = HEADER.len() + 8;

/// Makes `output` a gzip file. The same bytes every time: no name, no time of day. Gives up when it gets longer than
/// `limit`.
fn gzip(deflate: &mut Compress, contents: &[u8], limit: usize, output: &mut Vec<u8>) -> bool {
    deflate.reset();
    output.clear();
    output.reserve(limit);
    output.extend(HEADER);
    let status = deflate.compress_vec(contents, output, FlushCompress::Finish);
    if !matches!(status, Ok(Status::StreamEnd)) || output.len() + FRAME_BYTES - HEADER.len() > limit
    {
        return false;
    }
    let mut checksum = Crc::new();
    checksum.update(contents);
    output.extend(checksum.sum().to_le_bytes());
    output.extend(checksum.amount().to_le_bytes());
    true
}

/// The most bytes whose base64, with the word `gzip` beside it, is shorter than `shortest` characters.
fn most_bytes(shortest: usize) -> Option<usize> {
    let room = shortest.checked_sub(BASE64_PREFIX.len() + GZIP.len() + 1)?;
    Some(room / 4 * 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(contents: &str, forms: Forms, url: &str, compression: Option<&str>) {
        let (packed, found) = Chooser::default().choose(contents.as_bytes().into(), forms);
        assert_eq!((packed.url(), found), (url, compression));
    }

    #[test]
    fn the_shortest_form() {
        check("", Forms::All, "data:,", Some(""));
        check("a b", Forms::All, "data:,a%20b", Some(""));
        check("é", Forms::All, "data:,%C3%A9", Some(""));
        check("[[[[[[", Forms::All, "data:;base64,W1tbW1tb", Some(""));
        // As long in both forms: escaping wins.
        check("[[[[[", Forms::All, "data:,%5B%5B%5B%5B%5B", Some(""));
        let long = "[".repeat(60);
        check(&long, Forms::Compressed, &format!("data:;base64,{}", "W1tb".repeat(20)), None);
        check("[[[[[[", Forms::Escaped, "data:,%5B%5B%5B%5B%5B%5B", None);
        check("[[[[[[", Forms::Plain, "data:;base64,W1tbW1tb", Some(""));
        let a = "a".repeat(1000);
        check(&a, Forms::Plain, &format!("data:,{a}"), Some(""));
        let (packed, compression) = Chooser::default().choose(a.as_bytes().into(), Forms::All);
        assert_eq!(compression, Some(GZIP));
        let url = packed.url();
        assert!(url.starts_with("data:;base64,H4sI") && url.len() < 80, "{url}");
    }

    #[test]
    fn room_for_gzip() {
        for shortest in 0..400 {
            let fits =
                |bytes: usize| BASE64_PREFIX.len() + bytes.div_ceil(3) * 4 + GZIP.len() < shortest;
            match most_bytes(shortest) {
                Some(most) => assert!((most == 0 || fits(most)) && !fits(most + 1), "{shortest}"),
                None => assert!(!fits(0), "{shortest}"),
            }
        }
    }
}
