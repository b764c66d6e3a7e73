//! `cargo xtask fuzz`: feeds a parser of foreign bytes until it breaks a law.
//!
//! libFuzzer wants programs whose code counts where it has been. Nightly compilers have a flag for that; the pass of
//! LLVM behind it can be asked for with a stable one.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::command::run;
use crate::output::{print, say};
use crate::progress::Progress;
use crate::{FAILED, checkout};

/// Feed a parser of foreign bytes until it breaks a law.
///
/// Inputs that reached new code are kept below `target/fuzz`, and the next run starts with them. An input that breaks
/// a law is kept there too and named: put a copy into `fuzz/corpus`, where `cargo test` runs it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to feed.
    #[arg(value_enum)]
    target: Target,
    /// How long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Then copy those of the kept inputs that reach code which the saved ones do not to `fuzz/corpus`.
    #[arg(long)]
    save: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Target {
    /// The Butane compiler.
    Butane,
    /// The linter of static pods.
    Pods,
}

impl Target {
    /// The program, and its folder of saved inputs.
    fn name(self) -> &'static str {
        match self {
            Target::Butane => "butane",
            Target::Pods => "pods",
        }
    }

    /// What to start with besides the saved inputs.
    fn seeds(self) -> &'static [&'static str] {
        match self {
            Target::Butane => &["butane/tests/corpus/good", "butane/tests/corpus/bad"],
            Target::Pods => &["static-pods/tests/lint/good", "static-pods/tests/lint/bad"],
        }
    }
}

/// What `-Zsanitizer-coverage` would add: counters for each branch, and the operands of comparisons.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The largest input that is made. What is special about larger ones is tested elsewhere.
const MAX_BYTES: u32 = 4096;

/// Builds the program, runs it, and says what broke.
pub(crate) fn run_target(arguments: &Arguments, progress: &Progress) -> Result<ExitCode> {
    let root = checkout::folder()?;
    let name = arguments.target.name();
    let target_folder = root.join("target/fuzz");
    let host = host()?;
    progress.step(format!("building the fuzz target {name}"));
    let mut build = checkout::cargo();
    build.current_dir(root.join("fuzz")).env("RUSTFLAGS", COVERAGE);
    // With a target named, the flags are for the program alone, not for what builds it.
    build.args(["build", "--release", "--bin", name, "--target", &host]);
    build.arg("--target-dir").arg(&target_folder);
    run(&mut build).context("cannot build the fuzz target; it needs a C++ compiler")?;

    let kept = target_folder.join("corpus").join(name);
    let broken = target_folder.join("broken").join(name);
    let saved = root.join("fuzz/corpus").join(name);
    for folder in [&kept, &broken, &saved] {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
    }
    let program = target_folder.join(&host).join("release").join(name);
    let mut fuzz = Command::new(&program);
    fuzz.arg(format!("-max_total_time={}", arguments.seconds));
    fuzz.arg(format!("-max_len={MAX_BYTES}"));
    fuzz.arg(format!("-artifact_prefix={}/", broken.display()));
    fuzz.args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"]);
    fuzz.arg(&kept).arg(&saved);
    fuzz.args(arguments.target.seeds().iter().map(|seeds| root.join(seeds)));
    progress.step(format!("feeding {name} for {} s", arguments.seconds));
    if let Err(error) = run(&mut fuzz) {
        say(format_args!("error: {error:#}\nhint: the input is in `{}`", broken.display()));
        return Ok(ExitCode::from(FAILED));
    }
    if arguments.save {
        let mut merge = Command::new(&program);
        // Few and small: they are for review, and run in every `cargo test`.
        merge.args(["-set_cover_merge=1", "-use_counters=0", "-max_len=512"]);
        run(merge.arg(&saved).arg(&kept))?;
    }
    let count = |folder| fs::read_dir(folder).map(Iterator::count);
    print(format_args!(
        "{name}  no law broken  {} kept  {} saved\n",
        count(&kept)?,
        count(&saved)?
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The machine that the compiler runs on, as it calls it.
fn host() -> Result<String> {
    let version = run(Command::new("rustc").arg("-vV"))?;
    match version.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => bail!("`rustc -vV` does not say what machine it is on"),
    }
}
