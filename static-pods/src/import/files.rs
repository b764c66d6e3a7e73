//! Units with their drop-ins.

use super::Source;
use super::notes::{At, Notes};
use super::specifiers;
use super::unit::{self, Setting};

/// A unit, with what its drop-ins add.
#[derive(Debug)]
pub(super) struct Unit {
    /// As the person named it.
    pub(super) file: String,
    /// Without folder and kind: `web`, `web@` or `web@1`.
    pub(super) stem: String,
    /// `container`.
    pub(super) kind: String,
    pub(super) settings: Vec<Setting>,
}

impl Unit {
    /// The name in which other units refer to it, `web.container`.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.stem, self.kind)
    }

    pub(super) fn at(&self) -> At {
        At::start_of(&self.file)
    }

    /// The last value of a key, without what was taken back by an empty one.
    pub(super) fn last(&self, section: &str, key: &str) -> Option<&Setting> {
        let is_wanted = |setting: &&Setting| setting.section == section && setting.key == key;
        self.settings.iter().rfind(is_wanted).filter(|setting| !setting.value.text.is_empty())
    }

    /// Whether a later line of the same key takes this one's place, as `Key=` does for all before it.
    pub(super) fn is_taken_back(&self, index: usize, is_list: bool) -> bool {
        let Some((setting, later)) = self.settings.get(index..).and_then(<[Setting]>::split_first)
        else {
            return false;
        };
        later
            .iter()
            .filter(|other| other.section == setting.section && other.key == setting.key)
            .any(|other| !is_list || other.value.text.is_empty())
    }

    /// The unit's stem with its instance: that of the name, or the one it is enabled with.
    pub(super) fn instance_stem(&self) -> String {
        match self.last("Install", "DefaultInstance") {
            Some(instance) if self.stem.ends_with('@') => {
                format!("{}{}", self.stem, instance.value.text)
            }
            _ => self.stem.clone(),
        }
    }

    /// Whether the file is a template that names no instance of itself, so that nothing is made of it, which is noted.
    pub(super) fn is_mere_template(&self, units: &[Unit], notes: &mut Notes) -> bool {
        if !self.stem.ends_with('@') || self.last("Install", "DefaultInstance").is_some() {
            return false;
        }
        let is_instance = |unit: &&Unit| {
            unit.kind == self.kind && unit.stem != self.stem && unit.stem.starts_with(&self.stem)
        };
        if let Some(instance) = units.iter().find(is_instance) {
            let message =
                format!("the file is a template: its instance `{}` counts", instance.file);
            notes.carried(&self.at(), message);
        } else {
            let remedy = format!(
                "give the file under the name of its instance, `{}1.{}`",
                self.stem, self.kind
            );
            let message = "the file is a template, and names no instance of it";
            notes.broken(&self.at(), message, &remedy);
        }
        true
    }

    /// The text with its specifiers resolved; one that only a host can resolve is noted and stays.
    pub(super) fn resolved(&self, text: &str, at: &At, notes: &mut Notes) -> String {
        let service = format!("{}.service", self.instance_stem());
        specifiers::resolved(text, &service).unwrap_or_else(|specifier| {
            notes.broken(
                at,
                format!("only systemd on the host can resolve `{specifier}`"),
                "write what it stands for",
            );
            text.to_owned()
        })
    }
}

/// All units of `sources`, sorted by name. A drop-in that belongs to none of them is noted.
pub(super) fn units(sources: &[Source<'_>], notes: &mut Notes) -> Vec<Unit> {
    let (drop_ins, mains): (Vec<&Source<'_>>, Vec<&Source<'_>>) =
        sources.iter().partition(|source| source.name.ends_with(".conf"));
    let mut used = vec![false; drop_ins.len()];
    let mut units = Vec::new();
    for main in mains {
        let last = main.name.rsplit('/').next().unwrap_or(main.name);
        let Some((stem, kind)) = last.rsplit_once('.') else { continue };
        let mut settings = unit::parse(main.name, main.text, notes);
        for index in drop_ins_of(stem, kind, &drop_ins) {
            let Source { name, text } = drop_ins[index];
            settings.extend(unit::parse(name, text, notes));
            used[index] = true;
        }
        let file = main.name.to_owned();
        units.push(Unit { file, stem: stem.to_owned(), kind: kind.to_owned(), settings });
    }
    for (drop_in, _) in drop_ins.iter().zip(used).filter(|(_, used)| !used) {
        let at = At::start_of(drop_in.name);
        let message = "the drop-in belongs to no unit that was given";
        notes.lost(&at, message, "give the unit, too, or remove the drop-in");
    }
    // Containers of a pod are in this order.
    units.sort_by(|a, b| (&a.stem, &a.file).cmp(&(&b.stem, &b.file)));
    units
}

/// Drop-ins in the order they apply: by file name, where the folder that says most about the unit wins.
fn drop_ins_of(stem: &str, kind: &str, drop_ins: &[&Source<'_>]) -> Vec<usize> {
    let mut folders = vec![format!("{stem}.{kind}.d")];
    if let Some((prefix, _)) = stem.split_once('@') {
        folders.push(format!("{prefix}@.{kind}.d"));
    }
    for (index, _) in stem.rmatch_indices('-') {
        folders.push(format!("{}.{kind}.d", &stem[..=index]));
    }
    folders.push(format!("{kind}.d"));
    let mut found: Vec<(&str, usize)> = Vec::new();
    for folder in &folders {
        for (index, drop_in) in drop_ins.iter().enumerate() {
            let Some((path, name)) = drop_in.name.rsplit_once('/') else { continue };
            let is_inside = path.rsplit('/').next() == Some(folder.as_str());
            if is_inside && !found.iter().any(|(known, _)| *known == name) {
                found.push((name, index));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_by_name_and_folder() {
        let source = |name| Source { name, text: "[A]\nK=v\n" };
        let sources = [
            source("a/web-front.container"),
            source("a/web-front.container.d/20.conf"),
            source("a/web-.container.d/10.conf"),
            source("a/container.d/20.conf"),
            source("a/container.d/30.conf"),
            source("a/other.container.d/10.conf"),
        ];
        let mut notes = Notes::default();
        let units = units(&sources, &mut notes);
        let files: Vec<&str> = units[0].settings.iter().map(|s| s.file.as_str()).collect();
        assert_eq!(
            files,
            [
                "a/web-front.container",
                "a/web-.container.d/10.conf",
                "a/web-front.container.d/20.conf",
                "a/container.d/30.conf"
            ]
        );
        let lost: Vec<&str> = notes.0.iter().map(|note| note.file.as_str()).collect();
        assert_eq!(lost, ["a/container.d/20.conf", "a/other.container.d/10.conf"]);
    }
}
