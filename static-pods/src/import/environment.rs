//! Files of variables, which are read and written into the manifest.

use std::collections::BTreeMap;

use basalt_model::report::Place;

use super::draft::Draft;
use super::interpolate::{Wrong, interpolated};
use super::notes::{At, Notes};
use super::{Reference, Unread};

/// Answers with the text of a file.
pub(super) type Read<'r> = dyn FnMut(Reference<'_>) -> Result<String, Unread> + 'r;

/// How a file of variables is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// podman-run(1) `--env-file`: what stands behind `=` is the value, quotes included.
    Podman,
    /// systemd.exec(5) `EnvironmentFile=` and the `.env` of compose files: quotes go around values.
    Quoted,
}

/// One variable of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) line: u32,
    pub(super) name: String,
    /// `None`: it is to be taken from the environment.
    pub(super) value: Option<String>,
    /// Whether `$` in it is nothing special.
    pub(super) is_literal: bool,
}

/// Adds what the draft's files of variables say to its environment, which has the last word.
pub(super) fn read_files(draft: &mut Draft, read: &mut Read<'_>, notes: &mut Notes) {
    let own: Vec<String> = draft.environment.keys().cloned().collect();
    let mut known = BTreeMap::new();
    for file in std::mem::take(&mut draft.environment_files) {
        let text = match read(Reference { from: &file.from, path: &file.path }) {
            Ok(text) => text,
            Err(error) if file.is_optional => {
                let message =
                    format!("the file was not read ({error}), and is optional: nothing is set");
                notes.lost(
                    &file.at,
                    message,
                    "name the folder that stands for the host's `/` with `--root`",
                );
                continue;
            }
            Err(error) => {
                let message =
                    format!("the file of variables was not read ({error}): none of them is set");
                notes.broken(
                    &file.at,
                    message,
                    "name the folder that stands for the host's `/` with `--root`",
                );
                continue;
            }
        };
        for variable in variables(&text, file.dialect) {
            let at = At {
                file: file.path.clone(),
                place: Place { line: variable.line, column: 1 },
                setting: variable.name.clone(),
            };
            let value = match variable.is_literal {
                true => variable.value,
                false => variable.value.map(|value| put_in(&value, &known, &at, notes)),
            };
            known.extend(value.clone().map(|value| (variable.name.clone(), value)));
            match value {
                _ if own.contains(&variable.name) => {
                    notes.carried(&at, "set otherwise by the container itself");
                }
                Some(value) => {
                    notes.carried(&at, "as `env`");
                    draft.environment.insert(variable.name, (value, at));
                }
                None => notes.broken(
                    &at,
                    "the variable is taken from the environment of podman",
                    "write its value",
                ),
            }
        }
    }
}

/// The value with the variables in it that stand before it, as compose has it.
fn put_in(value: &str, known: &BTreeMap<String, String>, at: &At, notes: &mut Notes) -> String {
    let (made, wrong) = interpolated(value, known);
    for wrong in wrong {
        let message = match wrong {
            Wrong::Unset(name) | Wrong::Required(name) => {
                format!("nothing before it sets the variable `{name}`: it is left empty")
            }
            Wrong::Syntax => "a `$` begins no variable".to_owned(),
        };
        notes.broken(at, message, "write the value in single quotes where a `$` is meant");
    }
    made
}

/// The variables of a file, in their order.
pub(super) fn variables(text: &str, dialect: Dialect) -> Vec<Variable> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim_start();
        if text.is_empty() || text.starts_with(['#', ';']) {
            continue;
        }
        let text = match dialect {
            Dialect::Podman => text,
            Dialect::Quoted => text.strip_prefix("export ").unwrap_or(text),
        };
        let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
        let name = name.trim().to_owned();
        let (value, is_literal) = match (value, dialect) {
            (Some(value), Dialect::Quoted) => {
                let (value, is_literal) = unquoted(value.trim());
                (Some(value), is_literal)
            }
            (value, _) => (value.map(str::to_owned), true),
        };
        if !name.is_empty() {
            found.push(Variable { line, name, value, is_literal });
        }
    }
    found
}

/// A value without its quotes, and without the comment behind it; and whether it was in single quotes.
fn unquoted(value: &str) -> (String, bool) {
    let inner = |quote: char| {
        let rest = value.strip_prefix(quote)?;
        let end = rest.char_indices().find(|(index, character)| {
            *character == quote && (quote == '\'' || !rest[..*index].ends_with('\\'))
        })?;
        Some(&rest[..end.0])
    };
    if let Some(inner) = inner('\'') {
        return (inner.to_owned(), true);
    }
    if let Some(inner) = inner('"') {
        let text = inner.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\");
        return (text, false);
    }
    let end = value.find(" #").unwrap_or(value.len());
    (value[..end].trim_end().to_owned(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, dialect: Dialect, expected: &[(&str, Option<&str>)]) {
        let found = variables(text, dialect);
        let seen: Vec<_> = found.iter().map(|v| (v.name.as_str(), v.value.as_deref())).collect();
        assert_eq!(seen, expected, "{text}");
    }

    #[test]
    fn dialects() {
        let text = "# no\nA=1\n B=\"x y\" \nexport C='$d' # c\n\nD\nE=a # b\n";
        check(
            text,
            Dialect::Quoted,
            &[
                ("A", Some("1")),
                ("B", Some("x y")),
                ("C", Some("$d")),
                ("D", None),
                ("E", Some("a")),
            ],
        );
        check(
            "A=1\nB=\"x y\"\nD\nE=a # b\n",
            Dialect::Podman,
            &[("A", Some("1")), ("B", Some("\"x y\"")), ("D", None), ("E", Some("a # b"))],
        );
    }
}
