//! Text → documents, ready to be compiled.

use basalt_model::yaml::{self, Value as YamlValue, Yaml};

use super::{Source, escapes};
use crate::tree::Findings;
use crate::variables::Variables;
use crate::version;

/// What a document is compiled to.
const HEAD: [&str; 2] = ["variant", "version"];

/// Belongs to the head, for openshift.
const METADATA: &str = "metadata";

/// Reads the documents of a file and puts the values of variables in. `None` means that errors were reported.
pub(crate) fn documents(
    source: Source,
    variables: &mut Variables,
    findings: &mut Findings,
) -> Option<Vec<Yaml>> {
    let mut read = Findings::new(source.file);
    let documents = yaml::parse_all(source.bytes, &mut read.0);
    findings.0.absorb(read.0);
    let mut documents = documents?;
    documents.retain(|document| !document.is_null());
    if documents.is_empty() {
        version::nothing(source.file, findings);
        return None;
    }
    escapes::refuse_slashes(source.bytes, &documents, findings, source.file);
    variables.fill_in(source.file, &mut documents, findings);
    for index in 1..documents.len() {
        let (before, document) = documents.split_at_mut(index);
        inherit(&before[index - 1], &mut document[0]);
    }
    Some(documents)
}

/// Gives a document without a head the one of the document before it.
fn inherit(before: &Yaml, document: &mut Yaml) {
    let (YamlValue::Map(before), YamlValue::Map(entries)) = (&before.value, &mut document.value)
    else {
        return;
    };
    let has = |entries: &[(Yaml, Yaml)], name: &str| {
        entries.iter().any(|(key, _)| key.as_scalar().is_some_and(|key| key.text == name))
    };
    if HEAD.iter().any(|name| has(entries, name)) {
        return;
    }
    let needs_metadata = !has(entries, METADATA);
    let is_inherited = |name: &str| HEAD.contains(&name) || (needs_metadata && name == METADATA);
    let head = before
        .iter()
        .filter(|(key, _)| key.as_scalar().is_some_and(|key| is_inherited(&key.text)))
        .cloned();
    let head: Vec<_> = head.collect();
    entries.splice(0..0, head);
}
