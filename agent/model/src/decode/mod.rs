//! Tree → typed input: every problem at once, each with its place.
//!
//! A type that may stand in a file implements [`Decode`]; [`record!`](crate::record) writes the implementation for a
//! struct from one list of fields, and with it the field's entry in the JSON Schema, so that the types, what is
//! accepted and what editors are told cannot drift apart.

mod kinds;
mod record;

use std::fmt;

use serde_json::{Map, Value as Json};

pub use kinds::{Between, Located};
pub use record::ObjectSchema;

use crate::report::{Place, Report};
use crate::secret_value::quoted;
use crate::yaml::{Value, Yaml, repeated_keys};

/// A type that can be read from a [`Yaml`] value.
pub trait Decode: Sized {
    /// Reads the value. Both `None` and a value that is not whole mean that at least one error was reported.
    ///
    /// So that one bad value does not hide what is wrong with the others, as much as possible is read: a list or mapping
    /// goes without its bad items, an optional field is absent, a required one has its [`Decode::stand_in`].
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self>;

    /// The value of a field that is not there; `None` makes the field required.
    fn absent() -> Option<Self> {
        None
    }

    /// A value for one that could not be read, for a document that is refused anyway. `None` gives up what it is part of.
    fn stand_in() -> Option<Self> {
        None
    }

    /// The JSON Schema (draft 2020-12) of the type. Named types add themselves to `definitions` and are referred to.
    fn schema(definitions: &mut Map<String, Json>) -> Json;
}

/// Where decoding stands: the path to the current value, and the report.
pub struct Decoder<'r> {
    report: &'r mut Report,
    path: String,
    /// How many lists and mappings of items the current value is in.
    depth: usize,
}

impl<'r> Decoder<'r> {
    /// Starts at the root of a document.
    pub fn new(report: &'r mut Report) -> Self {
        Decoder { report, path: String::new(), depth: 0 }
    }

    /// The path to the current value, `nodes[1].addresses`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Reports an error at the current path, whose value then counts as unread.
    pub fn error(
        &mut self,
        place: Place,
        message: impl Into<String>,
    ) -> &mut crate::report::Finding {
        self.report.unread(&self.path);
        self.report.error(place, &self.path, message)
    }

    /// Reports a warning at the current path.
    pub fn warning(
        &mut self,
        place: Place,
        message: impl Into<String>,
    ) -> &mut crate::report::Finding {
        self.report.warning(place, &self.path, message)
    }

    /// Reports that something else was found than was wanted.
    pub(crate) fn wrong_kind(&mut self, yaml: &Yaml, wanted: &str) {
        let found = yaml.kind();
        self.error(yaml.place, format!("{wanted} is wanted here, not {found}"));
    }

    pub(crate) fn below<T>(
        &mut self,
        segment: impl fmt::Display,
        act: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let length = self.path.len();
        let segment = segment.to_string();
        if !self.path.is_empty() && !segment.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(&segment);
        let result = act(self);
        self.path.truncate(length);
        result
    }

    /// What takes the place of a required value, unless it is part of one of many.
    fn stand_in<T: Decode>(&self) -> Option<T> {
        if self.depth == 0 { T::stand_in() } else { None }
    }

    /// As [`below`](Self::below), for one of many: a bad one is left out, and nothing stands in for it.
    fn item<T>(&mut self, segment: impl fmt::Display, act: impl FnOnce(&mut Self) -> T) -> T {
        self.depth += 1;
        let result = self.below(segment, act);
        self.depth -= 1;
        result
    }

    /// Reports keys that are there already.
    fn repeats(&mut self, entries: &[(Yaml, Yaml)]) {
        for (key, message) in repeated_keys(entries) {
            self.report.error(key.place, &self.path, message);
        }
    }

