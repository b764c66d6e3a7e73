//! The words of `systemd-analyze verify`: which part they are about, and whether they are about this machine only.

use std::collections::HashSet;
use std::path::Path;

use super::folder::Part;

/// Something that systemd says of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Its position among the parts.
    pub part: usize,
    /// Counts from 1; absent when it is said of the whole.
    pub line: Option<u32>,
    /// Without the full stop.
    pub message: String,
}

/// What is said of this machine rather than of the unit: what it has, and what its systemd was built with.
const OF_THIS_MACHINE: [&str; 4] =
    [" is not executable", "not found in path", "disabled at compile time", " not loaded, "];

/// What makes a unit unusable wherever it is. All else that is said without a line is about the machine.
const OF_THE_UNIT: &str = "Refusing";

/// Reads the lines; each thing is said once. `folder` is the one with the units in it.
pub(super) fn parse(text: &str, folder: &Path, parts: &[Part]) -> Vec<Said> {
    let folder = format!("{}/", folder.display());
    let mut seen = HashSet::new();
    text.lines()
        .filter(|line| seen.insert(*line))
        .filter_map(|line| match line.strip_prefix(&folder) {
            Some(rest) => of_line(rest, parts),
            None => of_unit(line, parts),
        })
        .collect()
}

/// `a.service.d/b.conf:3: message`, below the folder.
fn of_line(text: &str, parts: &[Part]) -> Option<Said> {
    parts.iter().enumerate().find_map(|(part, file)| {
        let rest = text.strip_prefix(file.path.as_str())?.strip_prefix(':')?;
        let (line, message) = rest.split_once(": ")?;
        let line = line.parse().ok().filter(|_| is_of_the_config(message, file))?;
        Some(Said { part, line: Some(line), message: sentence(message) })
    })
}

/// `a.service: message`. systemd gives a template an instance to look at it.
fn of_unit(text: &str, parts: &[Part]) -> Option<Said> {
    let (name, message) = text.split_once(": ")?;
    let template = name.split_once('@').and_then(|(stem, rest)| {
        rest.rsplit_once('.').map(|(_, suffix)| format!("{stem}@.{suffix}"))
    });
    let is_named = |wanted: &str| parts.iter().position(|part| part.path == wanted);
    let part = is_named(name).or_else(|| is_named(&template?))?;
    let is_said = message.contains(OF_THE_UNIT) && is_of_the_config(message, &parts[part]);
    is_said.then(|| Said { part, line: None, message: sentence(message) })
}

fn is_of_the_config(message: &str, part: &Part) -> bool {
    !part.is_stand_in && !OF_THIS_MACHINE.iter().any(|words| message.contains(words))
}

fn sentence(message: &str) -> String {
    message.strip_suffix('.').unwrap_or(message).to_owned()
}

#[cfg(test)]
mod tests {
    use basalt_model::report::Place;

    use super::super::folder::Contents;
    use super::*;
    use crate::tree::Origin;

    fn part(path: &str, is_stand_in: bool) -> Part {
        let origin = Origin::root("a.bu", Place::START);
        Part {
            path: path.to_owned(),
            contents: Contents { text: String::new(), origin },
            is_stand_in,
        }
    }

    /// `expected` is the part, the line and the message.
    #[track_caller]
    fn check(line: &str, expected: Option<(&str, Option<u32>, &str)>) {
        let parts = [
            part("a.service", false),
            part("a.service.d/b.conf", false),
            part("t@.service", false),
            part("own.service", true),
        ];
        // The same words twice are one thing.
        let said = parse(&format!("{line}\n{line}\n"), Path::new("/var/x"), &parts);
        let found: Vec<_> = said
            .iter()
            .map(|s| (parts[s.part].path.as_str(), s.line, s.message.as_str()))
            .collect();
        assert_eq!(found, Vec::from_iter(expected), "{line}");
    }

    #[test]
    fn words_of_systemd_252() {
        check(
            "/var/x/a.service:8: Unknown key 'Exce' in section [Service], ignoring.",
            Some(("a.service", Some(8), "Unknown key 'Exce' in section [Service], ignoring")),
        );
        check(
            "/var/x/a.service.d/b.conf:3: Invalid syntax, ignoring: \"a",
            Some(("a.service.d/b.conf", Some(3), "Invalid syntax, ignoring: \"a")),
        );
        check(
            "a.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.",
            Some((
                "a.service",
                None,
                "Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing",
            )),
        );
        check(
            "t@i.service: Unit configuration. Refusing.",
            Some(("t@.service", None, "Unit configuration. Refusing")),
        );
    }

    #[test]
    fn words_about_this_machine() {
        for line in [
            "a.service: Command /usr/bin/b is not executable: No such file or directory",
            "t@i.service: Command b is not executable: No such file or directory",
            "a.service: service b.service not loaded, socket cannot be started.",
            "/var/x/a.service:3: Support for option IMAPolicy= has been disabled at compile time and it is ignored",
            "/var/x/a.service:3: Executable \"b\" not found in path \"/usr/bin\"",
            "/var/x/own.service:2: Unknown key 'A' in section [Unit], ignoring.",
            "own.service: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.",
            "Unit a.service has a bad unit file setting.",
            "Unit other.service not found.",
            "/usr/lib/systemd/system/c.service:3: Unknown key 'A' in section [Unit], ignoring.",
            "/var/x/a.service: no line",
            "",
        ] {
            check(line, None);
        }
    }
}
