//! Configs of a compose file: texts that a service finds as files. They go with the pod.
//!
//! Rules: <https://github.com/compose-spec/compose-spec/blob/main/08-configs.md>

use std::collections::BTreeMap;

use basalt_model::names::FileName;

use super::super::draft::{Draft, Mount, MountSource};
use super::super::environment::Read;
use super::super::notes::{At, Notes};
use super::super::secrets::{self, file_name};
use super::super::{CarriedFile, Reference};
use super::service::only;
use super::tree::{Entry, Node, is_hidden};
use super::{at, item_at};

/// The texts of a file's configs; `None` for one that nobody here knows, which is noted.
pub(super) type Configs = BTreeMap<String, Option<String>>;

/// Compose's own: everybody may read it.
pub(super) const MODE: u32 = 0o444;

/// The text of a config of the file.
pub(super) fn of_file(
    config: &Entry,
    variables: &BTreeMap<String, String>,
    read: &mut Read<'_>,
    notes: &mut Notes,
) -> Option<String> {
    let path = format!("configs.{}", config.key);
    let whole = at(config, &path);
    let mut text = None;
    let mut is_told = false;
    for entry in config.node.entries() {
        let at = at(entry, &format!("{path}.{}", entry.key));
        let value = entry.node.text();
        match (entry.key.as_str(), value) {
            ("content", Some(value)) => {
                notes.carried(&at, "as a file of the pods that mount it");
                text = Some(value.to_owned());
            }
            ("file", Some(value)) => {
                let (from, path) = entry.node.spot.origin.reference(value);
                match read(Reference { from: &from, path: &path }) {
                    Ok(found) => {
                        notes.carried(&at, "as a file of the pods that mount it");
                        text = Some(found);
                    }
                    Err(error) => {
                        is_told = true;
                        let message = format!("the file was not read ({error})");
                        notes.broken(&at, message, "put the file where the path says");
                    }
                }
            }
            ("environment", Some(name)) => match variables.get(name) {
                Some(value) if !is_hidden(name, value) => {
                    notes.carried(&at, "as a file of the pods that mount it");
                    text = Some(value.clone());
                }
                Some(_) => {
                    is_told = true;
                    let message = format!("the variable `{name}` is a secret, and is not put in");
                    notes.broken(&at, message, VAULT);
                }
                None => {
                    is_told = true;
                    let message = format!("nothing that was given sets the variable `{name}`");
                    notes.broken(&at, message, "set it in `.env` beside the file");
                }
            },
            ("external", Some("true")) => {
                is_told = true;
                notes.broken(
                    &at,
                    "the config is kept elsewhere, and nobody here knows what is in it",
                    "write its text as `content`, or name a `file` that holds it",
                );
            }
            ("external", _) => notes.carried(&at, "as it is by itself"),
            ("name", _) => notes.carried(&at, "a file of the pod is called as the config is here"),
            ("labels", _) => notes.carried(&at, "nobody looks for a file by label"),
            ("template_driver", _) => notes.broken(
                &at,
                "the text is taken as it is: nothing fills in a template",
                "write the text as it is to be",
            ),
            (key, _) if key.starts_with("x-") => {
                notes.carried(&at, "nobody reads what begins with `x-`");
            }
            _ => notes.invalid(&at, "compose files have no such field here", None),
        }
    }
    match text {
        Some(text) => {
            notes.carried(&whole, "as a file of the pods that mount it");
            Some(text)
        }
        None => {
            if !is_told {
                notes.invalid(&whole, "it says neither `content` nor `file`", None);
            }
            None
        }
    }
}

pub(super) const VAULT: &str =
    "put the whole text into Vault, and fill in its path in the template of the snippet";

