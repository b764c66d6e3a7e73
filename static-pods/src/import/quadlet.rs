//! Quadlets: `.container`, `.pod` and `.volume`, and what refers to them.
//!
//! Rules: podman-systemd.unit(5).

use super::amounts;
use super::draft::{Draft, MountSource, PodDraft, PodReference};
use super::environment::{Read, read_files};
use super::files::Unit;
use super::keys::{self, Key};
use super::notes::{At, Notes};
use super::options::{apply, named_volume};
use super::run;
use super::service::without_own;
use super::systemd;
use super::unit::Setting;
use super::values::{boolean, quantity};

/// The pods of all quadlets.
pub(super) fn pods(units: &[Unit], read: &mut Read<'_>, notes: &mut Notes) -> Vec<PodDraft> {
    let mut pods: Vec<(String, PodDraft, Draft)> = Vec::new();
    let mut alone = Vec::new();
    let volumes: Vec<(String, MountSource)> =
        of_kind(units, "volume").map(|unit| (unit.name(), volume(unit, notes))).collect();
    for unit in of_kind(units, "pod") {
        let (pod, frame) = pod(unit, &volumes, notes);
        pods.push((unit.name(), pod, frame));
    }
    for kind in ["network", "kube", "image", "build"] {
        of_kind(units, kind).for_each(|unit| other(unit, notes));
    }
    for unit in of_kind(units, "container") {
        let Some(mut draft) = container(unit, units, &volumes, read, notes) else { continue };
        let place = match &draft.pod {
            Some(PodReference::Name(name)) => pods.iter().position(|(known, ..)| known == name),
            _ => None,
        };
        match (place, draft.pod.take()) {
            (Some(place), _) => {
                let (_, pod, frame) = &mut pods[place];
                draft.inherit(frame);
                pod.containers.push(draft);
            }
            (None, None) => alone.push(PodDraft::of_one(draft)),
            (None, Some(_)) => {
                let at = unit.last("Container", "Pod").map_or(unit.at(), Setting::at);
                let message = "the pod's file was not given: the container gets a pod of its own";
                notes.broken(&at, message, "give the file of the pod, too");
                alone.push(PodDraft::of_one(draft));
            }
        }
    }
    let pods = pods.into_iter().map(|(_, pod, _)| pod);
    let (full, empty): (Vec<_>, Vec<_>) = pods.partition(|pod| !pod.containers.is_empty());
    for pod in empty {
        notes.lost(&pod.at, "the pod has no container", "give the files of its containers, too");
    }
    full.into_iter().chain(alone).collect()
}

fn of_kind<'u>(units: &'u [Unit], kind: &'static str) -> impl Iterator<Item = &'u Unit> {
    units.iter().filter(move |unit| unit.kind == kind)
}

fn container(
    unit: &Unit,
    units: &[Unit],
    volumes: &[(String, MountSource)],
    read: &mut Read<'_>,
    notes: &mut Notes,
) -> Option<Draft> {
    let mut draft = Draft::new(unit.instance_stem().replace('@', "-"), unit.at());
    if unit.is_mere_template(units, notes) {
        return None;
    }
    own_settings(unit, "Container", &mut draft, notes);
    if let Some(image) = unit.last("Container", "Image") {
        draft.image =
            self::image(unit, image, units, notes).map(|reference| (reference, image.at()));
    }
    if let Some(exec) = unit.last("Container", "Exec") {
        let variables = systemd::variables(unit, read, notes);
        let words = systemd::command(unit, exec, &variables, notes);
        draft.arguments = words.into_iter().map(|(word, _)| word).collect();
        draft.arguments_at = Some(exec.at());
        notes.carried(&exec.at(), "as `args`");
    }
    user(unit, &mut draft, notes);
    volatile(unit, &mut draft, notes);
    if let Some(pod) = unit.last("Container", "Pod") {
        draft.pod = Some(PodReference::Name(pod.value.text.clone()));
        notes.carried(&pod.at(), "as a container of that pod");
    }
    // What a person adds comes last, as on the command line.
    podman_args(unit, "Container", &mut draft, notes);
    mounted_volumes(&mut draft, volumes, notes);
    mounted_images(&mut draft, units, notes);
    read_files(&mut draft, read, notes);
    let is_kept = systemd::apply(unit, &mut draft, notes);
    hooks(unit, notes);
    is_kept.then_some(draft)
}

