//! The report of what overrode what.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use crate::merge::{Change, ChangeKind};
use crate::tree::{Origin, Value};
use crate::variables::{Marks, SECRET, Variables};

/// A value that took the place of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Override {
    /// What it is about: names of the Ignition config, with the keys of items, `storage.files[/etc/motd].mode`; of a
    /// MachineConfig `metadata.name`; of a variable `variables.port`.
    pub path: String,
    /// What happened.
    pub kind: OverrideKind,
    /// Who said it before.
    pub before: Statement,
    /// Who says it now.
    pub after: Statement,
}

/// What happened to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideKind {
    /// It has another value now.
    Replaced,
    /// All of it is gone: its path belongs to another kind of thing, or its header was taken away.
    Removed,
}

/// Something that was said in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// As the person named it; of an argument `--var NAME`.
    pub file: String,
    /// Counts from 1.
    pub line: u32,
    /// Counts from 1, in characters.
    pub column: u32,
    /// The place in the file's own words: `$.storage.files.0.mode`.
    pub path: String,
    /// The value, when it is short and one: text, a number or a boolean. `(secret)` stands for any secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
}

/// The values of variables that took the place of others.
pub(super) fn of_variables(variables: &Variables) -> Vec<Override> {
    let reassigned = variables.reassigned();
    let overrides = reassigned.iter().map(|reassigned| Override {
        path: format!("variables.{}", reassigned.name),
        kind: OverrideKind::Replaced,
        before: Statement::new(&reassigned.before, None),
        after: Statement::new(&reassigned.after, None),
    });
    overrides.collect()
}

/// What merging replaced.
pub(super) fn of_changes(changes: &[Change], marks: &Marks) -> Vec<Override> {
    changes.iter().filter_map(|change| of_change(change, marks)).collect()
}

fn of_change(change: &Change, marks: &Marks) -> Option<Override> {
    let kind = match change.kind {
        ChangeKind::Replaced => OverrideKind::Replaced,
        ChangeKind::Removed => OverrideKind::Removed,
        ChangeKind::Added => return None,
    };
    // Contents bring their own, and nobody has written it.
    if change.path.ends_with(".compression") && !change.child.path.ends_with(".compression") {
        return None;
    }
    let value = |origin: &Origin, value: &Option<Value>| {
        let value = value.as_ref()?;
        if change.is_secret || marks.is_secret(origin) {
            return Some(Json::from(SECRET));
        }
        Some(match value {
            // A person has written something else there.
            Value::Text(text) if text.starts_with("data:") => return None,
            Value::Text(text) => Json::from(text.as_str()),
            Value::Integer(number) => Json::from(*number),
            Value::Flag(flag) => Json::from(*flag),
            Value::List(_) | Value::Map(_) | Value::Labels(_) | Value::Data(_) | Value::Broken => {
                return None;
            }
        })
    };
    Some(Override {
        path: change.item_path.clone(),
        kind,
        before: Statement::new(&change.parent, value(&change.parent, &change.values.0)),
        after: Statement::new(&change.child, value(&change.child, &change.values.1)),
    })
}

impl Statement {
    fn new(origin: &Origin, value: Option<Json>) -> Statement {
        Statement {
            file: origin.file.to_string(),
            line: origin.place.line,
            column: origin.place.column,
            path: origin.path.to_string(),
            value,
        }
    }

    /// `base.bu:7:13`; an argument has its name only.
    fn place(&self) -> String {
        match self.file.starts_with("--var ") {
            true => self.file.clone(),
            false => format!("{}:{}:{}", self.file, self.line, self.column),
        }
    }

    fn value(&self, path: &str) -> Option<String> {
        Some(match self.value.as_ref()? {
            // A person has likely written a mode in octal, and reads it so.
            Json::Number(number) if path.ends_with(".mode") => {
                format!("{:04o}", number.as_i64()?)
            }
            Json::String(text) if text == SECRET => text.clone(),
            Json::String(text) => format!("`{}`", text.escape_debug()),
            other => other.to_string(),
        })
    }
}

impl fmt::Display for Override {
    /// `site.bu:4:13: storage.files[/etc/motd].mode: 0600 takes the place of 0644 of base.bu:7:13`, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Override { path, kind, before, after } = self;
        write!(f, "{}: {path}: ", after.place())?;
        match kind {
            OverrideKind::Removed => write!(f, "takes away what {} says", before.place()),
            OverrideKind::Replaced => {
                if let Some(value) = after.value(path) {
                    write!(f, "{value} ")?;
                }
                f.write_str("takes the place of ")?;
                if let Some(value) = before.value(path) {
                    write!(f, "{value} of ")?;
                }
                f.write_str(&before.place())
            }
        }
    }
}
