//! Data URLs → text that can be read.

use std::io::Read;

use flate2::read::GzDecoder;

use super::input::Input;
use crate::data::{Forms, data_url};
use crate::schema::config::CONFIG;
use crate::schema::{Kind, Lowering, Type};
use crate::tree::{Tree, Value};
use crate::validate::data_url;
use crate::version::Target;

const GZIP: &str = "gzip";

/// The most that a compressed text may become; a bomb stays as it is.
const MAX_TEXT: u64 = 32 * 1024 * 1024;

/// The first ten bytes of what Go's `compress/gzip` writes at its best level: no name, no time, no system. Other
/// programs leave their own marks.
const GO_GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];

/// Replaces the sources of all resources in a Butane config that are text by the text itself.
pub(super) fn inline(written: &mut Tree, input: &Input) {
    below(written, &CONFIG, input);
}

fn below(tree: &mut Tree, ty: &'static Type, input: &Input) {
    let has_inline = ty.of(input.target).any(|field| field.name == Some("inline"));
    if matches!(ty.lowering, Lowering::Resource) && has_inline {
        resource(tree, input);
    }
    let Value::Map(entries) = &mut tree.value else { return };
    for (name, value) in entries {
        let Some(field) = ty.of(input.target).find(|field| field.name == Some(*name)) else {
            continue;
        };
        match (field.kind, &mut value.value) {
            (Kind::Map(ty), _) => below(value, ty, input),
            (Kind::Maps(ty, _), Value::List(items)) => {
                items.iter_mut().for_each(|item| below(item, ty, input));
            }
            _ => {}
        }
    }
}

fn resource(tree: &mut Tree, input: &Input) {
    let Some(text) = text_of(tree) else { return };
    if input.is_compiled && !comes_back(tree, &text, input.target) {
        return;
    }
    let origin = tree.place_of("source");
    if let Value::Map(entries) = &mut tree.value {
        entries.retain(|(name, _)| !["source", "compression"].contains(name));
        entries.push(("inline", Tree::text_at(&origin, text)));
    }
}

/// Whether the compiler makes of `text` what the resource says.
fn comes_back(resource: &Tree, text: &str, target: &Target) -> bool {
    let made = data_url(text.as_bytes(), Forms::of(target, false));
    if made.compression != resource.text("compression") {
        return false;
    }
    // The reference's gzip is not ours: the bytes differ, the text and how it is sent do not.
    let is_reference = || {
        made.compression == Some(GZIP)
            && data_url::decode(resource.text("source").unwrap_or_default())
                .is_ok_and(|bytes| bytes.starts_with(&GO_GZIP))
    };
    Some(made.url.as_str()) == resource.text("source") || is_reference()
}

/// The text of a resource's data URL, decompressed, when it is one that a person can read.
pub(super) fn text_of(resource: &Tree) -> Option<String> {
    let source = resource.text("source").filter(|source| source.starts_with("data:"))?;
    let bytes = data_url::decode(source).ok()?;
    let bytes = match resource.text("compression") {
        None | Some("") => bytes,
        Some(GZIP) => decompress(&bytes)?,
        Some(_) => return None,
    };
    String::from_utf8(bytes).ok().filter(|text| text.chars().all(is_readable))
}

fn decompress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    GzDecoder::new(bytes).take(MAX_TEXT + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MAX_TEXT).then_some(text)
}

/// Text has lines and tabs, and no other control characters.
fn is_readable(character: char) -> bool {
    !character.is_control() || matches!(character, '\n' | '\t' | '\r')
}
