//! Units that run podman: those that people write, and those of `podman generate systemd`.
//!
//! Rules: systemd.service(5), podman-generate-systemd(1).

use super::amounts;
use super::draft::{Draft, PodDraft, PodReference};
use super::environment::{Read, read_files};
use super::files::Unit;
use super::notes::{At, Notes};
use super::options::{POD_ONLY, apply};
use super::run::{self, Command, Words};
use super::systemd;
use super::unit::Setting;

/// A pod that a unit makes, and the file that its identifier is kept in.
struct Made {
    pod: PodDraft,
    identifier_file: Option<String>,
    /// What was said of all its containers.
    frame: Draft,
}

/// The pods of all units that run podman.
pub(super) fn pods(units: &[Unit], read: &mut Read<'_>, notes: &mut Notes) -> Vec<PodDraft> {
    let mut pods = Vec::new();
    let mut containers = Vec::new();
    for unit in units.iter().filter(|unit| unit.kind == "service") {
        if unit.is_mere_template(units, notes) {
            continue;
        }
        let found = Reading::new(unit, read, notes).and_then(|one| one.run(read, notes));
        match found {
            Some(Found::Container(draft)) => containers.push(*draft),
            Some(Found::Pod(made)) => pods.push(*made),
            Some(Found::OneShot) => {}
            // What became of its other keys is still to be said.
            None => {
                let mut draft = Draft::new(unit.stem.clone(), unit.at());
                systemd::apply(unit, &mut draft, notes);
                let is_start = |setting: &&Setting| setting.key == "ExecStart";
                let lines = unit.settings.iter().filter(|setting| setting.key.starts_with("Exec"));
                for setting in lines.filter(|setting| !is_start(setting)) {
                    systemd::hook(setting, &setting.words(notes), notes);
                }
            }
        }
    }
    together(pods, containers, notes)
}

fn together(mut pods: Vec<Made>, containers: Vec<Draft>, notes: &mut Notes) -> Vec<PodDraft> {
    let mut alone = Vec::new();
    for mut draft in containers {
        let reference = draft.pod.take();
        let place = pods.iter().position(|made| match &reference {
            Some(PodReference::Name(name)) => made.pod.name == *name,
            Some(PodReference::IdentifierFile(file)) => made.identifier_file.as_ref() == Some(file),
            None => false,
        });
        match (place, reference) {
            (Some(place), _) => {
                let made = &mut pods[place];
                draft.inherit(&made.frame);
                made.pod.containers.push(draft);
            }
            (None, None) => alone.push(draft),
            (None, Some(_)) => {
                let message = "the unit that makes the container's pod was not given: it gets a pod of its own";
                notes.broken(&draft.at, message, "give the pod's unit, too");
                alone.push(draft);
            }
        }
    }
    let alone = alone.into_iter().map(PodDraft::of_one);
    let pods = pods.into_iter().map(|made| made.pod);
    let (full, empty): (Vec<_>, Vec<_>) = pods.partition(|pod| !pod.containers.is_empty());
    for pod in empty {
        notes.lost(&pod.at, "the pod has no container", "give the units of its containers, too");
    }
    full.into_iter().chain(alone).collect()
}

/// What a unit makes.
enum Found {
    Container(Box<Draft>),
    Pod(Box<Made>),
    OneShot,
}

/// A unit that is being read.
struct Reading<'u> {
    unit: &'u Unit,
    /// Command lines of the unit, with the key each stands at.
    lines: Vec<(&'u Setting, Vec<(String, At)>)>,
}

