//! The units of a config as files below a root of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::UNITS;
use crate::tree::{Origin, Tree};

/// Stands for a unit that the operating system has, so that its drop-ins are read. A file without any text would mask
/// it.
const STAND_IN: &str = "[Unit]\nDescription=Part of the operating system\n";

/// A file that is written for systemd to read.
pub(super) struct Part {
    /// Below the folder of units: `a.service`, `a.service.d/10-b.conf`.
    pub path: String,
    pub contents: Contents,
    /// Whether it is there for its drop-ins alone.
    pub is_stand_in: bool,
}

/// What is in a file, and where it comes from.
pub(super) struct Contents {
    pub text: String,
    pub origin: Origin,
}

impl Part {
    /// Whether it is a unit rather than a drop-in.
    pub(super) fn is_unit(&self) -> bool {
        !self.path.contains('/')
    }
}

/// The files of all units that have something to be verified. Names that are no file names are left away: the rules
/// have their say on those, and nothing may be written outside of the folder.
pub(super) fn parts(config: &Tree) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let units = config.get("systemd").map_or(&[][..], |systemd| systemd.items("units"));
    for unit in units {
        let Some(name) = unit.text("name").filter(|name| is_unit_name(name)) else { continue };
        if unit.flag("mask") == Some(true) || parts.iter().any(|part| part.path == name) {
            continue;
        }
        let dropins: Vec<Part> =
            unit.items("dropins").iter().filter_map(|d| dropin(name, d)).collect();
        match unit.get("contents").and_then(contents) {
            Some(contents) => {
                parts.push(Part { path: name.to_owned(), contents, is_stand_in: false });
            }
            None if dropins.is_empty() => continue,
            None => parts.push(Part {
                path: name.to_owned(),
                contents: Contents { text: STAND_IN.to_owned(), origin: unit.origin.clone() },
                is_stand_in: true,
            }),
        }
        parts.extend(dropins);
    }
    parts
}

fn dropin(unit: &str, dropin: &Tree) -> Option<Part> {
    let name = dropin.text("name").filter(|name| is_file_name(name))?;
    let contents = contents(dropin.get("contents")?)?;
    Some(Part { path: format!("{unit}.d/{name}"), contents, is_stand_in: false })
}

fn contents(tree: &Tree) -> Option<Contents> {
    let text = tree.as_text().filter(|text| !text.is_empty())?;
    Some(Contents { text: text.to_owned(), origin: tree.origin.clone() })
}

/// systemd.unit(5): letters, digits, `:-_.\`, and the `@` of templates and instances.
fn is_unit_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    is_file_name(name) && !name.starts_with('-') && name.bytes().all(is_allowed)
}

fn is_file_name(name: &str) -> bool {
    // With the ending of a drop-in's folder it is still one.
    const MOST_BYTES: usize = 253;
    !matches!(name, "" | "." | "..")
        && !name.contains(['/', '\0', '\n'])
        && name.len() <= MOST_BYTES
}

/// A temporary root with the files in it, gone with this value.
pub(super) struct Folder {
    root: tempfile::TempDir,
}

impl Folder {
    pub(super) fn write(parts: &[Part]) -> io::Result<Folder> {
        let folder = Folder { root: tempfile::tempdir()? };
        for part in parts {
            let file = folder.units().join(&part.path);
            fs::create_dir_all(file.parent().expect("it is below the folder of units"))?;
            fs::write(file, &part.contents.text)?;
        }
        Ok(folder)
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder of units.
    pub(super) fn units(&self) -> PathBuf {
        self.root().join(UNITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Output, Warnings, compile};

    #[test]
    fn units_become_files() {
        let text = "variant: fcos
version: 1.4.0
systemd:
  units:
  - {name: a.service, contents: '[Unit]', dropins: [{name: b.conf, contents: '[Service]'}]}
  - {name: masked.service, mask: true, contents: '[Unit]'}
  - {name: own.service, dropins: [{name: c.conf, contents: '[Unit]'}, {name: empty.conf}]}
  - {name: ../out.service, contents: '[Unit]'}
  - {name: --option.service, contents: '[Unit]'}
  - {name: enabled.service, enabled: true}
  - {name: d@.service, dropins: [{name: ../out.conf, contents: '[Unit]'}, {name: e.conf, contents: '[Unit]'}]}
";
        let options =
            Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Variant };
        let (config, report) = compile("a.bu", text.as_bytes(), &options);
        let config = config.unwrap_or_else(|| panic!("{report}"));
        let parts = parts(config.ignition().tree());
        let found: Vec<(&str, bool)> =
            parts.iter().map(|part| (part.path.as_str(), part.is_stand_in)).collect();
        assert_eq!(
            found,
            [
                ("a.service", false),
                ("a.service.d/b.conf", false),
                ("own.service", true),
                ("own.service.d/c.conf", false),
                ("d@.service", true),
                ("d@.service.d/e.conf", false),
            ]
        );
        let folder = Folder::write(&parts).unwrap();
        let read = |path: &str| fs::read_to_string(folder.units().join(path)).unwrap();
        assert_eq!(read("a.service.d/b.conf"), "[Service]");
        assert_eq!(read("own.service"), STAND_IN);
    }
}
