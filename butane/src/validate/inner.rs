//! One config inside of another: its text, its version, and what the rules of that version say.

use std::io::Write;

use basalt_model::report::{Place, Report};
use basalt_model::yaml::{self, Scalar, ScalarStyle, Value as YamlValue, Yaml};
use flate2::write::MultiGzDecoder;
use serde_json::Value as Json;

use super::data_url;
use crate::decode::{Language, decode};
use crate::schema::config::CONFIG;
use crate::tree::{Findings, Origin, Tree};
use crate::version::{TARGETS, Target};

/// The largest config that is looked into, in bytes. Ignition has all of it in memory, several times.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// A config that has been read, with what is wrong with it so far.
pub(super) struct Inner {
    pub tree: Tree,
    pub findings: Findings,
    /// As it stands there.
    version: Option<String>,
}

/// Why a text is not JSON.
pub(super) struct Fault {
    pub line: u32,
    column: u32,
    pub message: String,
}

impl Fault {
    pub(super) fn place(&self) -> Place {
        Place { line: self.line.max(1), column: self.column.max(1) }
    }
}

impl Inner {
    /// Reads a config; `file` is what findings call it. Without a version of its own it is read as one of `target`'s.
    pub(super) fn parse(text: &str, file: &str, target: &'static Target) -> Result<Inner, Fault> {
        let json: Json = serde_json::from_str(text).map_err(|error| {
            let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let message = error.to_string();
            let end = format!(" at line {} column {}", error.line(), error.column());
            Fault {
                line: count(error.line()),
                column: count(error.column()),
                message: message.strip_suffix(&end).unwrap_or(&message).to_owned(),
            }
        })?;
        let version = json.pointer("/ignition/version").and_then(Json::as_str).map(str::to_owned);
        // JSON is YAML, and the reader of YAML knows places. Where its syntax is narrower, as with escaped surrogates,
        // the places are lost and the config is not.
        let yaml =
            yaml::parse(text.as_bytes(), &mut Report::new("")).and_then(|stream| stream.first);
        let yaml = yaml.unwrap_or_else(|| without_places(json));
        let mut findings = Findings::new(file);
        let own = version.as_deref().and_then(of_version).unwrap_or(target);
        let origin = Origin::root(file, yaml.place);
        let tree = decode(&yaml, &CONFIG, Language::Ignition(own), origin, &mut findings);
        Ok(Inner { tree, findings, version })
    }

    /// Whether it names a version, and that is not the one of `target`.
    pub(super) fn is_written_to_another_version(&self, target: &Target) -> bool {
        let version = self.version.as_deref();
        version.is_some_and(|version| is_semantic(version) && version != target.spec.as_str())
    }

    /// Holds it against the rules of `target`'s specification.
    pub(super) fn judge(&mut self, target: &'static Target) {
        let target = of_version(target.spec.as_str()).unwrap_or(target);
        super::ignition(&self.tree, &CONFIG, target, &mut self.findings);
        let origin = self.version_origin();
        match self.version.as_deref() {
            Some(version) if is_semantic(version) => {}
            Some(version) => {
                self.findings
                    .error(&origin, format!("`{version}` is not a version"))
                    .hint(format!("it has three numbers, like `{}`", target.spec.as_str()));
            }
            // What is there and is no text has been reported.
            None if self.tree.get("ignition").is_some_and(|i| i.get("version").is_some()) => {}
            None => {
                self.findings.error(&origin, "`version` is missing");
            }
        }
    }

    /// Holds it against the rules of the specification that it is written to. `target` is what the outer one becomes.
    pub(super) fn judge_by_its_version(&mut self, target: &'static Target) {
        let version = match self.version.as_deref() {
            Some(version) if is_semantic(version) => version,
            // Values that are no values at all say enough.
            _ if self.findings.0.has_errors() => return,
            _ => return self.judge(target),
        };
        let origin = self.version_origin();
        if !version.starts_with("3.") {
            let message = "Ignition 2 reads version 3 of the specification only";
            self.findings.error(&origin, message);
            return;
        }
        let Some(own) = of_version(version) else {
            // Its values were read as those of another version.
            let message = format!("not checked, as version {version} is not known");
            self.findings = Findings::new(&origin.file);
            self.findings.warning(&origin, message);
            return;
        };
        if own.spec > target.spec {
            let message = format!(
                "version {version} is newer than {}, which this config is compiled to",
                target.spec.as_str()
            );
            self.findings
                .warning(&origin, message)
                .hint("Ignition on every machine has to know it");
        }
        self.judge(own);
    }

