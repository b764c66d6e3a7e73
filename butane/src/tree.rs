//! A config as a tree of values, each with the place in a Butane file that it comes from.
//!
//! The same tree serves on both sides of the compiler: with Butane's names it is what was written, with Ignition's
//! names it is what will be printed. A value keeps its [`Origin`] on the way, through sugar and merging, so a rule that
//! judges the Ignition config points at the YAML without a table of translations.

use std::collections::HashMap;
use std::sync::Arc;

use basalt_model::report::{Finding, Place, Report, Severity};

use crate::data::Data;

/// Where a value was written.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// The file as the person named it.
    pub file: Arc<str>,
    /// The value's first character; of a value that is missing, its nearest ancestor's.
    pub place: Place,
    /// `$.storage.files.0.mode`.
    pub path: Arc<str>,
}

impl Origin {
    /// The whole of a file.
    pub(crate) fn root(file: &str, place: Place) -> Origin {
        Origin { file: file.into(), place, path: "$".into() }
    }

    /// A field or item of this value that stands at the same place, or is missing there.
    pub(crate) fn below(&self, name: impl std::fmt::Display) -> Origin {
        Origin { path: format!("{}.{name}", self.path).into(), ..self.clone() }
    }

    /// The same value, at another place.
    pub(crate) fn at(mut self, place: Place) -> Origin {
        self.place = place;
        self
    }
}

/// A value with its origin.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub origin: Origin,
    pub value: Value,
}

