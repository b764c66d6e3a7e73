//! What is to be reversed: its text, whether it is a MachineConfig, and the target that gives the same specification.

use std::borrow::Cow;

use basalt_model::decode::list;
use basalt_model::report::Place;
use basalt_model::yaml::{self, ScalarStyle, Value as YamlValue, Yaml, scalar};
use serde::de::IgnoredAny;

use super::raise;
use crate::decode::{Language, decode};
use crate::machine_config;
use crate::schema::config::CONFIG;
use crate::schema::machine_config::MACHINE_CONFIG;
use crate::schema::{Kind, Type};
use crate::tree::{Findings, Origin, Tree, Value};
use crate::version::{TARGETS, Target};

/// A text that was read.
pub(super) struct Source {
    root: Yaml,
    kind: SourceKind,
    pub origin: Origin,
    /// The versions of the variant that give the same specification, best first.
    pub targets: Vec<&'static Target>,
    /// Whether a compiler made it, as far as can be seen.
    is_compiled: bool,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceKind {
    Ignition,
    MachineConfig,
}

/// A config that was decoded for a target.
pub(super) struct Input {
    pub target: &'static Target,
    /// With Ignition's names.
    pub config: Tree,
    /// What Butane has besides the config: the variant and version, and the sections of a MachineConfig.
    pub header: Vec<(&'static str, Tree)>,
    /// Whether a compiler made it.
    pub is_compiled: bool,
}

impl Source {
    /// Decodes the config by the tables of `target`.
    pub(super) fn decode(&self, target: &'static Target, findings: &mut Findings) -> Input {
        let language = Language::Ignition(target);
        let decode = |ty, findings: &mut Findings| {
            decode(&self.root, ty, language, self.origin.clone(), findings)
        };
        let (mut config, header) = match self.kind {
            SourceKind::Ignition => {
                (decode(&CONFIG, findings), raise::header(&self.origin, target))
            }
            SourceKind::MachineConfig => {
                let decoded = decode(&MACHINE_CONFIG, findings);
                let config = decoded.get("spec").and_then(|spec| spec.get("config")).cloned();
                let header = raise::machine_config(&decoded, target, findings);
                (config.unwrap_or_else(|| Tree::map_at(&self.origin, Vec::new())), header)
            }
        };
        complete(&mut config, &CONFIG, target);
        Input { target, config, header, is_compiled: self.is_compiled }
    }
}

/// Reads a text and finds out what it is. `None` means that errors were reported.
pub(super) fn read(
    file: &str,
    bytes: &[u8],
    variant: Option<&str>,
    findings: &mut Findings,
) -> Option<Source> {
    let json_error = serde_json::from_slice::<IgnoredAny>(bytes).err();
    let is_printed = match &json_error {
        None => is_printed(bytes),
        Some(_) => bytes.starts_with(machine_config::HEADER.as_bytes()),
    };
    let bytes = match &json_error {
        None => escapes_for_yaml(bytes),
        Some(_) => Cow::Borrowed(bytes),
    };
    // JSON is YAML, and YAML knows its places. What is neither is most likely meant as JSON.
    let stream = match &json_error {
        None => yaml::parse(&bytes, &mut findings.0)?,
        Some(error) => match yaml::parse(&bytes, &mut Findings::new(file).0) {
            Some(stream) => stream,
            None => return not_json(error, file, findings),
        },
    };
    if let Some(second) = stream.second {
        findings
            .error(&Origin::root(file, second), "only one config can be reversed at a time")
            .hint("give each in a file of its own");
    }
    let Some(mut root) = stream.first else {
        findings.error(&Origin::root(file, Place::START), "there is no config in here");
        return None;
    };
    let origin = Origin::root(file, root.place);
    if !matches!(root.resolved().value, YamlValue::Map(_)) {
        findings.error(&origin, format!("a config is a mapping, not {}", root.kind()));
        return None;
    }
    if let Some(key) = key_of(&root, "variant") {
        findings
            .error(&origin.below("variant").at(key.place), "this is a Butane config already")
            .hint("to be reversed is what was compiled: an Ignition config or a MachineConfig");
        return None;
    }
    let kind = match field(&root, "kind").and_then(text) {
        Some("MachineConfig") => SourceKind::MachineConfig,
        _ => SourceKind::Ignition,
    };
    let targets = match (kind, json_error) {
        (SourceKind::MachineConfig, _) => {
            quote_texts(&mut root);
            of_machine_config(&root, &origin, variant, findings)?
        }
        (SourceKind::Ignition, Some(error)) => return not_json(&error, file, findings),
        (SourceKind::Ignition, None) => of_ignition(&root, &origin, variant, findings)?,
    };
    let is_compiled = is_printed && (kind == SourceKind::MachineConfig || has_nothing_loose(&root));
    Some(Source { root, kind, origin, targets, is_compiled })
}

fn of_ignition(
    root: &Yaml,
    origin: &Origin,
    variant: Option<&str>,
    findings: &mut Findings,
) -> Option<Vec<&'static Target>> {
    let variant = variant.unwrap_or("fcos");
    if variant == "openshift" {
        findings
            .error(origin, "an `openshift` config needs a name and a role, which Ignition has not")
            .hint("give the MachineConfig that the config is in, or choose another variant");
        return None;
    }
    targets(root, origin, variant, findings)
}

fn of_machine_config(
    root: &Yaml,
    origin: &Origin,
    variant: Option<&str>,
    findings: &mut Findings,
) -> Option<Vec<&'static Target>> {
    if let Some(other) = variant.filter(|variant| *variant != "openshift") {
        findings
            .error(origin, format!("a MachineConfig cannot become a config of `{other}`"))
            .hint("leave the variant away, or give the Ignition config in `spec.config`");
        return None;
    }
    let config = field(root, "spec").and_then(|spec| field(spec, "config"));
    let origin = origin.below("spec").below("config");
    match config {
        Some(config) => targets(config, &origin.at(config.place), "openshift", findings),
        // Every version says the same then.
        None => {
            let all = TARGETS.iter().filter(|target| target.variant == "openshift");
            Some(newest_first(all))
        }
    }
}

