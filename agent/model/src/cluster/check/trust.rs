//! Trust anchors: PEM certificates, whole, and nothing besides.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::decode::Located;
use crate::input::ClusterInput;
use crate::report::Report;

/// DER's tag of a sequence.
const SEQUENCE: u8 = 0x30;

pub(super) fn check(input: &ClusterInput, report: &mut Report) {
    for anchor in input.trust_anchors.values() {
        trust_anchor(anchor, report);
    }
}

fn trust_anchor(anchor: &Located<String>, report: &mut Report) {
    let text = anchor.trim();
    let begins = text.matches("-----BEGIN ").count();
    let certificates = text.matches("-----BEGIN CERTIFICATE-----").count();
    let ends = text.matches("-----END CERTIFICATE-----").count();
    if begins > certificates {
        // The text itself is not repeated: it may hold a private key.
        report
            .error(anchor.place, &anchor.path, "holds something else than certificates")
            .hint("a trust anchor is public; a private key does not belong into this file");
        return;
    }
    if certificates == 0 || ends != certificates || !text.starts_with("-----BEGIN") {
        report
            .error(anchor.place, &anchor.path, "not a PEM certificate")
            .hint("write it as a block: `name: |` and below it, indented, `-----BEGIN CERTIFICATE-----` and so on");
        return;
    }
    let bodies = text.split("-----BEGIN CERTIFICATE-----").skip(1);
    for (index, body) in bodies.enumerate() {
        let body = body.split("-----END").next().unwrap_or_default();
        if !is_whole_certificate(body) {
            let number = if certificates > 1 { format!(" {}", index + 1) } else { String::new() };
            report
                .error(anchor.place, &anchor.path, format!("certificate{number} is cut or damaged"))
                .hint("copy it again, every line of it");
        }
    }
}

/// Whether base64 text holds one DER sequence that is as long as it says (X.690 section 8.1.3), as a certificate is.
/// What the certificate says is for those who trust it.
fn is_whole_certificate(base64: &str) -> bool {
    let packed: String = base64.split_ascii_whitespace().collect();
    let Ok(der) = STANDARD.decode(packed) else { return false };
    let Some((&[SEQUENCE, first], rest)) = der.split_first_chunk() else { return false };
    let (length, contents) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let Some((length, contents)) = rest.split_at_checked(usize::from(first - 0x80)) else {
                return false;
            };
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), contents)
        }
        _ => return false,
    };
    length > 0 && contents.len() == length
}
