//! One field in words.

use std::fmt::Write;

use super::example::example;
use super::facts::{self, Fact, Shape};
use super::place::{Step, Way};
use super::{VARIABLES, butane_page, ignition_page};
use crate::schema::{Kind, Type};
use crate::version::{TARGETS, Target};

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// There is no such field.
    #[error("{ty} has no `{name}`")]
    Unknown {
        /// The mapping that was looked into.
        ty: &'static str,
        /// What was looked for.
        name: String,
        /// Fields that may be meant.
        near: Vec<String>,
    },
    /// The field holds one value.
    #[error("`{path}` is not a mapping: nothing like `{name}` is below it")]
    NotAMapping {
        /// The field.
        path: String,
        /// What was looked for below it.
        name: String,
    },
}

impl ExplainError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let ExplainError::Unknown { near, .. } = self else { return None };
        match &near[..] {
            [] => Some("without a path, everything at the top is listed".to_owned()),
            [near] => Some(format!("did you mean `{near}`?")),
            near => {
                const MOST: usize = 6;
                let shown: Vec<String> =
                    near.iter().take(MOST).map(|path| format!("`{path}`")).collect();
                let more = near.len().saturating_sub(MOST);
                let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
                Some(format!("it is in {}{rest}", shown.join(", ")))
            }
        }
    }
}

/// Says what a field of a config is: `storage.files.mode`, `$.storage.files.0.mode` and `storage.files[].mode` all
/// name one; Ignition's names are known too. The empty path is the whole config.
///
/// The text has several lines and a final newline: what the field does, what it becomes in Ignition, which variants
/// have it since when, default, allowed values and rules, its own fields, an example, and the specification's pages.
///
/// # Errors
/// When there is no such field; [`ExplainError::hint`] names similar ones.
pub fn explain(path: &str) -> Result<String, ExplainError> {
    if path.trim_start_matches(['$', '.']) == "variables" {
        return Ok(variables());
    }
    let way = Way::find(path)?;
    let mut text = String::new();
    if let Some(step) = way.last() {
        heading(&way, step, &mut text);
        table(&way, step, &mut text);
    } else {
        text.push_str("A Butane config is a mapping in YAML.\n");
    }
    if let Some(ty) = way.inner() {
        fields(&way, ty, &mut text);
    }
    if !way.steps.is_empty() {
        text.push_str("\nExample:\n");
        for line in example(&way).lines() {
            let indent = if line.is_empty() { "" } else { "  " };
            let _ = writeln!(text, "{indent}{line}");
        }
    }
    if let Some(target) = page(&way) {
        let _ = write!(text, "\nSpecification:\n  {}\n", butane_page(target));
        if way.ignition().is_ok() {
            let _ = writeln!(text, "  {}", ignition_page(target));
        }
    }
    Ok(text)
}

fn variables() -> String {
    let mut text = "variables: a mapping of names to what the values are\n\n".to_owned();
    for line in wrap(VARIABLES, "") {
        let _ = writeln!(text, "{line}");
    }
    text.push_str(
        "\nExample:
  variables:
    hostname: text
    port: {type: integer, default: 8080, description: where the exporter listens}
  storage:
    files:
    - path: /etc/hostname
      contents:
        inline: ${{ hostname }}
",
    );
    text
}

fn heading(way: &Way, step: &Step, text: &mut String) {
    let kind = match step.row().kind {
        Kind::Texts(_) => "a list of texts".to_owned(),
        Kind::Maps(ty, _) => format!("a list; each item is {}", ty.name),
        Kind::Labels => "a mapping of names to texts".to_owned(),
        kind => kind.wanted().to_owned(),
    };
    let _ = writeln!(text, "{way}: {kind}\n");
    for line in wrap(step.row().doc, "") {
        let _ = writeln!(text, "{line}");
    }
}

/// What is known of the field, one line each.
fn table(way: &Way, step: &Step, text: &mut String) {
    let fact = facts::of(step.ty, step.name());
    let mut rows: Vec<(&str, String)> = Vec::new();
    match way.ignition() {
        Ok(path) => rows.push(("Ignition", format!("`{path}`"))),
        Err(sugar) => rows.push(("Ignition", becomes(way, sugar))),
    }
    rows.push(("Since", since(way)));
    let refused = refused(way);
    if !refused.is_empty() {
        rows.push(("Refused", refused));
    }
    if !fact.default.is_empty() {
        rows.push(("Default", fact.default.to_owned()));
    }
    if let Some(values) = values(&fact, way) {
        rows.push(("Values", values));
    }
    if fact.is_required {
        rows.push(("Needed", "always".to_owned()));
    }
    if !fact.rule.is_empty() {
        rows.push(("Rule", fact.rule.to_owned()));
    }
    text.push('\n');
    for (name, value) in rows {
        for (index, line) in wrap(&value, "          ").iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            let _ = writeln!(text, "{name:10}{}", line.trim_start());
        }
    }
}