/// Sets the texts that are never absent: the rules find them empty then, and say so.
fn complete(tree: &mut Tree, ty: &'static Type, target: &'static Target) {
    for field in ty.of(target) {
        let Some(name) = field.ignition else { continue };
        let origin = tree.origin.below(name);
        match (field.kind, tree.get_mut(name)) {
            (Kind::RequiredText, None) => tree.set(name, Tree::text_at(&origin, "")),
            (Kind::Map(ty), Some(value)) => complete(value, ty, target),
            (Kind::Maps(ty, _), Some(Tree { value: Value::List(items), .. })) => {
                items.iter_mut().for_each(|item| complete(item, ty, target));
            }
            _ => {}
        }
    }
}

fn not_json(error: &serde_json::Error, file: &str, findings: &mut Findings) -> Option<Source> {
    let count = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
    let place = Place { line: count(error.line()), column: count(error.column()) };
    let message = error.to_string();
    // serde_json says the place itself, behind the message.
    let message = message.split(" at line ").next().unwrap_or(&message);
    findings.error(&Origin::root(file, place), format!("not JSON: {message}"));
    None
}

/// The versions of `variant` that give the specification a config names; at least one.
fn targets(
    config: &Yaml,
    origin: &Origin,
    variant: &str,
    findings: &mut Findings,
) -> Option<Vec<&'static Target>> {
    let targets = || TARGETS.iter().filter(|target| target.variant == variant);
    if targets().next().is_none() {
        let mut variants: Vec<&str> = TARGETS.iter().map(|target| target.variant).collect();
        variants.dedup();
        findings
            .error(
                &Origin::root(&origin.file, Place::START),
                format!("there is no variant `{variant}`"),
            )
            .hint(format!("there are {}", list(&variants)));
        return None;
    }
    let ignition = field(config, "ignition");
    let version = ignition.and_then(|ignition| field(ignition, "version"));
    let origin = origin.below("ignition").at(ignition.map_or(config.place, |yaml| yaml.place));
    let Some(version) = version else {
        findings
            .error(&origin.below("version"), "the version of Ignition's specification is missing")
            .hint("an Ignition config has `\"ignition\": {\"version\": \"3.4.0\"}`");
        return None;
    };
    let origin = origin.below("version").at(version.place);
    let Some(name) = text(version) else {
        findings.error(&origin, "the version is text");
        return None;
    };
    let found = newest_first(targets().filter(|target| target.spec.as_str() == name));
    if found.is_empty() {
        let is_known = TARGETS.iter().any(|target| target.spec.as_str() == name);
        let mut specs: Vec<&str> = targets().map(|target| target.spec.as_str()).collect();
        specs.sort_unstable();
        specs.dedup();
        let message = match name.split('.').next() {
            _ if is_known => format!("no version of `{variant}` gives specification {name}"),
            Some("1" | "2") => format!("specification {name} is older than Butane"),
            _ => format!("there is no specification {name}"),
        };
        let finding = findings.error(&origin, message);
        match name.split('.').next() {
            Some("1" | "2") => finding.hint("convert it to 3.x first, with `ign-converter`"),
            _ => finding.hint(format!("`{variant}` has {}", list(&specs))),
        }
    }
    Some(found).filter(|found| !found.is_empty())
}

