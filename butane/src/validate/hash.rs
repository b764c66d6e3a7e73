//! `verification.hash` of contents that are in the config itself: a wrong one stops the machine's first boot, so it is
//! found where it is written. Ignition takes the hash of the unpacked contents, and compares it as text.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use sha2::{Digest, Sha256, Sha512};

use super::Check;
use super::data_url::{self, PourError};
use crate::tree::Tree;

/// How much packed contents may become: a kilobyte of gzip can stand for a megabyte.
const MAX_UNPACKED_BYTES: u64 = 1024 * 1024 * 1024;

/// Compares the hash of a resource with its contents. Contents that are fetched are left to Ignition, and what is wrong
/// with the hash's form, the source or the compression to the rules for those.
pub(crate) fn matches(resource: &Tree, check: &mut Check) {
    let Some(verification) = resource.get("verification") else { return };
    let Some((function, wanted)) = verification.text("hash").and_then(parts) else { return };
    let Some(source) = resource.get("source") else { return };
    let is_packed = match resource.text("compression") {
        None | Some("") => false,
        Some("gzip") => true,
        Some(_) => return,
    };
    let origin = verification.place_of("hash");
    match function.of(source, is_packed) {
        Ok(found) if found == wanted => {}
        Ok(found) if found.eq_ignore_ascii_case(wanted) => {
            check
                .error(&origin, "Ignition compares hashes as text, with digits in lower case")
                .hint(format!("write `{}-{found}`", function.name()));
        }
        Ok(found) => {
            check
                .error(&origin, "the contents have another hash, so that Ignition refuses them")
                .hint(format!("theirs is `{}-{found}`", function.name()));
        }
        Err(HashError::NotGzip) => {
            check
                .error(
                    &resource.place_of("compression"),
                    "the contents are not gzip, so that Ignition cannot verify them",
                )
                .hint("leave `compression` away: the compiler packs what gets shorter by it");
        }
        Err(HashError::TooLarge) => {
            let message = format!(
                "not checked, as the contents unpack to more than {MAX_UNPACKED_BYTES} bytes"
            );
            check.warning(&origin, message);
        }
        Err(HashError::Elsewhere) => {}
    }
}

#[derive(Clone, Copy)]
enum Function {
    Sha256,
    Sha512,
}

/// The function and the digits of a well-formed hash.
fn parts(hash: &str) -> Option<(Function, &str)> {
    match hash.split_once('-')? {
        ("sha256", digits) if digits.len() == 64 => Some((Function::Sha256, digits)),
        ("sha512", digits) if digits.len() == 128 => Some((Function::Sha512, digits)),
        _ => None,
    }
}

/// What keeps a hash from being known.
enum HashError {
    /// The contents are not in the config, or the URL is not one, which its own rule reports.
    Elsewhere,
    NotGzip,
    TooLarge,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Function::Sha256 => "sha256",
            Function::Sha512 => "sha512",
        }
    }

    /// The digits for the contents at `source`.
    fn of(self, source: &Tree, is_packed: bool) -> Result<String, HashError> {
        match self {
            Function::Sha256 => digits::<Sha256>(source, is_packed),
            Function::Sha512 => digits::<Sha512>(source, is_packed),
        }
    }
}

fn digits<D: Digest>(source: &Tree, is_packed: bool) -> Result<String, HashError> {
    let mut sum = Sum { digest: D::new(), left: MAX_UNPACKED_BYTES };
    if is_packed {
        let mut unpacker = MultiGzDecoder::new(&mut sum);
        let poured = data_url::pour_source(source, &mut unpacker)
            .ok_or(HashError::Elsewhere)?
            .and_then(|()| unpacker.try_finish().map_err(|_| PourError::Sink));
        drop(unpacker);
        match poured {
            Ok(()) => {}
            Err(PourError::Url(_)) => return Err(HashError::Elsewhere),
            Err(PourError::Sink) if sum.left == 0 => return Err(HashError::TooLarge),
            Err(PourError::Sink) => return Err(HashError::NotGzip),
        }
    } else {
        // What is in memory already is not too large for it.
        sum.left = u64::MAX;
        let poured = data_url::pour_source(source, &mut sum).ok_or(HashError::Elsewhere)?;
        poured.map_err(|_| HashError::Elsewhere)?;
    }
    Ok(sum.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Digests what is written to it, up to a limit.
struct Sum<D> {
    digest: D,
    left: u64,
}

impl<D: Digest> Write for Sum<D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                self.left = 0;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        self.digest.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use basalt_model::report::Place;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::tree::Origin;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn gzip(contents: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    fn url(bytes: &[u8]) -> String {
        format!("data:;base64,{}", BASE64_STANDARD.encode(bytes))
    }

    #[track_caller]
    fn check(url: &str, is_packed: bool, expected: Option<&str>) {
        let source = Tree::text_at(&Origin::root("a.bu", Place::START), url);
        assert_eq!(Function::Sha256.of(&source, is_packed).ok().as_deref(), expected, "{url}");
    }

    #[test]
    fn hashes_of_what_is_unpacked() {
        check("data:,hello", false, Some(HELLO));
        check("data:,hell%6f", false, Some(HELLO));
        check("data:;base64,aGVsbG8=", false, Some(HELLO));
        check(&url(&gzip(b"hello")), true, Some(HELLO));
        // Members follow each other, as in a file that was appended to.
        check(&url(&[gzip(b"hel"), gzip(b"lo")].concat()), true, Some(HELLO));
        let packed = gzip(b"hello");
        check(&url(&packed[..packed.len() - 4]), true, None);
        check("data:,hello", true, None);
        check("data:hello", false, None);
    }

    #[test]
    fn packed_contents_are_bounded() {
        let mut sum = Sum { digest: Sha256::new(), left: 4 };
        assert!(sum.write_all(b"abcd").is_ok());
        assert!(sum.write_all(b"e").is_err());
        assert_eq!(sum.left, 0);
    }
}