fn pod(unit: &Unit, volumes: &[(String, MountSource)], notes: &mut Notes) -> (PodDraft, Draft) {
    let mut frame = Draft::new(unit.instance_stem().replace('@', "-"), unit.at());
    own_settings(unit, "Pod", &mut frame, notes);
    if let Some(name) = unit.last("Pod", "PodName") {
        frame.name = unit.resolved(&name.value.text, &name.at(), notes);
        notes.carried(&name.at(), "as the pod's name");
    }
    podman_args(unit, "Pod", &mut frame, notes);
    mounted_volumes(&mut frame, volumes, notes);
    systemd::apply(unit, &mut frame, notes);
    hooks(unit, notes);
    let shared = std::mem::take(&mut frame.shared);
    amounts::from_quota(&mut frame);
    let amounts = amounts::take(&mut frame);
    let pod = PodDraft {
        name: frame.name.clone(),
        at: unit.at(),
        shared,
        amounts,
        containers: Vec::new(),
    };
    (pod, frame)
}

/// Applies the keys of the quadlet's own section that are names of podman's options.
fn own_settings(unit: &Unit, section: &str, draft: &mut Draft, notes: &mut Notes) {
    for (index, setting) in unit.settings.iter().enumerate() {
        if systemd_section(&setting.section) {
            continue;
        }
        let at = setting.at();
        let Some(key) = keys::find(setting, notes) else { continue };
        if setting.section != section {
            let message = format!("`[{}]` has no meaning in this file", setting.section);
            notes.invalid(&at, message, None);
            continue;
        }
        let is_list = matches!(key, Key::Each(_) | Key::Words(_) | Key::Implied(_) | Key::Lost(..));
        if setting.value.text.is_empty() || unit.is_taken_back(index, is_list) {
            notes.carried(&at, "a later line, or none, says what holds");
            continue;
        }
        match key {
            Key::Implied(reason) => notes.carried(&at, reason),
            Key::Lost(reason, remedy) => notes.lost(&at, reason, remedy),
            Key::Read => {}
            Key::Words(option) => {
                for (word, place) in setting.words(notes) {
                    let word = unit.resolved(&word, &place, notes);
                    apply(draft, option, &word, &place, notes);
                }
            }
            Key::Each(option) | Key::Last(option) => {
                let value = unit.resolved(&setting.value.text, &at, notes);
                apply(draft, option, value_of(option, &value), &at, notes);
            }
            Key::Security(prefix) => {
                let value = unit.resolved(&setting.value.text, &at, notes);
                security(draft, prefix, &value, &at, notes);
            }
        }
    }
}

fn systemd_section(section: &str) -> bool {
    ["Unit", "Service", "Install", "Quadlet"].contains(&section) || section.starts_with("X-")
}

/// Values that quadlets write otherwise than podman's options.
fn value_of<'v>(option: &str, value: &'v str) -> &'v str {
    match (option, boolean(value)) {
        ("sdnotify", Some(true)) => "container",
        ("sdnotify", Some(false)) => "conmon",
        ("env-host" | "http-proxy", Some(false)) => "false",
        _ => value,
    }
}

fn security(draft: &mut Draft, prefix: &str, value: &str, at: &At, notes: &mut Notes) {
    let is_switch = ["no-new-privileges=", "label=nested:", "label=disable"].contains(&prefix);
    let text = match (is_switch, boolean(value)) {
        (true, Some(false)) => {
            notes.carried(at, "off, as without it");
            return;
        }
        (true, Some(true)) => prefix.trim_end_matches([':', '=']).to_owned(),
        _ => format!("{prefix}{value}"),
    };
    apply(draft, "security-opt", &text, at, notes);
}