    fn version_origin(&self) -> Origin {
        match self.tree.get("ignition") {
            Some(ignition) => ignition.place_of("version"),
            None => self.tree.origin.below("ignition").below("version"),
        }
    }
}

/// A target that is written to a version of Ignition's specification, and takes all of it.
fn of_version(version: &str) -> Option<&'static Target> {
    let is_of = |target: &&Target| target.variant == "fcos" && target.spec.as_str() == version;
    TARGETS.iter().rfind(is_of)
}

/// Whether `text` is three numbers, with or without something behind a hyphen.
fn is_semantic(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numbers.split('.').count() == 3 && numbers.split('.').all(is_number)
}

/// What a resource with Ignition's names has in its data URL, unpacked. `None` is a resource that is elsewhere, or whose
/// rules have something to say.
pub(super) fn contents(resource: &Tree) -> Option<Vec<u8>> {
    let source = resource.get("source")?;
    let mut memory = Bounded(Vec::new());
    match resource.text("compression") {
        None | Some("") => {
            data_url::pour_source(source, &mut memory)?.ok()?;
        }
        Some("gzip") => {
            let mut unpacker = MultiGzDecoder::new(&mut memory);
            data_url::pour_source(source, &mut unpacker)?.ok()?;
            unpacker.finish().ok()?;
        }
        Some(_) => return None,
    }
    Some(memory.0)
}

/// Memory that ends.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether a text is what a person means to compile.
pub(super) fn is_butane(bytes: &[u8]) -> bool {
    let stream = yaml::parse(bytes, &mut Report::new(""));
    let root = stream.and_then(|stream| stream.first);
    root.is_some_and(|root| match &root.value {
        YamlValue::Map(entries) => {
            entries.iter().any(|(key, _)| key.as_scalar().is_some_and(|key| key.text == "variant"))
        }
        _ => false,
    })
}

/// The same values, all at the start of the text.
fn without_places(json: Json) -> Yaml {
    let scalar = |text: String, style| YamlValue::Scalar(Scalar { text, style });
    let value = match json {
        Json::Null => scalar("null".to_owned(), ScalarStyle::Plain),
        Json::Bool(flag) => scalar(flag.to_string(), ScalarStyle::Plain),
        Json::Number(number) => scalar(number.to_string(), ScalarStyle::Plain),
        Json::String(text) => scalar(text, ScalarStyle::DoubleQuoted),
        Json::Array(items) => YamlValue::List(items.into_iter().map(without_places).collect()),
        Json::Object(entries) => {
            let key = |name| Yaml {
                place: Place::START,
                tag: None,
                value: scalar(name, ScalarStyle::DoubleQuoted),
            };
            YamlValue::Map(
                entries.into_iter().map(|(name, json)| (key(name), without_places(json))).collect(),
            )
        }
    };
    Yaml { place: Place::START, tag: None, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_that_the_reader_of_yaml_does_not_take() {
        let target = of_version("3.3.0").unwrap();
        // Escaped surrogates, and a key that occurs twice.
        for text in [
            r#"{"ignition":{"version":"3.3.0"},"passwd":{"users":[{"name":"\ud83d\ude00"}]}}"#,
            r#"{"ignition":{"version":"3.3.0","version":"3.3.0"},"passwd":{"users":[{"name":"😀"}]}}"#,
        ] {
            let mut inner = Inner::parse(text, "a", target).ok().unwrap();
            inner.judge_by_its_version(target);
            assert!(inner.findings.0.is_empty(), "{}", inner.findings.0);
            let users = inner.tree.get("passwd").unwrap().items("users");
            assert_eq!(users[0].text("name"), Some("😀"));
        }
    }

    #[test]
    fn unpacked_configs_are_bounded() {
        let mut memory = Bounded(vec![0; MAX_BYTES - 1]);
        assert!(memory.write_all(b"a").is_ok());
        assert!(memory.write_all(b"b").is_err());
    }
}
