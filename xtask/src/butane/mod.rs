//! `cargo xtask butane`: the Butane compiler as a program, in the place of the reference's.
//!
//! Reads everything first, compiles, reports, and writes last, so that nothing is written when something is wrong.

pub(crate) mod arguments;
mod deliver;
mod describe;
pub(crate) mod diagnostics;
mod excerpt;
mod input;
mod overrides;
mod size;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use basalt_butane::{
    Compiled, Composed, Layout, Options, Output, Override, ReverseOptions, Source, Values,
    VerifyError, Warnings, compile_all, reverse, verify_units,
};
use basalt_model::report::{Report, Severity};

use crate::visible::visible;
pub(crate) use arguments::Arguments;
use deliver::deliver;
use input::Input;

use crate::output::say;
use crate::progress::Progress;
use crate::{FAILED, cli};

/// The version of the reference compiler whose configs, rules and options this one has.
const REFERENCE: &str = "v0.29.0";

/// What verifies units, as the build machine's PATH has it.
const SYSTEMD_ANALYZE: &str = "systemd-analyze";

/// Wrong usage.
const USAGE: u8 = 2;

/// Runs the verb. Findings go to stderr; the exit code is 1 when there are errors among them.
///
/// # Errors
/// When a file cannot be read, or the result cannot be written.
pub(crate) fn run(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    if arguments.has_deprecated_input() {
        say("Flag --input has been deprecated, specify filename directly on command line");
    }
    let names = match arguments.inputs() {
        Ok(names) => names,
        Err(error) => {
            say(error.render().to_string().trim_end());
            return Ok(ExitCode::from(USAGE));
        }
    };
    if arguments.help || arguments.help_summary {
        return deliver(None, |out| out.write_all(help(arguments).as_bytes()));
    }
    if arguments.version {
        let own = env!("CARGO_PKG_VERSION");
        return deliver(None, |out| writeln!(out, "Butane {REFERENCE} (Basalt {own})"));
    }
    if let Some(name) = &arguments.schema {
        return describe::schema(name, arguments.output());
    }
    if let Some(path) = &arguments.explain {
        return describe::explain(path, arguments.output());
    }
    let inputs: Vec<Input> =
        names.iter().map(|name| input::read(name, progress)).collect::<Result<_>>()?;
    let sources: Vec<Source> = inputs.iter().map(Input::source).collect();
    let outcome = match sources.as_slice() {
        [source] if arguments.reverse => reversed(source, arguments.variant.as_deref()),
        sources => compiled(sources, arguments, progress)?,
    };

    let mut text = Vec::new();
    diagnostics::print(&outcome.report, &sources, arguments.style(), &mut text)?;
    if !text.is_empty() {
        say(String::from_utf8_lossy(&text).trim_end_matches('\n'));
    }
    if outcome.report.is_cut_short() {
        say("note: there is more than is shown");
    }
    outcome.notes.iter().for_each(|note| say(format_args!("note: {}", visible(note))));
    let Some(made) = outcome.made else {
        let work = if arguments.reverse { "reversing" } else { "translating" };
        say(format_args!("Error {work} config: {}", count(&outcome.report)));
        return Ok(ExitCode::from(FAILED));
    };
    if arguments.strict && !outcome.report.is_empty() {
        say("Config produced warnings and --strict was specified");
        return Ok(ExitCode::from(FAILED));
    }
    if let Some(format) = arguments.overrides {
        return deliver(arguments.output(), |out| {
            overrides::print(&outcome.overrides, format, out)
        });
    }
    if arguments.check {
        return Ok(ExitCode::SUCCESS);
    }
    let layout = if arguments.pretty { Layout::Pretty } else { Layout::Compact };
    match (made, arguments.size) {
        (Made::Butane(text), _) => {
            deliver(arguments.output(), |out| out.write_all(text.as_bytes()))
        }
        (Made::Config(config), Some(format)) => {
            let report = basalt_butane::size::size(&config, layout);
            deliver(arguments.output(), |out| size::print(&report, format, out))
        }
        (Made::Config(config), None) => {
            deliver(arguments.output(), |mut out| config.write(layout, &mut out))
        }
    }
}

/// What became of the input.
struct Outcome {
    /// There when the report has no errors.
    made: Option<Made>,
    report: Report,
    /// What took the place of what.
    overrides: Vec<Override>,
    /// What else there is to say.
    notes: Vec<String>,
}

enum Made {
    Config(Box<Compiled>),
    Butane(String),
}

fn compiled(sources: &[Source], arguments: &Arguments, progress: &Progress) -> Result<Outcome> {
    let value_files: Vec<Input> =
        arguments.vars.iter().map(|name| input::read(name, progress)).collect::<Result<_>>()?;
    let files: Vec<_> = value_files.iter().map(Input::values).collect();
    let values = Values { arguments: &arguments.var, files: &files };
    let options = Options {
        files_dir: arguments.files_dir(),
        // A warning stays a warning with `--strict`; it is the end that differs.
        warnings: Warnings::Allowed,
        output: if arguments.raw { Output::Ignition } else { Output::Variant },
    };
    let Composed { config, mut report, overrides } = compile_all(sources, &values, &options);
    let mut notes = Vec::new();
    if let Some(folder) = options.files_dir.filter(|folder| !folder.is_dir()) {
        notes.push(format!("the files directory `{folder}` is not a folder"));
    }
    if arguments.overrides.is_none() && !progress.is_quiet() {
        notes.extend(overrides.iter().map(ToString::to_string));
    }
    if let Some(config) = config.as_ref().filter(|_| arguments.verify_units) {
        let program = Path::new(SYSTEMD_ANALYZE);
        match verify_units(config.ignition(), sources, options.files_dir, program) {
            Ok(more) => report.absorb(more),
            Err(error @ (VerifyError::Missing(_) | VerifyError::TooOld(_))) => {
                let hint = error.hint().map_or(String::new(), |hint| format!("; {hint}"));
                notes.push(format!("{error}{hint}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Outcome { made: config.map(Box::new).map(Made::Config), report, overrides, notes })
}

fn reversed(source: &Source, variant: Option<&str>) -> Outcome {
    let options = ReverseOptions { variant, warnings: Warnings::Allowed };
    let (text, report) = reverse(source.file, source.bytes, &options);
    Outcome { made: text.map(Made::Butane), report, overrides: Vec::new(), notes: Vec::new() }
}

/// `2 errors, 1 warning`.
fn count(report: &Report) -> String {
    let count = |severity, word: &str| {
        let number = report.sorted().iter().filter(|f| f.severity == severity).count();
        format!("{number} {word}{}", if number == 1 { "" } else { "s" })
    };
    let errors = count(Severity::Error, "error");
    match count(Severity::Warning, "warning") {
        warnings if warnings.starts_with("0 ") => errors,
        warnings => format!("{errors}, {warnings}"),
    }
}

fn help(arguments: &Arguments) -> String {
    let mut command = cli::command();
    command.build();
    let verb = command.find_subcommand_mut("butane").expect("this is the verb of that name");
    let help = if arguments.help { verb.render_long_help() } else { verb.render_help() };
    help.to_string()
}
