//! What is to be reversed: its text, whether it is a MachineConfig, and the target that gives the same specification.

use std::borrow::Cow;

use basalt_model::decode::list;
use basalt_model::report::Place;
use basalt_model::yaml::{self, ScalarStyle, Value as YamlValue, Yaml, scalar};
use serde::de::IgnoredAny;

use super::raise;
use crate::decode::{Language, decode};
use crate::schema::config::CONFIG;
use crate::schema::machine_config::MACHINE_CONFIG;
use crate::tree::{Findings, Origin, Tree};
use crate::version::{TARGETS, Target};

/// A config that was read.
pub(super) struct Input {
    pub target: &'static Target,
    /// With Ignition's names.
    pub config: Tree,
    /// What Butane has besides the config: the variant and version, and the sections of a MachineConfig.
    pub header: Vec<(&'static str, Tree)>,
    /// Whether a compiler made it, as far as can be seen: nobody else writes keys in its order and nothing empty.
    pub is_compiled: bool,
}

/// Reads a config. `None` means that errors were reported.
pub(super) fn read(
    file: &str,
    bytes: &[u8],
    variant: Option<&str>,
    findings: &mut Findings,
) -> Option<Input> {
    let json_error = serde_json::from_slice::<IgnoredAny>(bytes).err();
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
    if field(&root, "kind").and_then(text) == Some("MachineConfig") {
        return machine_config(&mut root, origin, variant, findings);
    }
    if let Some(error) = json_error {
        return not_json(&error, file, findings);
    }
    let variant = variant.unwrap_or("fcos");
    if variant == "openshift" {
        findings
            .error(&origin, "an `openshift` config needs a name and a role, which Ignition has not")
            .hint("give the MachineConfig that the config is in, or choose another variant");
        return None;
    }
    let target = target(&root, &origin, variant, findings)?;
    let is_compiled = is_compiled(&root);
    let config = decode(&root, &CONFIG, Language::Ignition(target), origin.clone(), findings);
    Some(Input { target, config, header: raise::header(&origin, target), is_compiled })
}

fn not_json(error: &serde_json::Error, file: &str, findings: &mut Findings) -> Option<Input> {
    let count = |n: usize| u32::try_from(n.max(1)).unwrap_or(u32::MAX);
    let place = Place { line: count(error.line()), column: count(error.column()) };
    let message = error.to_string();
    // serde_json says the place itself, behind the message.
    let message = message.split(" at line ").next().unwrap_or(&message);
    findings.error(&Origin::root(file, place), format!("not JSON: {message}"));
    None
}

fn machine_config(
    root: &mut Yaml,
    origin: Origin,
    variant: Option<&str>,
    findings: &mut Findings,
) -> Option<Input> {
    if let Some(other) = variant.filter(|variant| *variant != "openshift") {
        findings
            .error(&origin, format!("a MachineConfig cannot become a config of `{other}`"))
            .hint("leave the variant away, or give the Ignition config in `spec.config`");
        return None;
    }
    quote_texts(root);
    let spec = field(root, "spec");
    let config = spec.and_then(|spec| field(spec, "config"));
    let at = origin.below("spec").below("config");
    let target = match config {
        Some(config) => target(config, &at.at(config.place), "openshift", findings)?,
        // Any version says the same, so it is the newest that is final.
        None => newest(TARGETS.iter().filter(|target| target.variant == "openshift"))?,
    };
    let is_compiled = config.is_none_or(is_compiled);
    let decoded =
        decode(root, &MACHINE_CONFIG, Language::Ignition(target), origin.clone(), findings);
    let config = decoded.get("spec").and_then(|spec| spec.get("config")).cloned();
    let header = raise::machine_config(&decoded, target, findings);
    let config = config.unwrap_or_else(|| Tree::map_at(&origin, Vec::new()));
    Some(Input { target, config, header, is_compiled })
}

/// The target of `variant` that gives the specification a config names: its newest version.
fn target(
    config: &Yaml,
    origin: &Origin,
    variant: &str,
    findings: &mut Findings,
) -> Option<&'static Target> {
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
    let found = newest(targets().filter(|target| target.spec.as_str() == name));
    if found.is_none() {
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
    found
}

/// The newest version; an experimental one only when there is no other. The tables are in order.
fn newest(targets: impl Iterator<Item = &'static Target>) -> Option<&'static Target> {
    let targets: Vec<_> = targets.collect();
    let is_final = |target: &&&'static Target| !target.version.ends_with("-experimental");
    targets.iter().rfind(is_final).or(targets.last()).copied()
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

/// Whether a compiler wrote it: ours writes keys in their alphabetical order, the reference the same but for the
/// fields that files, directories and links have in common, which come first. Neither writes null or anything empty.
fn is_compiled(yaml: &Yaml) -> bool {
    const COMMON: [&str; 4] = ["group", "overwrite", "path", "user"];
    match &yaml.resolved().value {
        YamlValue::Scalar(scalar) => !scalar::is_null(scalar),
        YamlValue::List(items) => !items.is_empty() && items.iter().all(is_compiled),
        YamlValue::Map(entries) => {
            let keys: Vec<&str> = entries.iter().filter_map(|(key, _)| text(key)).collect();
            let common = keys.iter().take_while(|key| COMMON.contains(key)).count();
            !entries.is_empty()
                && (keys.is_sorted() || keys[..common].is_sorted() && keys[common..].is_sorted())
                && entries.iter().all(|(_, value)| is_compiled(value))
        }
        YamlValue::Alias(_) => false,
    }
}

/// JSON has escapes for halves of a character, which YAML has not. What takes their place is shorter; blanks behind
/// the quotes make up for it, so that everything keeps its column.
fn escapes_for_yaml(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Cow::Borrowed(bytes) };
    if !text.contains("\\ud") && !text.contains("\\uD") {
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
            character => character.len_utf8(),
        };
        changed.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    Cow::Owned(changed.into_bytes())
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
