//! The command line of `cargo xtask butane`: the reference's, and what Basalt adds.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use camino::{Utf8Path, Utf8PathBuf};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgAction, Command};

use crate::output::Format;

/// Compile Butane configs into an Ignition config, or into a MachineConfig for openshift.
///
/// Without FILE, or with `-`, the config is read from standard input. Several files, and several documents in a file,
/// are merged in their order by Ignition's rules, so that a later one wins; what took the place of what is said on
/// standard error. All of them have one variant, and the result is written for the newest of their versions.
///
/// Every finding of every stage is reported at once, on standard error, at the place of the value that caused it.
/// Something is written to standard output, or to the file of `--output`, only when there is no error.
///
/// Exit status: 0 when the config was compiled, also with warnings; 1 when it was not, or a file could not be read or
/// written; 2 for wrong usage.
///
/// Options, output and exit status are those of the reference compiler, `butane`, whose place this command can take.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, disable_version_flag = true, args_override_self = true)]
pub(crate) struct Arguments {
    /// Butane configs; `-` is standard input.
    ///
    /// A pipe is fine, as in `<(generate)`. A file has at most 32 MiB.
    #[arg(value_name = "FILE", value_parser = path())]
    files: Vec<PathBuf>,

    /// Take local files and trees from this folder.
    ///
    /// Paths in `local`, `contents_local`, `ssh_authorized_keys_local` and `trees` are below it, and cannot leave it,
    /// neither by `..` nor by a symbolic link. Without it a config that wants a local file is refused.
    #[arg(short = 'd', long, value_name = "DIR", allow_hyphen_values = true)]
    files_dir: Option<Utf8PathBuf>,

    /// Write to this file instead of standard output; `-` is standard output.
    ///
    /// A file appears as a whole: an existing one is replaced when the config has been compiled and written, and stays
    /// as it was when something fails. It keeps its mode. A symbolic link stays one, and what it names is replaced. A
    /// device or pipe is written to as it is.
    #[arg(short, long, value_name = "FILE", allow_hyphen_values = true, value_parser = path())]
    output: Option<PathBuf>,

    /// Lay out JSON for people, with two spaces of indentation.
    ///
    /// A MachineConfig is YAML and has one layout.
    #[arg(short, long)]
    pub(super) pretty: bool,

    /// Fail on any warning.
    ///
    /// Warnings are reported as ever; nothing is written, and the exit status is 1.
    #[arg(short, long)]
    pub(super) strict: bool,

    /// Check the config and write nothing.
    #[arg(short, long, conflicts_with = "size")]
    pub(super) check: bool,

    /// Write the bare Ignition config, never a MachineConfig.
    ///
    /// Of an openshift config the kernel type, extensions and so on are left out then, with a warning each.
    #[arg(short, long)]
    pub(super) raw: bool,

    /// Report findings in one line each, for programs.
    ///
    /// A line is `SEVERITY at PATH, line LINE col COLUMN: MESSAGE`, as in `warning at $.storage.files.0.mode, line 5
    /// col 13: …`. With several files the name of the file stands before `line`. Hints follow on lines of their own,
    /// indented. Otherwise each finding is shown with the lines around it.
    #[arg(long)]
    raw_errors: bool,

    /// Color findings: `auto`, `always` or `never`.
    ///
    /// `auto` colors them on a terminal, unless NO_COLOR is set or TERM is `dumb`. The option alone means `always`.
    #[arg(long, alias = "colour", value_name = "WHEN", num_args = 0..=1, require_equals = true)]
    #[arg(default_value = "auto", default_missing_value = "always", value_parser = color)]
    color: Color,

