//! What the kubelet would make of a file in its static pod directory: which pod it names.
//!
//! Two files that name one pod silently become one pod, and the file whose name sorts last wins. So the agent has to
//! know the names inside other people's files, without trusting them in any other way.

use libyaml_safer::{EventData, Parser};

/// The pod that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodIdentity {
    /// `metadata.namespace`, `default` when absent.
    pub(crate) namespace: String,
    /// `metadata.name`.
    pub(crate) name: String,
    /// `metadata.uid`; two files with one uid become one pod as well.
    pub(crate) uid: Option<String>,
}

impl std::fmt::Display for PodIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Larger texts are not read for their names.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Deeper texts neither: the parser's time grows with the square of the depth, and pods are not this deep.
const MAX_DEPTH: usize = 64;

/// Finds the names in the first document of a manifest, YAML or JSON. As in the kubelet, the last of two equal keys
/// wins. `None` when the text is not well formed or names no pod.
pub(crate) fn pod_identity(text: &str) -> Option<PodIdentity> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let mut input = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut input);

    let mut found = Found::default();
    let mut place = Vec::new();
    loop {
        if place.len() > MAX_DEPTH {
            return None;
        }
        match parser.parse().ok()?.data {
            EventData::Scalar { value, .. } => match place.last_mut() {
                Some(Level { is_mapping: true, key: key @ None }) => *key = Some(value),
                _ => {
                    found.note(&place, value);
                    finish_value(&mut place);
                }
            },
            EventData::Alias { .. } => match place.last_mut() {
                Some(Level { is_mapping: true, key: key @ None }) => *key = Some(String::new()),
                _ => finish_value(&mut place),
            },
            EventData::MappingStart { .. } => place.push(Level { is_mapping: true, key: None }),
            EventData::SequenceStart { .. } => place.push(Level { is_mapping: false, key: None }),
            EventData::MappingEnd | EventData::SequenceEnd => {
                place.pop();
                match place.last_mut() {
                    // A collection as a key cannot lead to a name.
                    Some(Level { is_mapping: true, key: key @ None }) => *key = Some(String::new()),
                    _ => finish_value(&mut place),
                }
            }
            EventData::DocumentEnd { .. } | EventData::StreamEnd => break,
            EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
        }
    }
    Some(PodIdentity {
        namespace: found.namespace.filter(|name| !name.is_empty()).unwrap_or("default".into()),
        name: found.name?,
        uid: found.uid,
    })
}

/// One collection around the current place.
struct Level {
    is_mapping: bool,
    /// The key whose value comes next.
    key: Option<String>,
}

#[derive(Default)]
struct Found {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
}

impl Found {
    fn note(&mut self, place: &[Level], value: String) {
        let [Level { key: Some(outer), .. }, Level { key: Some(inner), .. }] = place else {
            return;
        };
        match (outer.as_str(), inner.as_str()) {
            ("metadata", "name") => self.name = Some(value),
            ("metadata", "namespace") => self.namespace = Some(value),
            ("metadata", "uid") => self.uid = Some(value),
            _ => {}
        }
    }
}

fn finish_value(place: &mut [Level]) {
    if let Some(level) = place.last_mut() {
        level.key = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(pod_identity(text).map(|pod| pod.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn names() {
        check("metadata:\n  name: a\n", Some("default/a"));
        check("metadata: {name: a, namespace: b}\n", Some("b/a"));
        check(
            r#"{"kind":"Pod","metadata":{"labels":{"name":"no"},"name":"a"}}"#,
            Some("default/a"),
        );
        check(
            "# comment\nmetadata:\n  labels:\n    name: no\n  name: a\n  name: b\n",
            Some("default/b"),
        );
        check("spec:\n  name: no\n- bad", None);
        check("spec:\n  containers:\n  - name: no\nmetadata:\n  name: a\n", Some("default/a"));
        check("? [metadata]\n: x\nmetadata: {name: a}\n", Some("default/a"));
        check("metadata: {name: a}\n---\nmetadata: {name: b}\n", Some("default/a"));
        check("[metadata, name]\n", None);
        check("", None);
        check("not a manifest", None);
        check("metadata: &m {name: a}\nother: *m\n", Some("default/a"));
        check("\0\u{1}", None);
        check(&"[".repeat(100_000), None);
        assert_eq!(pod_identity("metadata: {name: a, uid: x}").unwrap().uid.as_deref(), Some("x"));
    }
}
