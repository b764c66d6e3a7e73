//! What differs between our compiler and the reference on one config.

use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use basalt_butane::{Layout, Options, Output, Warnings, compile};
use basalt_model::report::{Place, Report, Severity};
use camino::Utf8Path;
use serde_json::Value;

use crate::design;
use crate::reference::{Answer, Entry, Wanted};
use crate::unpack::{unpack, value_of};

/// What our compiler made of a config.
pub(crate) struct Ours {
    pub text: String,
    /// Absent when the config was refused.
    pub output: Option<Value>,
    pub report: Report,
}

/// A difference, told so that two of the same cause read the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference(pub String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a finding is: severity, line, column and path.
type Found<'a> = (Severity, u32, u32, &'a str);

/// Compiles with our compiler; `None` is a panic.
pub(crate) fn ours(text: &str, wanted: Wanted, files_dir: &Utf8Path) -> Option<Ours> {
    let output = match wanted {
        Wanted::Variant => Output::Variant,
        Wanted::Ignition => Output::Ignition,
    };
    let options = Options { files_dir: Some(files_dir), warnings: Warnings::Allowed, output };
    let compiled =
        catch_unwind(AssertUnwindSafe(|| compile(design::FILE, text.as_bytes(), &options))).ok()?;
    let (config, report) = compiled;
    let output = config.map(|config| value_of(&config.text(Layout::Compact)));
    Some(Ours { text: text.to_owned(), output, report })
}

/// Everything that differs and is not so by [design].
pub(crate) fn differences(ours: Option<&Ours>, theirs: &Answer) -> BTreeSet<Difference> {
    let Some(ours) = ours else { return BTreeSet::from([Difference("ours panics".to_owned())]) };
    if theirs.error.starts_with("panic") {
        return BTreeSet::new();
    }
    let mut found = BTreeSet::new();
    let stage = Stage::of(theirs);
    compare_findings(ours, theirs, stage, &mut found);
    match (&ours.output, &theirs.output) {
        (Some(ours), Some(theirs)) => {
            let mut ours = ours.clone();
            let mut theirs = value_of(theirs);
            unpack(&mut ours);
            unpack(&mut theirs);
            compare_values("$", &ours, &theirs, &mut found);
        }
        (Some(_), None) if !design::is_read(&theirs.error) => {
            let why = normalise(theirs.error.lines().next().unwrap_or_default());
            found.insert(Difference(format!("theirs refuses: {why}")));
        }
        (None, Some(_))
            if !ours
                .report
                .sorted()
                .iter()
                .any(|own| design::is_our_error(own, &ours.text, theirs)) =>
        {
            found.insert(Difference("ours refuses".to_owned()));
        }
        _ => {}
    }
    found
}

/// How far the reference got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Reading the YAML failed: findings are lines of the one error.
    Decoding,
    /// Butane's own rules failed: nobody knows what Ignition's would have said.
    Source,
    /// All rules have been applied.
    Finished,
}

impl Stage {
    fn of(answer: &Answer) -> Stage {
        match answer.error.as_str() {
            "" | "config generated was invalid" => Stage::Finished,
            "source config is invalid" => Stage::Source,
            _ => Stage::Decoding,
        }
    }
}