    /// Report what makes the config big instead of writing it.
    ///
    /// Lists the parts of the config by size, with the size of their contents on the machine and how they are encoded,
    /// and compares the whole to what platforms take as user data. `--size=json` prints one JSON document. The report
    /// goes where the config would have gone.
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "text")]
    pub(super) size: Option<Format>,

    /// Report what took the place of what instead of writing the config.
    ///
    /// Of several files and documents, a later one wins. The report has a line for each value that was replaced, with
    /// who said it before and who says it now; `--overrides=json` prints one JSON array with an object for each: `path`,
    /// `kind` (`replaced` or `removed`), and `before` and `after`, each with `file`, `line`, `column`, `path` and, where
    /// it is short and no secret, `value`. Without this option the lines are said on standard error. The report goes
    /// where the config would have gone.
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "text", conflicts_with_all = ["check", "size"])]
    pub(super) overrides: Option<Format>,

    /// Give a declared variable a value.
    ///
    /// A file that has the section `variables` can refer to them, as in `${{ hostname }}`. May be repeated. Secrets are
    /// given with `--vars`, since every user of the machine can read arguments.
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    pub(super) var: Vec<String>,

    /// Take the values of variables from this YAML file.
    ///
    /// It has a line `name: value` for each. May be repeated: a later file wins, and `--var` above all.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) vars: Vec<PathBuf>,

    /// Let systemd look at the units of the config as well.
    ///
    /// `systemd-analyze verify` reads them, starts none, and what it says is reported as warnings: a misspelled option
    /// is ignored at boot without a word. Where the program is missing, or older than systemd 250, a note says so.
    #[arg(long)]
    pub(super) verify_units: bool,

    /// Write the Butane config that FILE came from.
    ///
    /// FILE is an Ignition config of specification 3.0.0 or later, or a MachineConfig. What a compiler made compiles to
    /// the same again; of other configs the contents of files may be encoded differently then, so that they can be read
    /// here. Sugar is written where it stands for just what is there. What Ignition would refuse is refused, at its
    /// place.
    #[arg(long, conflicts_with_all = ["size", "overrides", "raw", "pretty", "var", "vars", "verify_units", "files_dir", "schema", "explain"])]
    pub(super) reverse: bool,

    /// Reverse into a config of this variant.
    ///
    /// Without it a MachineConfig becomes one of openshift, and everything else one of fcos.
    #[arg(long, value_name = "VARIANT", requires = "reverse")]
    pub(super) variant: Option<String>,

    /// Write the JSON schema of a variant and version, as in `fcos-1.5.0`, for editors.
    ///
    /// With `all` the schemas of all variants and versions go into the folder of `--output`, together with
    /// `butane.json`, which leads to the right one for any config.
    #[arg(long, value_name = "VARIANT-VERSION", conflicts_with_all = ["files", "explain"])]
    pub(super) schema: Option<String>,

    /// Say what a field is: `--explain storage.files.mode`.
    ///
    /// Says what it becomes in Ignition, which variants have it since when, its default and rules, and shows an
    /// example. Without a path, what stands at the top of a config.
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "", conflicts_with = "files")]
    pub(super) explain: Option<String>,

    /// Print the version of the reference that this compiler follows, and its own.
    #[arg(short = 'V', long)]
    pub(super) version: bool,

    /// Print a summary of this.
    #[arg(short = 'h')]
    pub(super) help_summary: bool,

    /// Print this.
    #[arg(long)]
    pub(super) help: bool,

    /// What FILE is, for scripts of long ago.
    #[arg(long, hide = true, allow_hyphen_values = true, value_parser = path())]
    input: Option<PathBuf>,

    /// Taken and not obeyed: it prints a table of the reference's own, and this compiler has none.
    #[arg(short = 'D', long, hide = true)]
    debug: bool,
}

/// Any path. The empty one is as good as none, as in the reference.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// When findings are colored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Color {
    Auto,
    Always,
    Never,
}

/// As the reference reads it: what it does not know is no color, and no error.
fn color(text: &str) -> Result<Color, std::convert::Infallible> {
    Ok(match text {
        "auto" => Color::Auto,
        "always" | "yes" => Color::Always,
        _ => Color::Never,
    })
}

impl Arguments {
    /// What to read: at least one name.
    ///
    /// # Errors
    /// For wrong usage; the error prints what is wrong.
    pub(super) fn inputs(&self) -> Result<Vec<&Path>, clap::Error> {
        let mut inputs: Vec<&Path> = self.files.iter().map(PathBuf::as_path).collect();
        if let Some(input) = self.deprecated_input() {
            if !inputs.is_empty() {
                let message = "`--input` cannot be used with FILE";
                return Err(wrong_usage(ErrorKind::ArgumentConflict, message));
            }
            inputs.push(input);
        }
        if inputs.is_empty() {
            inputs.push(Path::new(STDIN));
        }
        let values = self.vars.iter().map(PathBuf::as_path);
        if inputs.iter().copied().chain(values).filter(|path| names_stdin(path)).count() > 1 {
            let message = "standard input can be read once";
            return Err(wrong_usage(ErrorKind::ArgumentConflict, message));
        }
        if self.reverse && inputs.len() > 1 {
            let message = "`--reverse` takes one FILE";
            return Err(wrong_usage(ErrorKind::TooManyValues, message));
        }
        Ok(inputs)
    }

    /// What `--input` names.
    pub(super) fn deprecated_input(&self) -> Option<&Path> {
        self.input.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// Whether `--input` was written at all.
    pub(super) fn has_deprecated_input(&self) -> bool {
        self.input.is_some()
    }

    pub(super) fn files_dir(&self) -> Option<&Utf8Path> {
        self.files_dir.as_deref().filter(|path| !path.as_str().is_empty())
    }

    pub(super) fn output(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// How findings are to be printed.
    pub(super) fn style(&self) -> super::diagnostics::Style {
        use super::diagnostics::{Form, Style};
        let is_colored = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                std::env::var_os("NO_COLOR").is_none()
                    && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
                    && io::stderr().is_terminal()
            }
        };
        Style { form: if self.raw_errors { Form::Raw } else { Form::Framed }, is_colored }
    }
}

