//! The verbs, and the help text that groups them.

use std::ffi::OsString;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{bench, build_image, bundle, butane, fuzz, generate, lab, peers, pods, test, vault};

/// Builds nodes from a cluster.yaml, and keeps the project itself in order.
///
/// Data goes to standard output, everything for people to standard error. The exit status is 0 when the work is done,
/// 1 when it failed, 2 for wrong usage, and 3 when `--check` or a plan found a difference.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// Print no progress, only results and errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Each group is a heading in `--help`.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    Build(BuildVerb),
    #[command(flatten)]
    Chore(ChoreVerb),
}

/// What makes nodes.
#[derive(Debug, Subcommand)]
pub(crate) enum BuildVerb {
    // A comment here would take the place of all that its arguments say about the verb.
    BuildImage(build_image::Arguments),
    Butane(butane::Arguments),
    Pods(pods::Arguments),
    Vault(vault::Arguments),
    Bundle(bundle::Arguments),
    Lab(lab::Arguments),
}

/// What keeps the project in order.
#[derive(Debug, Subcommand)]
pub(crate) enum ChoreVerb {
    Peers(peers::Arguments),
    Test(test::Arguments),
    Generate(generate::Arguments),
    Bench(bench::Arguments),
    Fuzz(fuzz::Arguments),
}

/// Reads the command line; prints help or what is wrong with it, and ends the process, where that is the answer.
pub(crate) fn parse() -> Cli {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Reads a command line, with the program's name in front.
pub(crate) fn parse_from<T>(line: impl IntoIterator<Item = T>) -> Result<Cli, clap::Error>
where
    T: Into<OsString>,
{
    let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
    let lenient = command().mut_subcommand("butane", butane::arguments::with_values_for_switches);
    match lenient.try_get_matches_from(&line) {
        Ok(matches) => Cli::from_arg_matches(&matches),
        // What is wrong is said in the words of the help.
        Err(error) => Err(command().try_get_matches_from(&line).err().unwrap_or(error)),
    }
}

/// clap has one heading for all subcommands, so the template carries the list, made from the groups' own types.
pub(crate) fn command() -> Command {
    let groups = [
        ("Build", BuildVerb::augment_subcommands(Command::new(""))),
        ("Chores", ChoreVerb::augment_subcommands(Command::new(""))),
    ];
    let verbs: String = groups.iter().map(|(heading, group)| section(heading, group)).collect();
    Cli::command().help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{verbs}Options:\n{{options}}\n"
    ))
}

fn section(heading: &str, group: &Command) -> String {
    let lines = group.get_subcommands().map(|verb| {
        format!("  {:<14}{}\n", verb.get_name(), verb.get_about().cloned().unwrap_or_default())
    });
    format!("{heading}:\n{}\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_of_a_verb_has_all_that_its_arguments_say() {
        for (verb, words) in [
            ("build-image", "A run with nothing changed does no work."),
            ("peers", "one peer's failure does not keep the others"),
            ("test", "A test that fails then runs again, alone"),
            ("lab", "`down` leaves nothing behind."),
            ("bench", "Every figure is the median of several runs"),
        ] {
            let help = parse_from(["xtask", verb, "--help"]).unwrap_err().to_string();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(help.contains(words), "{help}");
            assert!(help.contains(&format!("Usage: cargo xtask {verb} [OPTIONS]")), "{help}");
        }
    }

    #[test]
    fn help_groups_the_verbs() {
        let help = command().term_width(80).render_help().to_string();
        expect_test::expect![[r#"
            Builds nodes from a cluster.yaml, and keeps the project itself in order

            Usage: cargo xtask [OPTIONS] <COMMAND>

            Build:
              build-image   Compile a cluster.yaml into Ignition configs, an OS image and PXE files
              butane        Compile Butane configs into an Ignition config, or into a MachineConfig for openshift
              pods          Check static pods, or make them of what Podman runs
              vault         Set up Vault for a cluster, make first secrets, replace authorities
              bundle        Make, check, compare, sign and push what a cluster is to run
              lab           Show the product on this machine: three nodes in namespaces, with everything around them

            Chores:
              peers         Install or build the real programs that tests run against ours
              test          Run every check and test, and say which real programs they ran against
              generate      Write the files that are made from code, or check that they are not stale
              bench         Measure our programs beside the real ones
              fuzz          Feed a parser of foreign bytes until it breaks a law

            Options:
              -q, --quiet    Print no progress, only results and errors
              -h, --help     Print help (see more with '--help')
              -V, --version  Print version
        "#]]
        .assert_eq(&help);
    }
}
