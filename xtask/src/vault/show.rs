//! How changes are shown: for people, and as a document.

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use similar::TextDiff;
use x509_parser::pem::Pem;

use super::change::{Change, FieldChange};
use super::object::prefix;
use super::seen::hex;

/// What `cargo xtask vault plan --output json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Document<'d> {
    /// Always 1.
    schema: u32,
    /// The server that was asked.
    address: &'d str,
    /// In the order in which they are made; none when Vault has what the cluster needs.
    changes: Vec<Row>,
    /// What a person has to know or do.
    notes: &'d [String],
}

/// One change.
#[derive(Debug, Serialize)]
struct Row {
    /// `mount`, `tune`, `root`, `write` or `policy`.
    kind: &'static str,
    /// The path in Vault's API, or the policy's name.
    path: String,
    /// Whether there is nothing yet.
    is_new: bool,
    /// What is made first.
    waits_for: Vec<String>,
    /// Each field that differs.
    fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
struct Field {
    name: String,
    from: Option<Json>,
    to: Json,
}

/// The changes as a document.
pub(super) fn document<'d>(
    address: &'d str,
    changes: &[Change],
    notes: &'d [String],
) -> Document<'d> {
    Document { schema: 1, address, changes: changes.iter().map(row).collect(), notes }
}

fn row(change: &Change) -> Row {
    let field =
        |name: &str, from: Option<Json>, to: Json| Field { name: name.to_owned(), from, to };
    let (kind, path, is_new, fields) = match change {
        Change::Enable(mount) => {
            let fields = vec![field("type", None, mount.engine.into())];
            ("mount", format!("{}{}", prefix(mount.kind), mount.path), true, fields)
        }
        Change::Lengthen { mount, from, to } => {
            let fields = vec![field("max_lease_ttl", Some((*from).into()), (*to).into())];
            ("tune", format!("{}{}", prefix(mount.kind), mount.path), false, fields)
        }
        Change::MakeRoot(root) => {
            let fields = vec![field("common_name", None, root.common_name.as_str().into())];
            ("root", root.mount.clone(), true, fields)
        }
        Change::Write { entry, is_new, fields } => {
            let fields = fields.iter().map(|it| field(&it.name, it.from.clone(), it.to.clone()));
            ("write", entry.path.clone(), *is_new, fields.collect())
        }
        Change::SetPolicy { policy, old } => {
            let from = old.as_deref().map(Json::from);
            let fields = vec![field("policy", from, policy.text.as_str().into())];
            ("policy", policy.name.clone(), old.is_none(), fields)
        }
    };
    Row { kind, path, is_new, waits_for: change.waits_for().to_vec(), fields }
}

/// The changes for people. `+` is new, `~` changes.
pub(super) fn text(changes: &[Change], notes: &[String]) -> String {
    let mut text = String::new();
    for change in changes {
        // Writing to a text cannot fail.
        let _ = write_change(&mut text, change);
        if !change.waits_for().is_empty() {
            let _ = writeln!(text, "    (after {})", change.waits_for().join(" and "));
        }
    }
    for note in notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn write_change(text: &mut String, change: &Change) -> std::fmt::Result {
    match change {
        Change::Enable(mount) => {
            let version =
                mount.version.map_or_else(String::new, |version| format!(" version {version}"));
            writeln!(text, "+ {}{}: {}{version}", prefix(mount.kind), mount.path, mount.engine)
        }
        Change::Lengthen { mount, from, to } => {
            writeln!(
                text,
                "~ {}{}\n    max_lease_ttl: {from} -> {to}",
                prefix(mount.kind),
                mount.path
            )
        }
        Change::MakeRoot(root) => {
            writeln!(text, "+ {}: an issuer, the root `{}`", root.mount, root.common_name)
        }
        Change::Write { entry, is_new, fields } => {
            writeln!(text, "{} {}", if *is_new { '+' } else { '~' }, entry.path)?;
            // A new role has many fields that only keep it small.
            let says_something = |field: &&FieldChange| !*is_new || !is_empty(&field.to);
            for field in fields.iter().filter(says_something) {
                match &field.from {
                    Some(from) => writeln!(
                        text,
                        "    {}: {} -> {}",
                        field.name,
                        short(from),
                        short(&field.to)
                    )?,
                    None => writeln!(text, "    {}: {}", field.name, short(&field.to))?,
                }
            }
            Ok(())
        }
        Change::SetPolicy { policy, old } => {
            writeln!(text, "{} policy {}", if old.is_none() { '+' } else { '~' }, policy.name)?;
            write_lines(text, old.as_deref().unwrap_or_default(), &policy.text)
        }
    }
}

/// Unchanged lines that are shown before and after those that change, to know where they are: the path of a block.
const AROUND: usize = 2;

/// Line by line what changes, as `diff -u` shows it; of what is new, all.
fn write_lines(text: &mut String, old: &str, new: &str) -> std::fmt::Result {
    if old.is_empty() {
        let mut lines = new.lines().filter(|line| !line.is_empty());
        return lines.try_for_each(|line| writeln!(text, "    + {line}"));
    }
    let diff = TextDiff::from_lines(old.trim_end(), new.trim_end());
    for (index, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if index > 0 {
            writeln!(text, "    ...")?;
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = change.value().trim_end();
            writeln!(text, "{}", format!("    {} {line}", change.tag()).trim_end())?;
        }
    }
    Ok(())
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Array(items) => items.is_empty(),
        Json::Bool(is_set) => !is_set,
        Json::Null => true,
        Json::String(text) => text.is_empty(),
        Json::Number(_) | Json::Object(_) => false,
    }
}

/// A value in one line; certificates by the begin of their SHA-256, which is what differs.
fn short(value: &Json) -> String {
    match value {
        Json::String(text) if text.contains("-----BEGIN CERTIFICATE") => {
            let blocks = Pem::iter_from_buffer(text.as_bytes());
            let names = blocks.map(|block| match block {
                Ok(block) => hex(&Sha256::digest(&block.contents))[..12].to_owned(),
                Err(_) => "unreadable".to_owned(),
            });
            format!("sha256 {}", names.collect::<Vec<_>>().join(", "))
        }
        Json::String(text) if text.is_empty() => "\"\"".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(old: &str, new: &str, expected: &str) {
        let mut text = String::new();
        write_lines(&mut text, old, new).unwrap();
        assert_eq!(text, expected);
    }

    #[test]
    fn a_policy_changes_line_by_line() {
        let block = |path: &str, right: &str| format!("\npath \"{path}\" {{\n  {right}\n}}\n");
        let rest = ["b", "c", "d"].map(|path| block(path, &format!("read {path}"))).concat();
        let last = block("e", "read e");
        let old = format!("{}{rest}{last}", block("a", "read"));
        check(&old, &old, "");
        check(&old, &format!("{old}\n"), "");
        // What stays between two changes is not shown as changed.
        let new = format!("{}{rest}{}", block("a", "update"), last.replace("read", "update"));
        check(
            &old,
            &new,
            "
      path \"a\" {
    -   read
    +   update
      }

    ...

      path \"e\" {
    -   read e
    +   update e
      }
",
        );
        check("", "path \"a\" {\n\n}\n", "    + path \"a\" {\n    + }\n");
    }
}
