//! The whole toolchain behind one front door: takes a verb, gives files or findings, touches what the verb says.
//!
//! Read [`cli`] first: it lists the verbs. Each verb is a file of its own, with the type of its arguments and a `run`.

mod bench;
mod build_image;
mod bundle;
mod butane;
mod checkout;
mod cli;
mod command;
mod findings;
mod fuzz;
mod generate;
mod lab;
mod output;
mod peers;
mod pods;
mod progress;
mod source;
mod table;
mod template_calls;
mod test;
mod vault;
mod visible;

use std::process::ExitCode;

/// The work failed; the message says what to change.
const FAILED: u8 = 1;
/// `--check` found a difference.
const DIFFERS: u8 = 3;

fn main() -> ExitCode {
    let cli = cli::parse();
    let progress = progress::Progress::new(cli.quiet);
    let result = match cli.verb {
        cli::Verb::Build(cli::BuildVerb::BuildImage(arguments)) => {
            build_image::run(&arguments, &progress)
        }
        cli::Verb::Build(cli::BuildVerb::Butane(arguments)) => butane::run(&arguments, &progress),
        cli::Verb::Build(cli::BuildVerb::Pods(arguments)) => pods::run(&arguments),
        cli::Verb::Build(cli::BuildVerb::Vault(arguments)) => vault::run(&arguments, &progress),
        cli::Verb::Build(cli::BuildVerb::Bundle(arguments)) => bundle::run(&arguments, &progress),
        cli::Verb::Build(cli::BuildVerb::Lab(arguments)) => lab::run(&arguments, &progress),
        cli::Verb::Chore(cli::ChoreVerb::Peers(arguments)) => peers::run(&arguments, &progress),
        cli::Verb::Chore(cli::ChoreVerb::Test(arguments)) => test::run(&arguments, &progress),
        cli::Verb::Chore(cli::ChoreVerb::Bench(arguments)) => bench::run(&arguments, &progress),
        cli::Verb::Chore(cli::ChoreVerb::Fuzz(arguments)) => {
            fuzz::run_target(&arguments, &progress)
        }
        cli::Verb::Chore(cli::ChoreVerb::Generate(arguments)) => {
            generate::run(&arguments, &progress)
        }
    };
    result.unwrap_or_else(|error| {
        output::say(output::explained(&error));
        ExitCode::from(FAILED)
    })
}