fn compare_findings(ours: &Ours, theirs: &Answer, stage: Stage, found: &mut BTreeSet<Difference>) {
    let own = ours.report.sorted();
    if let Some(finding) = own.iter().find(|finding| finding.message.starts_with("not YAML")) {
        let message = normalise(&finding.message);
        if stage != Stage::Decoding && !design::is_ours(finding, &ours.text, theirs) {
            found.insert(Difference(format!("ours alone: {message}")));
        }
        return;
    }
    if stage == Stage::Decoding {
        let lines: BTreeSet<u32> = own
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(|finding| finding.place.line)
            .collect();
        for (line, message) in type_errors(&theirs.error) {
            if !lines.contains(&line) && !design::is_behind_an_alias(&ours.text) {
                // What it could not be made into names a version: that is not another cause.
                let message = normalise(message.split(" into ").next().unwrap_or_default());
                found.insert(Difference(format!("theirs alone: error in a line: {message}")));
            }
        }
        return;
    }
    let known: BTreeSet<Found> =
        own.iter().map(|f| (f.severity, f.place.line, f.place.column, f.path.as_str())).collect();
    let entries: Vec<(Found, &Entry)> =
        theirs.entries.iter().map(|entry| (place_of(entry), entry)).collect();
    for (place, entry) in &entries {
        if !known.contains(place) && !design::is_left_out(entry, &ours.text, theirs) {
            let (severity, path) = (word(place.0), normalise_path(place.3));
            let message = normalise(&entry.message);
            found.insert(Difference(format!("theirs alone: {severity} {path}: {message}")));
        }
    }
    if stage == Stage::Finished {
        let known: BTreeSet<Found> = entries.iter().map(|(place, _)| *place).collect();
        for finding in own {
            let place = &finding.place;
            let place = (finding.severity, place.line, place.column, finding.path.as_str());
            if !known.contains(&place) && !design::is_ours(finding, &ours.text, theirs) {
                let (severity, path) = (word(place.0), normalise_path(place.3));
                let message = normalise(&finding.message);
                found.insert(Difference(format!("ours alone: {severity} {path}: {message}")));
            }
        }
    }
}

/// Whether both find the same at the same places, and nothing else: not even what only one is meant to find.
pub(crate) fn finds_the_same(ours: &Ours, theirs: &Answer) -> bool {
    let place = &|place: Place| (place.line, place.column);
    let ours = ours.report.sorted();
    let ours: BTreeSet<_> = ours
        .iter()
        .map(|finding| (finding.severity, place(finding.place), finding.path.as_str()))
        .collect();
    let theirs = theirs.entries.iter().map(place_of);
    ours == theirs.map(|(severity, line, column, path)| (severity, (line, column), path)).collect()
}

fn place_of(entry: &Entry) -> Found<'_> {
    let severity = match entry.kind.as_str() {
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        other => panic!("no such kind of finding: {other}"),
    };
    (severity, entry.line, entry.column, &entry.path)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The lines of yaml.v3's one error for all values of a wrong type, each with its number.
fn type_errors(error: &str) -> impl Iterator<Item = (u32, &str)> {
    let is_list = error.contains("unmarshal errors:");
    error.lines().filter(move |_| is_list).filter_map(|line| {
        let (number, message) = line.trim_start().strip_prefix("line ")?.split_once(": ")?;
        Some((number.parse().ok()?, message))
    })
}

/// Reports where two values differ.
fn compare_values(path: &str, ours: &Value, theirs: &Value, found: &mut BTreeSet<Difference>) {
    let differ = |path: &str, how: &str, found: &mut BTreeSet<Difference>| {
        found.insert(Difference(format!("output {}: {how}", normalise_path(path))));
    };
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for name in ours.keys().filter(|name| !theirs.contains_key(*name)) {
                differ(&format!("{path}.{name}"), "ours alone", found);
            }
            for (name, theirs) in theirs {
                let path = format!("{path}.{name}");
                match ours.get(name) {
                    None => differ(&path, "theirs alone", found),
                    Some(ours) => compare_values(&path, ours, theirs, found),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                compare_values(&format!("{path}.{index}"), ours, theirs, found);
            }
        }
        (Value::Array(_), Value::Array(_)) => differ(path, "another number of items", found),
        _ if ours == theirs => {}
        _ => differ(path, "another value", found),
    }
}

/// A path with all indexes alike.
fn normalise_path(path: &str) -> String {
    path.split('.')
        .map(|name| if name.parse::<usize>().is_ok() { "N" } else { name })
        .collect::<Vec<_>>()
        .join(".")
}

/// A message without what it quotes, and without numbers.
fn normalise(message: &str) -> String {
    let mut normal = String::new();
    let mut quote = None;
    for character in message.chars().take(160) {
        match quote {
            Some(end) if end == character => quote = None,
            Some(_) => continue,
            None if matches!(character, '`' | '"') => quote = Some(character),
            None if character.is_ascii_digit() => {
                if !normal.ends_with('0') {
                    normal.push('0');
                }
                continue;
            }
            None => {}
        }
        normal.push(character);
    }
    normal
}