/// What a config is made of. Numbers are whole in both languages.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Tree>),
    /// In the order of the schema; names are unique.
    Map(Vec<(&'static str, Tree)>),
    /// Names that a person chose, with texts, in the order of the file.
    Labels(Vec<(String, Tree)>),
    /// Contents in the config itself, as a data URL.
    Data(Data),
    /// Something was written that cannot be used, and has been reported: later rules keep silent about it.
    Broken,
}

impl Tree {
    pub(crate) fn text_at(origin: &Origin, text: impl Into<String>) -> Tree {
        Tree { origin: origin.clone(), value: Value::Text(text.into()) }
    }

    pub(crate) fn integer_at(origin: &Origin, number: i64) -> Tree {
        Tree { origin: origin.clone(), value: Value::Integer(number) }
    }

    pub(crate) fn flag_at(origin: &Origin, flag: bool) -> Tree {
        Tree { origin: origin.clone(), value: Value::Flag(flag) }
    }

    pub(crate) fn list_at(origin: &Origin, items: Vec<Tree>) -> Tree {
        Tree { origin: origin.clone(), value: Value::List(items) }
    }

    pub(crate) fn map_at(origin: &Origin, entries: Vec<(&'static str, Tree)>) -> Tree {
        Tree { origin: origin.clone(), value: Value::Map(entries) }
    }

    /// The entries of a mapping; none of anything else.
    pub(crate) fn entries(&self) -> &[(&'static str, Tree)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn list(&self) -> &[Tree] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text itself, when this is one. A data URL is made here; where the contents may be large, ask
    /// [`is_data`](Tree::is_data) first.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Data(Data::Packed(packed)) => Some(packed.url()),
            _ => None,
        }
    }

    /// Whether this is a data URL that was made here, and is as it has to be.
    pub(crate) fn is_data(&self) -> bool {
        matches!(self.value, Value::Data(_))
    }

    /// The number itself, when this is one.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        match self.value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The field `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Tree> {
        self.entries().iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The field `name`, to be changed.
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Tree> {
        match &mut self.value {
            Value::Map(entries) => {
                entries.iter_mut().find(|(key, _)| *key == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Sets the field `name` of a mapping.
    pub(crate) fn set(&mut self, name: &'static str, value: Tree) {
        match self.get_mut(name) {
            Some(old) => *old = value,
            None => {
                if let Value::Map(entries) = &mut self.value {
                    entries.push((name, value));
                }
            }
        }
    }

    /// Takes the field `name` out of a mapping.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Value::Map(entries) = &mut self.value {
            entries.retain(|(key, _)| *key != name);
        }
    }

    /// The text of the field `name`.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// The text of the field `name`, unless it is empty.
    pub(crate) fn some_text(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// The number of the field `name`.
    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_integer()
    }

    /// The flag of the field `name`.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// The items of the list `name`.
    pub(crate) fn items(&self, name: &str) -> &[Tree] {
        self.get(name).map_or(&[], Tree::list)
    }

    /// Whether `name` is neither there nor broken, nor empty.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        match self.get(name).map(|field| &field.value) {
            None => true,
            Some(Value::Text(text)) => text.is_empty(),
            Some(Value::List(items)) => items.is_empty(),
            Some(_) => false,
        }
    }

    /// Where the field `name` is, or would be.
    pub(crate) fn place_of(&self, name: &str) -> Origin {
        match self.get(name) {
            Some(field) => field.origin.clone(),
            None => self.origin.below(snake_case(name)),
        }
    }

    /// Whether two trees say the same, wherever they say it.
    pub(crate) fn says_same(&self, other: &Tree) -> bool {
        match (&self.value, &other.value) {
            (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Data(Data::Packed(a)), Value::Data(Data::Packed(b))) => a == b,
            (Value::Data(_), Value::Text(_)) | (Value::Text(_), Value::Data(_)) => {
                self.as_text() == other.as_text()
            }
            (Value::Integer(a), Value::Integer(b)) => a == b,
            (Value::Flag(a), Value::Flag(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says_same(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, a)| other.get(key).is_some_and(|b| a.says_same(b)))
            }
            _ => false,
        }
    }
}

/// Ignition's name of a field as Butane writes it: `sizeMiB` is `size_mib`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for character in name.replace("MiB", "_mib").chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// What was found, each with the file it concerns.
///
/// What is said of a value that is missing belongs where null stands for it: the second part knows where that is. The
/// third says what an unknown key is.
#[derive(Debug)]
pub(crate) struct Findings(pub Report, Nulls, Severity);

/// The places of null, by file and path.
type Nulls = HashMap<(Arc<str>, Arc<str>), Place>;

impl Findings {
    pub(crate) fn new(file: &str) -> Findings {
        Findings(Report::new(file), Nulls::new(), Severity::Warning)
    }

    /// Makes every unknown key that is found from now on an error.
    pub(crate) fn refuse_unknown_keys(mut self) -> Findings {
        self.2 = Severity::Error;
        self
    }

    /// Other findings, about the same files.
    pub(crate) fn with_report(self, report: Report) -> Findings {
        Findings(report, self.1, self.2)
    }

    /// A value is null, which is as good as missing.
    pub(crate) fn note_null(&mut self, at: &Origin) {
        self.1.insert((at.file.clone(), at.path.clone()), at.place);
    }

    /// The value cannot be used.
    pub(crate) fn error(&mut self, at: &Origin, message: impl Into<String>) -> &mut Finding {
        let finding = self.0.error(self.place(at), &at.path, message);
        finding.file = at.file.to_string();
        finding
    }

    /// The value can be used, and likely does not do what was meant.
    pub(crate) fn warning(&mut self, at: &Origin, message: impl Into<String>) -> &mut Finding {
        let finding = self.0.warning(self.place(at), &at.path, message);
        finding.file = at.file.to_string();
        finding
    }

    /// What is written there would be lost.
    pub(crate) fn unknown_key(&mut self, at: &Origin, message: impl Into<String>) -> &mut Finding {
        match self.2 {
            Severity::Error => self.error(at, message),
            Severity::Warning => self.warning(at, message),
        }
    }

    /// The place of the value, or of the null that it would be in.
    fn place(&self, at: &Origin) -> Place {
        if self.1.is_empty() {
            return at.place;
        }
        let ends = at.path.match_indices('.').map(|(end, _)| end).chain([at.path.len()]);
        let mut places =
            ends.filter_map(|end| self.1.get(&(at.file.clone(), at.path[..end].into())).copied());
        places.next_back().unwrap_or(at.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_missing_fields() {
        for (name, expected) in [
            ("sizeMiB", "size_mib"),
            ("typeGuid", "type_guid"),
            ("httpsProxy", "https_proxy"),
            ("path", "path"),
        ] {
            assert_eq!(snake_case(name), expected);
        }
    }
}
