//! What holds for any text. Property tests and the fuzzer share it, so it gives words instead of a panic.

use basalt_butane::{IgnitionConfig, Options, Output, Warnings, compile};
use camino::Utf8Path;
use ignition_config::Config;

/// Compiles without a panic, twice to the same; what comes out is what Ignition's types hold, nothing less or more, and
/// passes our own rules once more as a config inside of another.
///
/// # Errors
/// What does not hold.
pub(crate) fn obeys(bytes: &[u8], files_dir: Option<&Utf8Path>) -> Result<(), String> {
    let options = Options { files_dir, warnings: Warnings::Allowed, output: Output::Variant };
    let (config, report) = compile("a.bu", bytes, &options);
    hold(config.is_none() == report.has_errors(), "errors and a config, or neither", &report)?;
    let (again, same_report) = compile("a.bu", bytes, &options);
    hold(report == same_report, "other findings the second time", &same_report)?;
    let (Some(config), Some(again)) = (config, again) else { return Ok(()) };
    let config = config.ignition();
    let json = config.to_json();
    hold(json == again.ignition().to_json(), "another config the second time", &json)?;
    // Of configs inside of one inside of another more is asked than of one inside of another.
    if !json.contains(r#""merge""#) && !json.contains(r#""replace""#) {
        is_accepted(config, &json)?;
    }
    // The crate does not know the experimental specification.
    let Some(expected) = config.typed() else { return Ok(()) };
    let parse = |json: &str| Config::parse_str(json).map_err(|error| error.to_string());
    let (typed, unused) = parse(&json)?;
    hold(unused.is_empty(), "keys that Ignition does not know", &json)?;
    hold(typed == expected, "other types than the text has", &json)?;
    hold(parse(&config.to_json_pretty())?.0 == typed, "another config in lines", &json)
}

/// Our rules find no error in what came out.
fn is_accepted(config: &IgnitionConfig, json: &str) -> Result<(), String> {
    const OUTER: [(&str, &str); 7] = [
        ("3.0.0", "1.1.0"),
        ("3.1.0", "1.1.0"),
        ("3.2.0", "1.3.0"),
        ("3.3.0", "1.4.0"),
        ("3.4.0", "1.5.0"),
        ("3.5.0", "1.6.0"),
        ("3.6.0", "1.7.0"),
    ];
    let outer = OUTER.iter().find(|(spec, _)| *spec == config.version());
    let version = outer.map_or("1.8.0-experimental", |(_, version)| version);
    let quoted = json.trim_end().replace('\'', "''");
    let text = format!(
        "variant: fcos\nversion: {version}\nignition:\n  config:\n    replace:\n      inline: '{quoted}'\n"
    );
    let options = Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };
    let (accepted, report) = compile("outer.bu", text.as_bytes(), &options);
    hold(accepted.is_some(), "our rules refuse it", &report)
}

fn hold(holds: bool, what: &str, seen: impl std::fmt::Display) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what}: {seen}")) }
}