/// Standard input, on the command line.
const STDIN: &str = "-";

/// Whether a name on the command line stands for standard input.
pub(super) fn names_stdin(path: &Path) -> bool {
    path.as_os_str().is_empty() || path == Path::new(STDIN)
}

fn wrong_usage(kind: ErrorKind, message: &str) -> clap::Error {
    let mut command = crate::cli::command();
    command.build();
    match command.find_subcommand_mut("butane") {
        Some(verb) => verb.error(kind, message),
        None => command.error(kind, message),
    }
}

/// Switches take a value too, `--pretty=false`, as they do in Go programs. The help does not speak of it.
pub(crate) fn with_values_for_switches(command: Command) -> Command {
    command.mut_args(|argument| match argument.get_action() {
        ArgAction::SetTrue => argument
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(switch),
        _ => argument,
    })
}

/// The words of Go's `strconv.ParseBool`.
fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither `true` nor `false`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{BuildVerb, Verb, parse_from};

    #[track_caller]
    fn parse(line: &str) -> Result<Arguments, ErrorKind> {
        let arguments = ["xtask", "butane"].into_iter().chain(line.split_whitespace());
        match parse_from(arguments).map_err(|error| error.kind())?.verb {
            Verb::Build(BuildVerb::Butane(arguments)) => Ok(arguments),
            verb => panic!("{verb:?}"),
        }
    }

    fn inputs(line: &str) -> Option<Vec<String>> {
        let arguments = parse(line).unwrap();
        let inputs = arguments.inputs().ok()?;
        Some(inputs.into_iter().map(|path| path.display().to_string()).collect())
    }

    #[test]
    fn switches_are_read_as_go_programs_read_them() {
        for (line, expected) in [
            ("", false),
            ("-p", true),
            ("--pretty", true),
            ("-p=true", true),
            ("--pretty=T", true),
            ("--pretty=false", false),
            ("-p --pretty=0", false),
            ("-sp", true),
            ("-pp", true),
        ] {
            assert_eq!(parse(line).unwrap().pretty, expected, "{line}");
        }
        assert!(parse("--pretty=maybe").is_err());
        assert_eq!(parse("--pretty true").unwrap().files, [Path::new("true")]);
    }

    #[test]
    fn options_take_the_last_value() {
        assert_eq!(parse("-o a -ob").unwrap().output(), Some(Path::new("b")));
        assert_eq!(parse("-o -p").unwrap().output(), Some(Path::new("-p")));
        assert_eq!(parse("-o -").unwrap().output(), Some(Path::new("-")));
        assert_eq!(parse("--output=").unwrap().output(), None);
        assert_eq!(parse("-d=x").unwrap().files_dir(), Some(Utf8Path::new("x")));
        assert_eq!(parse("--var a=1 --var b=2").unwrap().var, ["a=1", "b=2"]);
    }

    #[test]
    fn colors() {
        for (line, expected) in [
            ("", Color::Auto),
            ("--color", Color::Always),
            ("--colour", Color::Always),
            ("--color=yes", Color::Always),
            ("--color=never", Color::Never),
            ("--colour=no", Color::Never),
            ("--color=auto --color=always", Color::Always),
            ("--color=puce", Color::Never),
        ] {
            assert_eq!(parse(line).unwrap().color, expected, "{line}");
        }
    }

    #[test]
    fn inputs_are_files_or_standard_input() {
        let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(inputs(""), some(&["-"]));
        assert_eq!(inputs("a"), some(&["a"]));
        assert_eq!(inputs("a - b"), some(&["a", "-", "b"]));
        assert_eq!(inputs("- -"), None);
        assert_eq!(inputs("- --vars -"), None);
        assert_eq!(inputs("--input a"), some(&["a"]));
        assert_eq!(inputs("--input a b"), None);
        assert_eq!(inputs("--input= b"), some(&["b"]));
        assert_eq!(inputs("-- -p"), some(&["-p"]));
    }

    #[test]
    fn what_is_asked_without_a_config() {
        assert_eq!(parse("--explain").unwrap().explain.as_deref(), Some(""));
        assert_eq!(parse("--explain a.b").unwrap().explain.as_deref(), Some("a.b"));
        assert_eq!(parse("--schema all -o x").unwrap().schema.as_deref(), Some("all"));
        let arguments = parse("--reverse --variant r4e a").unwrap();
        assert!(arguments.reverse && arguments.variant.as_deref() == Some("r4e"));
    }

    #[test]
    fn usage_is_wrong() {
        assert_eq!(inputs("--reverse a b"), None);
        for line in [
            "--nope",
            "-Z",
            "-d",
            "-o",
            "--pret",
            "--check --size",
            "--size --overrides",
            "--reverse --raw",
            "--help --nope",
            "-hZ",
            "--variant fcos",
            "--schema",
            "--schema fcos-1.5.0 --explain a",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("-q -h").unwrap().help_summary);
    }
}