impl<'u> Reading<'u> {
    /// `None`: the unit has nothing to do with podman, which is noted.
    fn new(unit: &'u Unit, read: &mut Read<'_>, notes: &mut Notes) -> Option<Reading<'u>> {
        let Some(start) = unit.last("Service", "ExecStart") else {
            notes.lost(&unit.at(), "the unit starts no program", "give units that run podman");
            return None;
        };
        let program = start.value.text.split_ascii_whitespace().next().unwrap_or_default();
        let program = program.trim_start_matches(run::PREFIXES);
        if !matches!(program.rsplit('/').next(), Some("podman" | "docker")) {
            let is_inside = ["podman", "docker run", "docker start"]
                .iter()
                .any(|command| start.value.text.contains(command));
            let message = match is_inside {
                true => "podman is started by another program",
                false => "the unit does not run podman",
            };
            let remedy = "give the unit itself to the node's Butane config; a compose file is imported as a file";
            notes.broken(&start.at(), message, remedy);
            return None;
        }
        let variables = systemd::variables(unit, read, notes);
        let mut lines = Vec::new();
        for (index, setting) in unit.settings.iter().enumerate() {
            let is_line = setting.section == "Service" && setting.key.starts_with("Exec");
            if is_line && !setting.value.text.is_empty() && !unit.is_taken_back(index, true) {
                let words = systemd::command(unit, setting, &variables, notes);
                lines.push((setting, words));
            }
        }
        Some(Reading { unit, lines })
    }

    fn run(&self, read: &mut Read<'_>, notes: &mut Notes) -> Option<Found> {
        let start = self.of("ExecStart").next()?;
        let is_pod = matches!(run::command(start.1), Some(Command::PodStart));
        let creates = |words: &Words| matches!(run::command(words), Some(Command::PodCreate(_)));
        if is_pod {
            let create = self.lines.iter().find(|(_, words)| creates(words));
            let Some((setting, words)) = create else {
                let message = "the pod was made before: the unit does not say what it is";
                notes.broken(
                    &start.0.at(),
                    message,
                    "write the unit with `podman generate systemd --new`",
                );
                return None;
            };
            let made = self.pod(setting, words, notes);
            return Some(Found::Pod(Box::new(made)));
        }
        // What is started may have been made in the same unit.
        let runs = |words: &Words| matches!(run::command(words), Some(Command::Run(_)));
        let made =
            self.of("ExecStart").chain(self.of("ExecStartPre")).find(|(_, words)| runs(words));
        let Some((setting, words)) = made else {
            let message = "the container was made before: the unit does not say what it is";
            notes.broken(
                &start.0.at(),
                message,
                "write the unit with `podman generate systemd --new`",
            );
            return None;
        };
        let Some(Command::Run(rest)) = run::command(words) else { return None };
        let name = self.unit.instance_stem();
        let name = name.strip_prefix("container-").unwrap_or(&name).to_owned();
        let mut draft = Draft::new(name, setting.at());
        run::read(&mut draft, rest, &setting.at(), notes);
        read_files(&mut draft, read, notes);
        self.stop(&mut draft, notes);
        let is_kept = systemd::apply(self.unit, &mut draft, notes);
        self.hooks(setting, notes);
        Some(if is_kept { Found::Container(Box::new(draft)) } else { Found::OneShot })
    }

    fn of(&self, key: &'static str) -> impl Iterator<Item = (&'u Setting, &Words)> {
        self.lines
            .iter()
            .filter(move |(setting, _)| setting.key == key)
            .map(|(setting, words)| (*setting, words.as_slice()))
    }

    /// The grace period of `podman stop -t 30`, when nothing else says one.
    fn stop(&self, draft: &mut Draft, notes: &mut Notes) {
        if draft.shared.spec.contains_key("terminationGracePeriodSeconds") {
            return;
        }
        for (_, words) in self.of("ExecStop") {
            let Some(Command::Stop(rest)) = run::command(words) else { continue };
            let mut rest = rest.iter();
            while let Some((word, at)) = rest.next() {
                let value = match word.as_str() {
                    "-t" | "--time" => rest.next().map(|(value, _)| value.as_str()),
                    word => word.strip_prefix("--time=").or_else(|| word.strip_prefix("-t")),
                };
                if let Some(value) = value.filter(|value| value.parse::<u64>().is_ok()) {
                    apply(draft, "stop-timeout", value, &at.named("podman stop --time"), notes);
                }
            }
        }
    }

    /// What runs besides the container itself, which is in `main`.
    fn hooks(&self, main: &Setting, notes: &mut Notes) {
        for (setting, words) in &self.lines {
            if std::ptr::eq(*setting, main) {
                continue;
            }
            systemd::hook(setting, words, notes);
        }
    }

    fn pod(&self, setting: &Setting, words: &Words, notes: &mut Notes) -> Made {
        let at = setting.at();
        let name = self.unit.instance_stem();
        let name = name.strip_prefix("pod-").unwrap_or(&name).to_owned();
        let mut frame = Draft::new(name, at.clone());
        if let Some(Command::PodCreate(rest)) = run::command(words) {
            let rest = without_own(&mut frame, rest, notes);
            let behind = run::options(&mut frame, &rest, notes);
            if let Some((name, _)) = behind.first() {
                frame.name.clone_from(name);
            }
        }
        systemd::apply(self.unit, &mut frame, notes);
        self.hooks(setting, notes);
        let identifier_file = match frame.pod.take() {
            Some(PodReference::IdentifierFile(file)) => Some(file),
            _ => None,
        };
        let shared = std::mem::take(&mut frame.shared);
        amounts::from_quota(&mut frame);
        let amounts = amounts::take(&mut frame);
        let pod =
            PodDraft { name: frame.name.clone(), at, shared, amounts, containers: Vec::new() };
        Made { pod, identifier_file, frame }
    }
}

/// The words without options of `podman pod create` that `podman run` does not have.
pub(super) fn without_own(
    frame: &mut Draft,
    words: &Words,
    notes: &mut Notes,
) -> Vec<(String, At)> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some((word, at)) = words.next() {
        if word == "-n" {
            // `podman run` has no letter for the name.
            kept.push(("--name".to_owned(), at.clone()));
            continue;
        }
        let name = word.strip_prefix("--").unwrap_or_default();
        let (name, given) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v)));
        if !POD_ONLY.iter().any(|(own, _)| *own == name) {
            kept.push((word.clone(), at.clone()));
            continue;
        }
        // `--infra` is a switch.
        let value = match given {
            None if name != "infra" => words.next().map(|(value, _)| value.clone()),
            given => given.map(str::to_owned),
        };
        let at = at.named(format!("--{name}"));
        if name == "share" && value.is_some_and(|value| value.split(',').any(|ns| ns == "pid")) {
            frame.shared.spec.insert("shareProcessNamespace", true.into());
        }
        notes.carried(&at, "the kubelet makes the pod and its first container");
    }
    kept
}