/// The newest version first, but for experimental ones, which are last. The tables are in order.
fn newest_first(targets: impl Iterator<Item = &'static Target>) -> Vec<&'static Target> {
    let mut targets: Vec<_> = targets.collect();
    targets.reverse();
    targets.sort_by_key(|target| target.version.ends_with("-experimental"));
    targets
}

fn entry<'y>(yaml: &'y Yaml, name: &str) -> Option<&'y (Yaml, Yaml)> {
    match &yaml.resolved().value {
        YamlValue::Map(entries) => entries.iter().find(|(key, _)| text(key) == Some(name)),
        _ => None,
    }
}

fn key_of<'y>(yaml: &'y Yaml, name: &str) -> Option<&'y Yaml> {
    entry(yaml, name).map(|(key, _)| key)
}

fn field<'y>(yaml: &'y Yaml, name: &str) -> Option<&'y Yaml> {
    entry(yaml, name).map(|(_, value)| value).filter(|value| !value.is_null())
}

fn text(yaml: &Yaml) -> Option<&str> {
    yaml.as_scalar().map(|scalar| scalar.text.as_str())
}

/// Whether JSON is laid out as compilers lay it out: in one line or with two spaces, and with Go's escapes.
fn is_printed(bytes: &[u8]) -> bool {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(bytes) else { return false };
    let is = |printed: serde_json::Result<String>| {
        printed.is_ok_and(|json| go_escaped(&json).as_bytes() == bytes.trim_ascii_end())
    };
    is(serde_json::to_string(&json)) || is(serde_json::to_string_pretty(&json))
}

/// JSON as Go prints it, which escapes what could end a script in HTML, and two line ends that JavaScript does not know in
/// text. All of them occur only in texts, never between them.
fn go_escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Whether keys are in a compiler's order, and nothing is null or empty. Ours writes them in their alphabetical order,
/// the reference the same but for the fields that files, directories and links have in common, which come first.
fn has_nothing_loose(yaml: &Yaml) -> bool {
    const COMMON: [&str; 4] = ["group", "overwrite", "path", "user"];
    /// Spec 3.2.0 cannot leave it out.
    const KEPT_WHEN_EMPTY: &str = "clevis";
    match &yaml.resolved().value {
        YamlValue::Scalar(scalar) => !scalar::is_null(scalar),
        YamlValue::List(items) => {
            // An item that says nothing is an item.
            !items.is_empty()
                && items.iter().all(|item| is_empty_map(item) || has_nothing_loose(item))
        }
        YamlValue::Map(entries) => {
            let keys: Vec<&str> = entries.iter().filter_map(|(key, _)| text(key)).collect();
            let common = keys.iter().take_while(|key| COMMON.contains(key)).count();
            !entries.is_empty()
                && (keys.is_sorted() || keys[..common].is_sorted() && keys[common..].is_sorted())
                && entries.iter().all(|(key, value)| {
                    let is_kept = text(key) == Some(KEPT_WHEN_EMPTY) && is_empty_map(value);
                    is_kept || has_nothing_loose(value)
                })
        }
        YamlValue::Alias(_) => false,
    }
}