/// What sugar becomes; the innermost step that knows says it.
fn becomes(way: &Way, sugar: &Step) -> String {
    let known = way.steps.iter().rev().find_map(|step| {
        let becomes = facts::of(step.ty, step.name()).becomes;
        (!becomes.is_empty()).then_some(becomes)
    });
    match known {
        Some(becomes) => format!("sugar for {becomes}"),
        None => format!("sugar, part of `{}`", sugar.name()),
    }
}

/// `fcos 1.0.0, openshift 4.8.0 to 4.13.0`: the first version of each variant, and the last when newer ones have it
/// no more.
fn since(way: &Way) -> String {
    let mut parts: Vec<String> = Vec::new();
    for variant in variants() {
        let all: Vec<&Target> = TARGETS.iter().filter(|target| target.variant == variant).collect();
        let has: Vec<&Target> = way.targets().filter(|target| target.variant == variant).collect();
        let (Some(first), Some(last)) = (has.first(), has.last()) else { continue };
        let is_newest = all.last().is_some_and(|newest| newest.version == last.version);
        parts.push(match is_newest {
            true => format!("{variant} {}", first.version),
            false if first.version == last.version => format!("{variant} {} only", first.version),
            false => format!("{variant} {} to {}", first.version, last.version),
        });
    }
    parts.join(", ")
}

/// The variants that know the field and refuse it, with the versions when it is not all of them.
fn refused(way: &Way) -> String {
    let mut parts: Vec<String> = Vec::new();
    for variant in variants() {
        let all = || TARGETS.iter().filter(|target| target.variant == variant);
        let refuse: Vec<&Target> = all().filter(|target| way.is_refused(target)).collect();
        let (Some(first), Some(last)) = (refuse.first(), refuse.last()) else { continue };
        let is_first = all().next().is_some_and(|oldest| oldest.version == first.version);
        let is_last = all().next_back().is_some_and(|newest| newest.version == last.version);
        parts.push(match (is_first, is_last) {
            (true, true) => format!("by {variant}"),
            (true, false) => format!("by {variant} up to {}", last.version),
            (false, true) => format!("by {variant} from {} on", first.version),
            (false, false) => format!("by {variant} {} to {}", first.version, last.version),
        });
    }
    parts.join(", ")
}

fn values(fact: &Fact, way: &Way) -> Option<String> {
    let Shape::Values(values) = fact.shape else { return None };
    let quote = |values: Vec<&str>| {
        let quoted: Vec<String> = values
            .iter()
            .filter(|value| !value.is_empty())
            .map(|value| format!("`{value}`"))
            .collect();
        quoted.join(", ")
    };
    Some(quote(values(page(way)?)))
}

/// The target whose specification is shown: the newest final one that takes the field, of the first variant that does.
fn page(way: &Way) -> Option<&'static Target> {
    let targets: Vec<&'static Target> = way.targets().collect();
    let is_final = |target: &&&'static Target| !target.version.ends_with("-experimental");
    let variant = targets.iter().find(|target| is_final(target)).or(targets.first())?.variant;
    let mut own = targets.iter().filter(|target| target.variant == variant);
    own.clone().rfind(is_final).or(own.next_back()).copied()
}

fn variants() -> Vec<&'static str> {
    let mut variants: Vec<&str> = TARGETS.iter().map(|target| target.variant).collect();
    variants.dedup();
    variants
}

/// The fields of a mapping, one line each.
fn fields(way: &Way, ty: &'static Type, text: &mut String) {
    let mut names: Vec<&'static str> = ty.fields.iter().filter_map(|field| field.name).collect();
    names.dedup();
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    text.push_str("\nFields:\n");
    if way.steps.is_empty() {
        let sentence = VARIABLES.split(": `").next().unwrap_or(VARIABLES);
        let _ = writeln!(text, "  {:16}  {sentence}", "variables");
    }
    for name in names {
        let Some(field) = ty.fields.iter().rfind(|field| field.name == Some(name)) else {
            continue;
        };
        let mut below = way.clone();
        let rows = ty.fields.iter().filter(|row| row.name == Some(name)).collect();
        below.steps.push(Step { ty, rows });
        let first = match way.targets().next().map(|target| target.variant) {
            Some("fcos") | None => newer_than(way, &below),
            Some(_) => String::new(),
        };
        let sentence = field.doc.split("; ").next().unwrap_or(field.doc).trim_end_matches('.');
        let _ = writeln!(text, "  {name:width$}  {sentence}{first}");
    }
}

/// ` (fcos 1.5.0)` for a field that came later than what it is in.
fn newer_than(way: &Way, field: &Way) -> String {
    let first = |way: &Way| way.targets().next();
    match (first(way), first(field)) {
        (Some(outer), Some(inner))
            if outer.version == inner.version && outer.variant == inner.variant =>
        {
            String::new()
        }
        (_, Some(inner)) => format!(" ({} {})", inner.variant, inner.version),
        (_, None) => String::new(),
    }
}

/// Lines of at most 100 characters, each behind `indent`.
fn wrap(text: &str, indent: &str) -> Vec<String> {
    const WIDTH: usize = 100;
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the start");
        if line.len() > indent.len() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{indent}{word}"));
        } else {
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