fn user(unit: &Unit, draft: &mut Draft, notes: &mut Notes) {
    let user = unit.last("Container", "User");
    let group = unit.last("Container", "Group");
    let at = user.or(group).map(Setting::at);
    let Some(at) = at else { return };
    let text = |setting: Option<&Setting>| setting.map(|setting| setting.value.text.clone());
    let value = match (text(user), text(group)) {
        (Some(user), None) => user,
        (user, group) => {
            format!("{}:{}", user.unwrap_or("0".to_owned()), group.unwrap_or_default())
        }
    };
    let value = unit.resolved(&value, &at, notes);
    apply(draft, "user", &value, &at, notes);
    if let (Some(_), Some(group)) = (user, group) {
        notes.carried(&group.at(), "as the group of `User`");
    }
}

fn volatile(unit: &Unit, draft: &mut Draft, notes: &mut Notes) {
    let Some(setting) = unit.last("Container", "VolatileTmp") else { return };
    if boolean(&setting.value.text) == Some(true) {
        apply(draft, "tmpfs", "/tmp:size=512M", &setting.at(), notes);
    } else {
        notes.carried(&setting.at(), "off, as without it");
    }
}

/// The image, also where another file names it.
fn image(unit: &Unit, setting: &Setting, units: &[Unit], notes: &mut Notes) -> Option<String> {
    let at = setting.at();
    let value = unit.resolved(&setting.value.text, &at, notes);
    if !value.ends_with(".image") && !value.ends_with(".build") {
        notes.carried(&at, "as `image`");
        return Some(value);
    }
    match named_image(units, &value) {
        Some(named) => {
            notes.carried(&at, "as `image`, with the reference of that file");
            Some(named.to_owned())
        }
        None => {
            let message = format!("`{value}` does not say what image there will be");
            notes.broken(&at, message, "write the image itself, by digest");
            None
        }
    }
}

/// The reference that the file `name` stands for.
fn named_image<'u>(units: &'u [Unit], name: &str) -> Option<&'u str> {
    let unit = of_kind(units, "image").find(|unit| unit.name() == name)?;
    unit.last("Image", "Image").map(|setting| setting.value.text.as_str())
}

/// What a mount calls by the name of a file is the image of that file.
fn mounted_images(draft: &mut Draft, units: &[Unit], notes: &mut Notes) {
    let at = draft.at.clone();
    draft.mounts.retain_mut(|mount| {
        let MountSource::Image(reference, _) = &mut mount.source else { return true };
        if !reference.ends_with(".image") && !reference.ends_with(".build") {
            return true;
        }
        match named_image(units, reference) {
            Some(named) => {
                *reference = named.to_owned();
                true
            }
            None => {
                let message =
                    format!("not mounted: `{reference}` does not say what image there will be");
                notes.broken(&at, message, "write the image itself, by digest");
                false
            }
        }
    });
}

/// `PodmanArgs=`: options of podman as they are.
fn podman_args(unit: &Unit, section: &str, draft: &mut Draft, notes: &mut Notes) {
    for (index, setting) in unit.settings.iter().enumerate() {
        let is_wanted = setting.section == section && setting.key == "PodmanArgs";
        if !is_wanted || unit.is_taken_back(index, true) {
            continue;
        }
        let mut words = setting.words(notes);
        for (word, at) in &mut words {
            *word = unit.resolved(word, at, notes);
        }
        if section == "Pod" {
            words = without_own(draft, &words, notes);
        }
        let rest = run::options(draft, &words, notes);
        if let Some((_, at)) = rest.first() {
            notes.invalid(at, "it is no option of podman", None);
        }
    }
}

fn hooks(unit: &Unit, notes: &mut Notes) {
    for setting in &unit.settings {
        if setting.section != "Service" || !setting.key.starts_with("Exec") {
            continue;
        }
        if setting.key == "ExecStart" {
            notes.invalid(
                &setting.at(),
                "a quadlet's program is its container",
                Some("write `Exec`"),
            );
        } else if !setting.value.text.is_empty() {
            let words = setting.words(notes);
            systemd::hook(setting, &words, notes);
        }
    }
}