fn is_empty_map(yaml: &Yaml) -> bool {
    matches!(&yaml.value, YamlValue::Map(entries) if entries.is_empty())
}

/// JSON has escapes for halves of a character, which YAML has not. What takes their place is shorter; blanks behind
/// the quotes make up for it, so that everything keeps its column. And it takes characters as they are that YAML reads as
/// line ends, or not at all: they are escaped.
fn escapes_for_yaml(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Cow::Borrowed(bytes) };
    if !text.contains("\\ud") && !text.contains("\\uD") && !text.contains(is_strange_to_yaml) {
        return Cow::Borrowed(bytes);
    }
    let mut changed = String::with_capacity(text.len());
    let (mut rest, mut owed, mut is_quoted) = (text, 0, false);
    while let Some(character) = rest.chars().next() {
        let taken = match character {
            '\\' if is_quoted => match surrogates(rest) {
                Some(character) => {
                    changed.push_str(&format!("\\U{:08X}", u32::from(character)));
                    owed += 2;
                    rest = &rest[12..];
                    continue;
                }
                None => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            },
            '"' => {
                is_quoted = !is_quoted;
                changed.push('"');
                if !is_quoted {
                    changed.extend(std::iter::repeat_n(' ', std::mem::take(&mut owed)));
                }
                rest = &rest[1..];
                continue;
            }
            character if is_quoted && is_strange_to_yaml(character) => {
                changed.push_str(&format!("\\u{:04X}", u32::from(character)));
                rest = &rest[character.len_utf8()..];
                continue;
            }
            character => character.len_utf8(),
        };
        changed.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Cow::Owned(changed.into_bytes())
}

/// Line ends besides those of ASCII, and what is not text for YAML 1.1.
fn is_strange_to_yaml(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
    )
}

/// The character that two escapes at the beginning of `text` stand for: `\ud83d\ude00`.
fn surrogates(text: &str) -> Option<char> {
    let half = |text: Option<&str>| u16::from_str_radix(text?.strip_prefix("\\u")?, 16).ok();
    let halves = [half(text.get(..6))?, half(text.get(6..12))?];
    char::decode_utf16(halves).next()?.ok().filter(|character| u32::from(*character) > 0xffff)
}

/// Says of every plain text in YAML that it is text, as JSON does.
fn quote_texts(yaml: &mut Yaml) {
    match &mut yaml.value {
        YamlValue::Scalar(scalar) => {
            let is_text = !scalar::is_null(scalar)
                && scalar::as_bool(scalar).is_none()
                && scalar::as_integer(scalar).is_none();
            if is_text && scalar.style == ScalarStyle::Plain {
                scalar.style = ScalarStyle::DoubleQuoted;
            }
        }
        YamlValue::List(items) => items.iter_mut().for_each(quote_texts),
        YamlValue::Map(entries) => entries.iter_mut().for_each(|(_, value)| quote_texts(value)),
        // Nobody writes a MachineConfig with aliases; what is behind one is read as it is.
        YamlValue::Alias(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_characters_keep_columns() {
        for (json, expected) in [
            (r#"{"a":"\ud83d\ude00b","c":1}"#, r#"{"a":"\U0001F600b"  ,"c":1}"#),
            (r#"{"a":"\\ud83d\\ude00"}"#, r#"{"a":"\\ud83d\\ude00"}"#),
            (r#"{"a":"\ud83d"}"#, r#"{"a":"\ud83d"}"#),
            (r#"{"a":"\"\uD834\uDD1E"}"#, r#"{"a":"\"\U0001D11E"  }"#),
        ] {
            assert_eq!(escapes_for_yaml(json.as_bytes()), expected.as_bytes(), "{json}");
        }
    }
}
