//! Data URLs → text that can be read.

use std::io::Read;

use basalt_model::report::Place;
use flate2::read::GzDecoder;

use super::input::Input;
use crate::data::{Data, Forms, Source, Waiting, pack};
use crate::schema::config::CONFIG;
use crate::schema::{Kind, Lowering, Type};
use crate::tree::{Findings, Origin, Tree, Value};
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
    let mut resources = Vec::new();
    gather(written, &CONFIG, input.target, &mut resources);
    let texts: Vec<Option<String>> = resources.iter().map(|resource| text_of(resource)).collect();
    let made = input.is_compiled.then(|| compile(&texts, input.target));
    for (index, (resource, text)) in resources.into_iter().zip(texts).enumerate() {
        let Some(text) = text else { continue };
        if made.as_ref().is_some_and(|made| !comes_back(resource, &made[index])) {
            continue;
        }
        let origin = resource.place_of("source");
        if let Value::Map(entries) = &mut resource.value {
            entries.retain(|(name, _)| !["source", "compression"].contains(name));
            entries.push(("inline", Tree::text_at(&origin, text)));
        }
    }
}

/// The resources that can have their contents inline, in the order of the config.
fn gather<'t>(
    tree: &'t mut Tree,
    ty: &'static Type,
    target: &'static Target,
    found: &mut Vec<&'t mut Tree>,
) {
    let has_inline = ty.of(target).any(|field| field.name == Some("inline"));
    if matches!(ty.lowering, Lowering::Resource) && has_inline {
        found.push(tree);
        return;
    }
    let Value::Map(entries) = &mut tree.value else { return };
    for (name, value) in entries {
        let Some(field) = ty.of(target).find(|field| field.name == Some(*name)) else { continue };
        match field.kind {
            Kind::Map(ty) => gather(value, ty, target, found),
            Kind::Maps(ty, _) => {
                if let Value::List(items) = &mut value.value {
                    items.iter_mut().for_each(|item| gather(item, ty, target, found));
                }
            }
            _ => {}
        }
    }
}

/// The resources that the compiler makes of texts, one for each.
fn compile(texts: &[Option<String>], target: &Target) -> Vec<Tree> {
    let origin = Origin::root("", Place::START);
    let resource = |text: &Option<String>| {
        let bytes = text.as_deref().unwrap_or_default().as_bytes();
        let source = Source::Bytes(bytes.into());
        let waiting = Waiting { source, forms: Forms::of(target, false) };
        let source = Tree { origin: origin.clone(), value: Value::Data(Data::Waiting(waiting)) };
        Tree::map_at(&origin, vec![("source", source)])
    };
    let mut made = Tree::list_at(&origin, texts.iter().map(resource).collect());
    pack(&mut made, &mut Findings::new(""));
    match made.value {
        Value::List(made) => made,
        _ => Vec::new(),
    }
}

/// Whether the compiler made of a text what the resource says.
fn comes_back(resource: &Tree, made: &Tree) -> bool {
    if made.text("compression") != resource.text("compression") {
        return false;
    }
    // The reference's gzip is not ours: the bytes differ, the text and how it is sent do not.
    let is_reference = || {
        made.text("compression") == Some(GZIP)
            && data_url::decode(resource.text("source").unwrap_or_default())
                .is_ok_and(|bytes| bytes.starts_with(&GO_GZIP))
    };
    made.text("source") == resource.text("source") || is_reference()
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
