//! The values that variables are given: arguments and files.

use std::collections::BTreeMap;
use std::fmt;

use basalt_model::report::Place;
use basalt_model::yaml::{self, Value as YamlValue, Yaml, repeated_keys};

use super::Values;
use super::declare::Declaration;
use super::kind::Datum;
use crate::tree::{Findings, Origin};

/// Whether a file of values can be read by other users of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner, and a group at most.
    Owner,
    /// Everyone.
    Everyone,
}

/// A file of values: a YAML mapping from names to values.
#[derive(Clone, Copy)]
pub struct ValuesFile<'a> {
    /// As the person names it.
    pub file: &'a str,
    /// The text.
    pub bytes: &'a [u8],
    /// Who can read it; a secret in a file for everyone is a warning.
    pub readers: Readers,
}

impl fmt::Debug for ValuesFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ValuesFile { file, bytes: _, readers } = self;
        f.debug_struct("ValuesFile").field("file", file).field("readers", readers).finish()
    }
}

/// A value that was given.
pub(super) struct Given {
    source: Source,
    pub origin: Origin,
    /// Where the same name had a value before.
    pub before: Vec<Origin>,
}

enum Source {
    Argument(String),
    File(Yaml, Readers),
}

/// Why a given value cannot be taken.
pub(super) struct Refusal {
    pub message: String,
    pub hint: Option<String>,
}

/// Reads all values. Files count in their order, arguments above them.
pub(super) fn read(values: &Values, findings: &mut Findings) -> BTreeMap<String, Given> {
    let mut given = BTreeMap::new();
    for file in values.files {
        for (name, yaml, origin) in entries(file, findings) {
            put(&mut given, name, Source::File(yaml, file.readers), origin);
        }
    }
    let mut arguments: Vec<&str> = Vec::new();
    for argument in values.arguments {
        // What has no `=` may be a value all alone, and is not repeated.
        let Some((name, value)) = argument.split_once('=') else {
            findings
                .error(&argument_origin(""), "an argument has no `=`")
                .hint("write `--var NAME=VALUE`");
            continue;
        };
        let origin = argument_origin(name);
        if arguments.contains(&name) {
            findings.error(&origin, format!("`{name}` is given twice"));
            continue;
        }
        arguments.push(name);
        put(&mut given, name.to_owned(), Source::Argument(value.to_owned()), origin);
    }
    given
}

/// The place of an argument is its name.
fn argument_origin(name: &str) -> Origin {
    let file = format!("--var {name}");
    Origin { path: "".into(), ..Origin::root(file.trim_end(), Place::START) }
}

fn put(given: &mut BTreeMap<String, Given>, name: String, source: Source, origin: Origin) {
    let before = match given.remove(&name) {
        Some(Given { origin, before, .. }) => [before, vec![origin]].concat(),
        None => Vec::new(),
    };
    given.insert(name, Given { source, origin, before });
}

fn entries(file: &ValuesFile, findings: &mut Findings) -> Vec<(String, Yaml, Origin)> {
    let mut read = Findings::new(file.file);
    let documents = yaml::parse_all(file.bytes, &mut read.0);
    for finding in read.0.sorted() {
        let origin = Origin { path: "".into(), ..Origin::root(file.file, finding.place) };
        // A secret that begins so is not repeated.
        match finding.message.starts_with("`*") {
            true => findings
                .error(&origin, "`*` begins the name of an anchor, and this one is not set above")
                .hint("write the value in quotes"),
            false => findings.error(&origin, &finding.message).hint.clone_from(&finding.hint),
        }
    }
    let mut documents = documents.unwrap_or_default();
    documents.retain(|document| !document.is_null());
    let mut entries = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        let origin = Origin { path: "".into(), ..Origin::root(file.file, document.place) };
        if index > 0 {
            findings.error(&origin, "values are one document").hint("give several files instead");
            break;
        }
        let YamlValue::Map(fields) = document.value else {
            // What stands here may be a secret, and is not repeated.
            findings
                .error(&origin, "a mapping is wanted here")
                .hint("write a line `name: value` for each variable");
            break;
        };
        for (key, message) in repeated_keys(&fields) {
            findings.error(&origin.clone().at(key.place), message);
        }
        for (key, value) in fields {
            let at = Origin { path: "".into(), ..origin.clone() }.at(key.place);
            match key.as_scalar() {
                Some(name) => {
                    let at = Origin { path: name.text.as_str().into(), ..at }.at(value.place);
                    entries.push((name.text.clone(), value, at));
                }
                None => {
                    findings.error(&at, "the name of a variable is text");
                }
            }
        }
    }
    entries
}

impl Given {
    /// The value as `declaration` wants it.
    pub(super) fn value(&self, declaration: &Declaration) -> Result<Datum, Refusal> {
        let refusal = |message: String, hint: Option<&str>| Refusal {
            message,
            hint: hint.map(str::to_owned),
        };
        let Declaration { name, kind, is_secret, .. } = declaration;
        let (datum, found) = match &self.source {
            Source::Argument(_) if *is_secret => {
                return Err(refusal(
                    format!(
                        "`{name}` is a secret, and every user of this machine can read arguments"
                    ),
                    Some("put it into a file that only you can read, and use `--vars FILE`"),
                ));
            }
            Source::Argument(text) => (kind.read_argument(text), format!("`{text}`")),
            Source::File(yaml, _) => (kind.read(yaml), yaml.kind()),
        };
        let Some(datum) = datum else {
            let found = match is_secret {
                true => String::new(),
                false => format!(", not {found}"),
            };
            let message = format!("`{name}` is {}{found}", kind.wanted());
            let is_list = matches!((kind, &self.source), (super::Kind::List, Source::Argument(_)));
            return Err(refusal(
                message,
                is_list.then_some("give it in a file, with `--vars FILE`"),
            ));
        };
        match declaration.fault(&datum) {
            Some(fault) => Err(refusal(fault, None)),
            None => Ok(datum),
        }
    }

    /// Whether everyone can read the file that the value is from.
    pub(super) fn is_for_everyone(&self) -> bool {
        matches!(self.source, Source::File(_, Readers::Everyone))
    }
}
