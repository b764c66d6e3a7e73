//! Contents in the config itself: `inline` and `local` become `source`.

use crate::data::{Data, Forms, Source, Waiting};
use crate::local::{self, Found};
use crate::lower::Context;
use crate::tree::{Origin, Tree, Value};
use crate::version::Target;

/// Fills in `source` of a lowered resource from `inline` or `local` of the one that was written.
pub(crate) fn fill(written: &Tree, lowered: &mut Tree, context: &mut Context) {
    // When several are set, the rules have reported it; the last one that the reference looks at wins.
    if let Some(path) = written.get("local") {
        match path.as_text().map(|text| local::find(context.files_dir, text)) {
            Some(Ok(file)) => embed_file(&path.origin, file, lowered, context.target),
            Some(Err(error)) => {
                local::report(&error, &path.origin, context.findings);
                lowered.set("source", Tree { origin: path.origin.clone(), value: Value::Broken });
            }
            None => lowered.set("source", path.clone()),
        }
    }
    if let Some(inline) = written.get("inline") {
        match inline.as_text() {
            Some(text) => embed(inline, text.as_bytes(), lowered, context.target),
            None => lowered.set("source", inline.clone()),
        }
    }
}

/// Puts `contents`, which came from the field `from`, into a lowered resource.
pub(crate) fn embed(from: &Tree, contents: &[u8], lowered: &mut Tree, target: &Target) {
    embed_source(&from.origin, Source::Bytes(contents.into()), lowered, target);
}

/// Puts a file, which `origin` asks for, into a lowered resource.
pub(crate) fn embed_file(origin: &Origin, file: Found, lowered: &mut Tree, target: &Target) {
    embed_source(origin, Source::File(file), lowered, target);
}

fn embed_source(origin: &Origin, source: Source, lowered: &mut Tree, target: &Target) {
    let forms = Forms::of(target, lowered.some_text("compression").is_some());
    let value = Value::Data(Data::Waiting(Waiting { source, forms }));
    lowered.set("source", Tree { origin: origin.clone(), value });
}
