//! A command line of `podman run` or `podman create`.

use super::draft::Draft;
use super::notes::{At, Notes};
use super::options::{Row, apply, lettered, named};

/// Words of a command line, each with its place.
pub(super) type Words = [(String, At)];

/// What systemd takes before the path of a program, systemd.service(5).
pub(super) const PREFIXES: [char; 6] = ['-', '@', ':', '+', '!', '|'];

/// Global options of podman that are followed by a value, podman(1).
const GLOBAL_VALUES: [&str; 19] = [
    "--cgroup-manager",
    "--config",
    "--conmon",
    "--connection",
    "-c",
    "--events-backend",
    "--hooks-dir",
    "--identity",
    "--imagestore",
    "--log-level",
    "--module",
    "--network-cmd-path",
    "--network-config-dir",
    "--root",
    "--runroot",
    "--runtime",
    "--storage-driver",
    "--storage-opt",
    "--url",
];

/// What a command line of podman does.
#[derive(Debug)]
pub(super) enum Command<'w> {
    /// `run` or `create`, with what follows.
    Run(&'w Words),
    /// `start`: the container was created before.
    Start,
    /// `stop`, with what follows.
    Stop(&'w Words),
    /// `pod create`, with what follows.
    PodCreate(&'w Words),
    /// `pod start`.
    PodStart,
    /// Removes or pulls what podman needs, which the kubelet does by itself.
    Housekeeping,
    /// Anything else.
    Other,
}

/// Finds the command in `words`, of which the first is the program. `None`: it is not podman.
pub(super) fn command(words: &Words) -> Option<Command<'_>> {
    let program = words.first()?.0.trim_start_matches(PREFIXES);
    if !matches!(program.rsplit('/').next(), Some("podman" | "docker")) {
        return None;
    }
    let mut rest = &words[1..];
    while let Some((word, _)) = rest.first().filter(|(word, _)| word.starts_with('-')) {
        let skipped = if GLOBAL_VALUES.contains(&word.as_str()) { 2 } else { 1 };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    if rest.first().is_some_and(|(word, _)| word == "container") {
        rest = &rest[1..];
    }
    let Some(((verb, _), rest)) = rest.split_first() else { return Some(Command::Other) };
    let second = rest.first().map(|(word, _)| word.as_str());
    Some(match (verb.as_str(), second) {
        ("run" | "create", _) => Command::Run(rest),
        ("start", _) => Command::Start,
        ("stop", _) => Command::Stop(rest),
        ("rm" | "kill" | "pull", _) => Command::Housekeeping,
        ("image", Some("pull")) => Command::Housekeeping,
        ("pod", Some("create")) => Command::PodCreate(&rest[1..]),
        ("pod", Some("start")) => Command::PodStart,
        ("pod", Some("stop" | "rm" | "kill")) => Command::Housekeeping,
        _ => Command::Other,
    })
}

/// Reads options, the image and what follows it into `draft`.
pub(super) fn read(draft: &mut Draft, words: &Words, at: &At, notes: &mut Notes) {
    let rest = options(draft, words, notes);
    let Some(((image, at), arguments)) = rest.split_first() else {
        notes.invalid(at, "the command has no image", None);
        return;
    };
    draft.image = Some((image.clone(), at.named("image")));
    draft.arguments = arguments.iter().map(|(word, _)| word.clone()).collect();
    draft.arguments_at = arguments.first().map(|(_, at)| at.named("command"));
    if let Some(at) = &draft.arguments_at {
        notes.carried(at, "as `args`");
    }
    notes.carried(&at.named("image"), "as `image`");
}

/// Reads options up to the first word that is none, and gives what follows.
pub(super) fn options<'w>(draft: &mut Draft, words: &'w Words, notes: &mut Notes) -> &'w Words {
    let mut rest = words;
    while let Some(((word, at), behind)) = rest.split_first() {
        if word == "--" {
            return behind;
        }
        if let Some(long) = word.strip_prefix("--") {
            rest = behind;
            let (name, given) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
            let at = at.named(format!("--{name}"));
            match (named(name), given) {
                (Some(Row(_, _, true, _)), None) => {
                    let Some(((value, _), behind)) = rest.split_first() else {
                        notes.invalid(&at, "a value has to follow", None);
                        return rest;
                    };
                    apply(draft, name, value, &at, notes);
                    rest = behind;
                }
                (_, given) => apply(draft, name, given.unwrap_or("true"), &at, notes),
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            rest = short(draft, letters, behind, at, notes);
        } else {
            return rest;
        }
    }
    rest
}

/// `-it`, `-p80:80`, `-p 80:80`.
fn short<'w>(
    draft: &mut Draft,
    letters: &str,
    behind: &'w Words,
    at: &At,
    notes: &mut Notes,
) -> &'w Words {
    for (index, letter) in letters.char_indices() {
        let at = at.named(format!("-{letter}"));
        let Some(Row(name, _, takes_value, _)) = lettered(letter) else {
            notes.invalid(&at, format!("podman run has no option `-{letter}`"), None);
            return behind;
        };
        if !takes_value {
            apply(draft, name, "true", &at, notes);
            continue;
        }
        let glued = &letters[index + letter.len_utf8()..];
        let glued = glued.strip_prefix('=').unwrap_or(glued);
        if !glued.is_empty() {
            apply(draft, name, glued, &at, notes);
            return behind;
        }
        let Some(((value, _), behind)) = behind.split_first() else {
            notes.invalid(&at, "a value has to follow", None);
            return behind;
        };
        apply(draft, name, value, &at, notes);
        return behind;
    }
    behind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::unit;

    #[track_caller]
    fn words(text: &str) -> Vec<(String, At)> {
        let words = unit::words(text).unwrap().into_iter();
        words.map(|word| (word.text, At::start_of("f"))).collect()
    }

    #[test]
    fn commands() {
        for (text, expected) in [
            ("/usr/bin/podman --log-level debug run -d a", "Some(Run(2))"),
            ("-/usr/bin/podman container create -d a", "Some(Run(2))"),
            ("podman start -a web", "Some(Start)"),
            ("podman stop -t 3 web", "Some(Stop(3))"),
            ("podman pod create --name a", "Some(PodCreate(2))"),
            ("podman pod rm a", "Some(Housekeeping)"),
            ("podman network create a", "Some(Other)"),
            ("/bin/sh -c podman", "None"),
        ] {
            let words = words(text);
            let found = command(&words);
            let seen = match found {
                Some(Command::Run(rest)) => format!("Some(Run({}))", rest.len()),
                Some(Command::Stop(rest)) => format!("Some(Stop({}))", rest.len()),
                Some(Command::PodCreate(rest)) => format!("Some(PodCreate({}))", rest.len()),
                other => format!("{other:?}"),
            };
            assert_eq!(seen, expected, "{text}");
        }
    }

    #[test]
    fn a_whole_line() {
        let mut draft = Draft::new("web".to_owned(), At::start_of("f"));
        let mut notes = Notes::default();
        let line = words(
            "-itd --name=web -p80:80 -e A=b --env C=d --read-only -v /a:/b:ro --rm img -x --rm",
        );
        read(&mut draft, &line, &At::start_of("f"), &mut notes);
        assert_eq!(draft.image.map(|(image, _)| image).as_deref(), Some("img"));
        assert_eq!(draft.arguments, ["-x", "--rm"]);
        assert_eq!(draft.environment.keys().collect::<Vec<_>>(), ["A", "C"]);
        assert_eq!((draft.mounts.len(), draft.shared.ports.len()), (1, 1));
        let bad: Vec<_> =
            notes.0.iter().filter(|note| note.fate != super::super::Fate::Carried).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }

    #[test]
    fn what_is_wrong_with_a_line() {
        for (line, expected) in [
            ("--memroy 1g a", "podman run has no option `--memroy`"),
            ("--memory", "a value has to follow"),
            ("-y a", "podman run has no option `-y`"),
            ("-d", "the command has no image"),
            ("--memory=big a", "it is no amount"),
        ] {
            let mut draft = Draft::new("web".to_owned(), At::start_of("f"));
            let mut notes = Notes::default();
            read(&mut draft, &words(line), &At::start_of("f"), &mut notes);
            assert!(notes.0.iter().any(|note| note.message == expected), "{line}: {notes:?}");
        }
    }
}