/// Where a volume of a `.volume` file is on the host.
fn volume(unit: &Unit, notes: &mut Notes) -> MountSource {
    let mut draft = Draft::new(unit.stem.clone(), unit.at());
    own_settings(unit, "Volume", &mut draft, notes);
    systemd::apply(unit, &mut draft, notes);
    hooks(unit, notes);
    let text = |key: &str| unit.last("Volume", key).map(|setting| setting.value.text.as_str());
    let options: Vec<&str> = text("Options").unwrap_or_default().split(',').collect();
    let note = |key: &str, notes: &mut Notes, message: &str| {
        if let Some(setting) = unit.last("Volume", key) {
            notes.carried(&setting.at(), message);
        }
    };
    note("VolumeName", notes, "as the folder's name");
    let is_bind = options.contains(&"bind") || options.contains(&"rbind");
    match (text("Device"), text("Type")) {
        (Some(device), _) if device.starts_with('/') && is_bind => {
            for key in ["Device", "Type", "Options", "Driver"] {
                note(key, notes, "as that folder of the host");
            }
            return MountSource::Host(device.to_owned(), "Directory");
        }
        (_, Some("tmpfs")) => {
            for key in ["Device", "Type", "Options", "Driver"] {
                note(key, notes, "as memory of the pod");
            }
            let size = options.iter().find_map(|option| quantity(option.strip_prefix("size=")?));
            return MountSource::Memory(size);
        }
        _ => {}
    }
    for key in ["Device", "Type", "Options"] {
        if let Some(setting) = unit.last("Volume", key) {
            let message = "a volume is a folder of the host, and nothing is mounted there";
            let remedy = "mount it there with a mount unit of the node's Butane config";
            notes.broken(&setting.at(), message, remedy);
        }
    }
    match (text("Driver"), unit.last("Volume", "Driver")) {
        (Some("local"), Some(setting)) => notes.carried(&setting.at(), "as a folder of the host"),
        (Some(_), Some(setting)) => notes.broken(
            &setting.at(),
            "a volume is a folder of the host, and has no driver",
            "mount it there with a mount unit of the node's Butane config",
        ),
        _ => {}
    }
    named_volume(text("VolumeName").unwrap_or(&unit.stem))
}

/// Puts in place what `.volume` files say.
fn mounted_volumes(draft: &mut Draft, volumes: &[(String, MountSource)], notes: &mut Notes) {
    let at = draft.at.clone();
    for mount in &mut draft.mounts {
        let MountSource::Named(name) = &mount.source else { continue };
        if let Some((_, source)) = volumes.iter().find(|(known, _)| known == name) {
            mount.source = source.clone();
        } else if let Some(stem) = name.strip_suffix(".volume") {
            let message =
                format!("the file `{name}` was not given: the volume is a folder of that name");
            notes.changed(&at, message, "give the file of the volume, too");
            mount.source = named_volume(stem);
        }
    }
}

/// Files that no container is made of: each key is noted, and what the file is for.
fn other(unit: &Unit, notes: &mut Notes) {
    let mut draft = Draft::new(unit.stem.clone(), unit.at());
    let (section, message, remedy) = match unit.kind.as_str() {
        "network" => (
            "Network",
            "networks of podman do not exist for pods, which have the host's",
            "reach others at `localhost` or the node's address",
        ),
        "kube" => (
            "Kube",
            "what it names is a manifest already",
            "check it with `pods lint`, and name it itself under `pods` of the cluster.yaml",
        ),
        "image" => ("Image", "", ""),
        _ => (
            "Build",
            "a node builds no images",
            "build the image beforehand, and name it by digest",
        ),
    };
    if !message.is_empty() {
        notes.lost(&unit.at(), message, remedy);
    }
    own_settings(unit, section, &mut draft, notes);
    for setting in unit.settings.iter().filter(|setting| setting.section == "Image") {
        if ["Image", "ImageTag"].contains(&setting.key.as_str()) {
            notes.carried(&setting.at(), "read where a container names this file");
        }
    }
    systemd::apply(unit, &mut draft, notes);
    hooks(unit, notes);
}
