//! The Butane compiler against the reference, and what it makes against Ignition's own validator.
//!
//! The configs are those of `butane/tests/corpus`: `good` ones compile, `bad` ones do not, `files` is their files
//! directory. A file may say in its second line how our findings differ from the reference's, and why:
//! `# differs: …`. Findings are compared by place and severity; a data URL by the bytes it stands for.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use basalt_butane::{Compiled, Options, Warnings, compile};
use basalt_model::report::{Report, Severity};
use camino::Utf8PathBuf;
use e2e::peers::{Peer, peer};
use serde_json::Value;

/// Severity, line and column; nothing when the finding has no place.
type Finding = (Severity, Option<(u32, u32)>);

fn corpus() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../butane/tests/corpus")
}

fn configs(kind: &str) -> Vec<PathBuf> {
    let folder = fs::read_dir(corpus().join(kind)).unwrap();
    let mut configs: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    configs.sort();
    assert!(configs.len() >= 50, "the corpus is not there");
    configs
}

fn ours(path: &Path) -> (Option<Compiled>, Report) {
    let files = corpus().join("files");
    let options = Options {
        files_dir: Some(&files),
        warnings: Warnings::Allowed,
        output: basalt_butane::Output::Variant,
    };
    compile(&path.display().to_string(), &fs::read(path).unwrap(), &options)
}

fn our_findings(report: &Report) -> BTreeSet<Finding> {
    let place =
        |finding: &basalt_model::report::Finding| (finding.place.line, finding.place.column);
    report.sorted().into_iter().map(|finding| (finding.severity, Some(place(finding)))).collect()
}

fn reference(butane: &Peer, path: &Path) -> Output {
    Command::new(&butane.program)
        .args(["--raw-errors", "--files-dir"])
        .arg(corpus().join("files"))
        .arg(path)
        .output()
        .unwrap()
}

/// What the reference says, line by line. Errors in values have a line only; the text of the YAML, none at all.
fn reference_findings(output: &Output) -> BTreeSet<Finding> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let number = |line: &str, word: &str| -> Option<u32> {
        let rest = line.split_once(word)?.1;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let finding = |line: &str| {
        let severity = match line.split([' ', ':']).next()? {
            "error" => Severity::Error,
            "warning" => Severity::Warning,
            _ => return None,
        };
        let place = number(line, "line ").zip(number(line, " col "));
        Some((severity, place))
    };
    text.lines().filter_map(finding).collect()
}

/// Whether the file says that our findings are not the reference's.
fn differs(path: &Path) -> bool {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .nth(1)
        .unwrap_or_default()
        .starts_with("# differs: ")
}

/// Replaces each data URL and its compression by the bytes they stand for.
fn unpack(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(unpack),
        Value::Object(entries) => {
            entries.values_mut().for_each(unpack);
            let source = entries.get("source").and_then(Value::as_str).unwrap_or_default();
            let Some(bytes) = decode(source) else { return };
            let is_zipped = entries.get("compression").and_then(Value::as_str) == Some("gzip");
            let mut unzipped = Vec::new();
            if is_zipped
                && flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unzipped).is_ok()
            {
                entries.insert("source".into(), format!("gzip {unzipped:02x?}").into());
            } else {
                entries.insert("source".into(), format!("{bytes:02x?}").into());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The bytes of a data URL as compilers write them: without a media type.
fn decode(url: &str) -> Option<Vec<u8>> {
    if let Some(encoded) = url.strip_prefix("data:;base64,") {
        return Some(base64(encoded));
    }
    let mut bytes = Vec::new();
    let mut rest = url.strip_prefix("data:,")?.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap();
        let byte = if byte == b'%' { (digit() * 16 + digit()) as u8 } else { byte };
        bytes.push(byte);
    }
    Some(bytes)
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, byte| {
            bits << 6 | DIGITS.iter().position(|digit| digit == byte).unwrap() as u32
        }) << (6 * (4 - four.len()));
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

#[test]
fn good_configs_compile_as_the_reference_does() {
    let Some(butane) = peer("butane") else { return };
    let mut faults = String::new();
    for path in configs("good") {
        let name = path.file_name().unwrap().display();
        let output = reference(&butane, &path);
        let (config, report) = ours(&path);
        let Some(config) = config else {
            faults += &format!("{name} does not compile:\n{report}\n");
            continue;
        };
        let mut expected: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut found: Value = serde_json::from_str(&config.ignition().to_json()).unwrap();
        unpack(&mut expected);
        unpack(&mut found);
        if found != expected {
            faults += &format!("{name} becomes\n  {found}\nand not\n  {expected}\n");
        }
        let (expected, found) = (reference_findings(&output), our_findings(&report));
        if (found != expected) != differs(&path) {
            faults += &format!("{name} is judged\n{report}\nand not\n{expected:?}\n");
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn bad_configs_are_refused_where_the_reference_refuses_them() {
    let Some(butane) = peer("butane") else { return };
    let mut faults = String::new();
    for path in configs("bad") {
        let name = path.file_name().unwrap().display();
        let output = reference(&butane, &path);
        assert!(!output.status.success(), "{name}");
        let (config, report) = ours(&path);
        if config.is_some() || !report.has_errors() {
            faults += &format!("{name} compiles\n");
        }
        let (expected, found) = (reference_findings(&output), our_findings(&report));
        let is_alike = match expected.is_empty() {
            // The reference says what is wrong in one line without a place.
            true => !found.is_empty(),
            false => found == expected,
        };
        if is_alike == differs(&path) {
            let expected = String::from_utf8_lossy(&output.stderr);
            faults += &format!("{name} is judged\n{report}\nand not\n{expected}\n");
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn ignition_accepts_what_comes_out() {
    let Some(validate) = peer("ignition-validate") else { return };
    for path in configs("good") {
        let (config, report) = ours(&path);
        let config = config.unwrap_or_else(|| panic!("{report}"));
        for json in [config.ignition().to_json(), config.ignition().to_json_pretty()] {
            let output = feed(Command::new(&validate.program).arg("-"), &json);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}\n{json}", path.display());
            assert!(!said.contains("nused key"), "{}: {said}", path.display());
        }
    }
}

/// Runs a program with `input` on its standard input.
fn feed(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