    /// The fields of a mapping. Keys that are not among `known` are errors, with a suggestion where one is close.
    pub fn fields<'y>(
        &mut self,
        yaml: &'y Yaml,
        known: &'static [&'static str],
    ) -> Option<Fields<'y>> {
        let Value::Map(entries) = &yaml.resolved().value else {
            self.wrong_kind(yaml, "a mapping");
            return None;
        };
        self.repeats(entries);
        let mut fields = Fields { place: yaml.place, entries: Vec::new() };
        for (key, value) in entries {
            let name = key.as_scalar().map_or("", |scalar| scalar.text.as_str());
            if known.contains(&name) {
                fields.entries.push((name, value));
                continue;
            }
            let hint = match closest(name, known.iter().copied()) {
                Some(suggestion) => {
                    self.below(suggestion, |decoder| decoder.report.unread(&decoder.path));
                    format!("did you mean `{suggestion}`?")
                }
                None => format!("the fields here are {}", list(known)),
            };
            self.below(name, |decoder| decoder.error(key.place, "unknown field").hint(hint));
        }
        Some(fields)
    }
}

/// The fields of one mapping while they are being taken.
pub struct Fields<'y> {
    place: Place,
    entries: Vec<(&'y str, &'y Yaml)>,
}

impl Fields<'_> {
    /// Reads the field `name`. A missing field has its default, or is an error. `None` means that an error was reported
    /// and the record cannot go without the field.
    pub fn take<T: Decode>(
        &mut self,
        name: &str,
        default: Option<T>,
        decoder: &mut Decoder<'_>,
    ) -> Option<T> {
        let entry = self.entries.iter().find(|(key, _)| *key == name);
        let otherwise = default.or_else(T::absent);
        match (entry, otherwise) {
            (Some((_, yaml)), otherwise) => {
                let value = decoder.below(name, |decoder| {
                    // What is one of many has a place of its own.
                    if decoder.depth == 0 {
                        decoder.report.stands(&decoder.path, yaml.place);
                    }
                    T::decode(yaml, decoder)
                });
                value.or(otherwise).or_else(|| decoder.stand_in())
            }
            (None, Some(value)) => Some(value),
            (None, None) => {
                let message = format!("`{name}` is missing");
                decoder.below(name, |decoder| decoder.report.unread(&decoder.path));
                decoder.report.error(self.place, &decoder.path, message);
                decoder.stand_in()
            }
        }
    }
}

/// Reads a whole document into `T`; anything behind the first document is an error.
pub fn document<T: Decode>(bytes: &[u8], report: &mut Report) -> Option<T> {
    let mut own = Report::new(report.file());
    let value = document_in_part(bytes, &mut own);
    let is_whole = !own.has_errors();
    report.absorb(own);
    value.filter(|_| is_whole)
}

/// Reads as much of a document as can be read; the value is whole when no errors were reported.
pub fn document_in_part<T: Decode>(bytes: &[u8], report: &mut Report) -> Option<T> {
    let stream = crate::yaml::parse_first(bytes, report)?;
    if let Some(place) = stream.second {
        report
            .error(place, "", "a second document")
            .hint("one file holds one document; remove the `---` and what follows");
    }
    let Some(root) = stream.first else {
        report.error(Place::START, "", "the file is empty");
        return None;
    };
    T::decode(&root, &mut Decoder::new(report))
}

/// One of a few words. Used by the implementations of [`Decode`] for enums without data.
pub fn word<T: Copy>(
    yaml: &Yaml,
    decoder: &mut Decoder<'_>,
    words: &[(&'static str, T)],
) -> Option<T> {
    let text = String::decode(yaml, decoder)?;
    let found = words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let message = format!("{} is none of {}", quoted(&text), list(&names));
        match closest(&text, names) {
            Some(name) => {
                decoder.error(yaml.place, message).hint(format!("did you mean `{name}`?"))
            }
            None => drop(decoder.error(yaml.place, message)),
        }
    }
    found
}

/// The known name that `name` is most likely a misspelling of.
pub fn closest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Enough for a swapped pair, a missing plural or another style of writing (`dnsServers`), not for another word.
    const LEAST_SIMILARITY: f64 = 0.7;
    // No name is half as long; comparing takes time and memory by the length of both.
    const LONGEST: usize = 100;
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let scored = known
        .into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(&plain(name), &plain(known)), known));
    scored
        .filter(|(score, _)| *score >= LEAST_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// `` `a`, `b` and `c` ``.
pub fn list(names: &[impl fmt::Display]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let known = ["dns_servers", "nodes", "name"];
        assert_eq!(closest("dnsServers", known), Some("dns_servers"));
        assert_eq!(closest("node", known), Some("nodes"));
        assert_eq!(closest("colour", known), None);
    }
}