/// `configs` of a service: names, and mappings.
pub(super) fn mounts(
    draft: &mut Draft,
    path: &str,
    node: &Node,
    configs: &Configs,
    notes: &mut Notes,
) {
    for (index, item) in node.items().into_iter().enumerate() {
        let at = item_at(item, &format!("{path}[{index}]"));
        let Some(name) = item.text().or_else(|| item.text_of("source")) else {
            notes.invalid(&at, "it names no config", None);
            continue;
        };
        only(item, &at, &["source", "target", "uid", "gid", "mode"], notes);
        let Some(text) = configs.get(name) else {
            let near = basalt_model::decode::closest(name, configs.keys().map(String::as_str));
            let remedy = near.map(|near| format!("did you mean `{near}`?"));
            let message = format!("no config is called `{name}`");
            notes.invalid(&at, message, remedy.as_deref());
            continue;
        };
        let Some(mode) = mode(item, &at, notes) else { continue };
        let target = match item.text_of("target") {
            Some(target) if target.starts_with('/') => target.to_owned(),
            target => format!("/{}", target.unwrap_or(name)),
        };
        match text {
            None => notes.broken(
                &at,
                "what is in the config is not known, so it is not mounted",
                &format!("see to `configs.{name}`"),
            ),
            Some(text) if secrets::is_in(text) => {
                let file = file_name(&format!("{}-{name}", draft.name));
                draft.mount_secret(&file, &target);
                let message = "the text holds a secret: it is left out, and a file that vault-agent writes takes its place";
                notes.broken(&at, message, VAULT);
            }
            Some(text) => mount(draft, name, text, Placed { target, mode }, &at, notes),
        }
    }
}

/// Where a config is found, and who may read it.
struct Placed {
    target: String,
    mode: u32,
}

fn mount(draft: &mut Draft, name: &str, text: &str, placed: Placed, at: &At, notes: &mut Notes) {
    let Placed { target, mode } = placed;
    let Ok(name) = name.parse::<FileName>() else {
        let message = format!("`{name}` cannot be the name of a file of a pod");
        notes.broken(at, message, "call the config by letters, digits, `.`, `_` and `-`");
        return;
    };
    match draft.files.iter().find(|file| file.name == name.as_str()) {
        None => {
            let file = CarriedFile { name: name.to_string(), contents: text.to_owned(), mode };
            draft.files.push(file);
        }
        Some(file) if file.mode != mode => {
            let message = format!("it is one file with one mode, {:04o}", file.mode);
            notes.changed(at, message, "write the same mode wherever the service mounts it");
        }
        Some(_) => {}
    }
    let source = MountSource::Carried(name.to_string());
    draft.mount(Mount { source, target, read_only: true, propagation: None });
    notes.carried(at, "as a file of the pod");
}

/// The mode of the file; `None` when it is none. Root owns it, whoever it is to belong to.
fn mode(item: &Node, at: &At, notes: &mut Notes) -> Option<u32> {
    let mode = match item.text_of("mode") {
        None => MODE,
        Some(text) => match number(text).filter(|(mode, _)| *mode <= 0o777) {
            Some((mode, Written::Clearly)) => mode,
            Some((mode, Written::AsEither)) => {
                notes.changed(
                    at,
                    format!("the mode is {mode:04o}; without quotes, compose takes it for a decimal number"),
                    "write it with a leading zero",
                );
                mode
            }
            None => {
                notes.invalid(at, "the mode is no octal number", Some("write it as `0440`"));
                return None;
            }
        },
    };
    let is_others = |key| item.text_of(key).is_some_and(|id| id != "0");
    match (is_others("uid") || is_others("gid"), mode & 0o004 != 0) {
        (false, _) => {}
        (true, true) => notes.changed(
            at,
            "the file belongs to root, and everybody may read it",
            "check that this is enough for the program",
        ),
        (true, false) => notes.broken(
            at,
            "the file belongs to root, and the program may not read it",
            "let others read it: `mode: 0444`",
        ),
    }
    Some(mode)
}

/// Whether a number can be meant in one way alone.
enum Written {
    Clearly,
    AsEither,
}

/// A mode: octal in quotes, and behind a zero or `0o`. Else it is decimal, as compose itself prints it.
fn number(text: &str) -> Option<(u32, Written)> {
    if let Some(digits) = text.strip_prefix("0o").or_else(|| text.strip_prefix('0')) {
        let digits = if digits.is_empty() { "0" } else { digits };
        return Some((u32::from_str_radix(digits, 8).ok()?, Written::Clearly));
    }
    match u32::from_str_radix(text, 8) {
        Ok(mode) => Some((mode, Written::AsEither)),
        Err(_) => Some((text.parse().ok()?, Written::Clearly)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (text, expected) in [
            ("0440", Some((0o440, true))),
            ("0o440", Some((0o440, true))),
            ("0", Some((0, true))),
            ("288", Some((0o440, true))),
            ("440", Some((0o440, false))),
            ("rw", None),
            ("-1", None),
        ] {
            let found = number(text).map(|(mode, how)| (mode, matches!(how, Written::Clearly)));
            assert_eq!(found, expected, "{text}");
        }
    }
}
