//! Which files `pods import` reads: those that are named, and what belongs to them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use basalt_static_pods::import;

use crate::visible::visible;

/// The most that is read of one file, in bytes.
const MAX_BYTES: u64 = 8 << 20;

/// Endings of units that are read of a folder.
const UNITS: [&str; 8] =
    ["container", "pod", "volume", "network", "kube", "image", "build", "service"];

/// The names by which compose finds a project, in the order it looks for them.
const PROJECTS: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// The names of what compose merges over the project it found, in the same way.
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What there is to import.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files and what is in them.
    pub(super) texts: Vec<(String, String)>,
    /// What is in folders besides.
    pub(super) passed_over: Vec<PathBuf>,
}

/// Reads the files at `paths`, their drop-ins and overrides, and what there is in folders.
///
/// # Errors
/// When one of them cannot be read.
pub(super) fn collect(paths: &[PathBuf]) -> Result<Found> {
    let mut found = Found::default();
    for path in paths {
        let told = is_alone(path, paths).then(|| told(&path.with_file_name(".env"))).flatten();
        if let Some(told) = told.filter(|told| told.files.contains(path)) {
            found.add_told(told)?;
            continue;
        }
        found.add(path, true)?;
        if let Some(over) = override_of(path, paths) {
            found.add(&over, true)?;
        }
    }
    Ok(found)
}

/// What a `.env` names as the files of its project.
struct Told {
    env: (String, String),
    files: Vec<PathBuf>,
}

fn told(env: &Path) -> Option<Told> {
    let (name, text) = (env.display().to_string(), text(env).ok()?);
    let files = import::compose_files(&name, &text)?.into_iter().map(PathBuf::from).collect();
    Some(Told { env: (name, text), files })
}

/// Whether a file is by its name one that compose finds by itself, and named without others of its folder.
fn is_alone(path: &Path, paths: &[PathBuf]) -> bool {
    let is_beside = |other: &PathBuf| {
        other.as_path() != path && other.parent() == path.parent() && is_yaml(other)
    };
    is_called(path, &PROJECTS) && !paths.iter().any(is_beside)
}

/// The override that compose itself would find beside a project's file which is named alone.
fn override_of(path: &Path, paths: &[PathBuf]) -> Option<PathBuf> {
    if !is_alone(path, paths) {
        return None;
    }
    OVERRIDES.iter().map(|name| path.with_file_name(name)).find(|path| path.is_file())
}

fn is_called(path: &Path, names: &[&str]) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| names.contains(&name))
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

impl Found {
    /// Reads the files of a project that a `.env` names, and keeps the `.env`, which says so.
    fn add_told(&mut self, told: Told) -> Result<()> {
        let Told { env, files } = told;
        for path in files.iter().filter(|path| !self.has(path)).collect::<Vec<_>>() {
            let name = path.display().to_string();
            let text = text(path).with_context(|| {
                let (shown, env) = (visible(&name), visible(&env.0));
                format!("cannot read `{shown}`, which `COMPOSE_FILE` in `{env}` names")
            })?;
            self.texts.push((name, text));
        }
        self.texts.push(env);
        Ok(())
    }

    fn has(&self, path: &Path) -> bool {
        self.texts.iter().any(|(name, _)| Path::new(name) == path)
    }

    /// Reads a file, or what there is in a folder and in folders below it.
    fn add(&mut self, path: &Path, is_named: bool) -> Result<()> {
        let name = path.display().to_string();
        let shown = visible(&name);
        let metadata = fs::metadata(path).with_context(|| format!("cannot look at `{shown}`"))?;
        // A link to a folder may lead round in circles.
        if metadata.is_dir() && !is_named && path.is_symlink() {
            self.passed_over.push(path.to_owned());
            return Ok(());
        }
        if metadata.is_dir() {
            let read = || format!("cannot read the folder `{shown}`");
            let mut inside = Vec::new();
            for entry in fs::read_dir(path).with_context(read)? {
                inside.push(entry.with_context(read)?.path());
            }
            inside.sort();
            let told = told(&path.join(".env"));
            let project = match told {
                Some(_) => Vec::new(),
                None => project(&inside),
            };
            told.map(|told| self.add_told(told)).transpose()?;
            for path in inside.iter().filter(|path| !self.has(path)).collect::<Vec<_>>() {
                match is_yaml(path) && path.is_file() && !project.contains(&path) {
                    true => self.passed_over.push(path.clone()),
                    false => self.add(path, false)?,
                }
            }
            return Ok(());
        }
        if !is_named && !is_wanted(path) {
            self.passed_over.push(path.to_owned());
            return Ok(());
        }
        let text = text(path).with_context(|| format!("cannot read `{shown}`"))?;
        // A folder of units has others, too.
        if !is_named
            && name.ends_with(".service")
            && !text.contains("podman")
            && !text.contains("docker")
        {
            self.passed_over.push(path.to_owned());
            return Ok(());
        }
        self.texts.push((name.clone(), text));
        if is_named {
            return self.add_drop_ins(path);
        }
        Ok(())
    }

    /// The drop-ins of a file that was named itself.
    fn add_drop_ins(&mut self, path: &Path) -> Result<()> {
        let mut folder = path.as_os_str().to_owned();
        folder.push(".d");
        let folder = PathBuf::from(folder);
        if folder.is_dir() { self.add(&folder, false) } else { Ok(()) }
    }
}

/// The compose files of a folder that are its project: what compose finds by itself, or else the only one there is.
fn project(inside: &[PathBuf]) -> Vec<&PathBuf> {
    let first = |names: &[&str]| {
        names.iter().find_map(|name| inside.iter().find(|path| is_called(path, &[name])))
    };
    if let Some(main) = first(&PROJECTS) {
        return [Some(main), first(&OVERRIDES)].into_iter().flatten().collect();
    }
    let others: Vec<&PathBuf> = inside.iter().filter(|path| is_compose(path)).collect();
    if others.len() == 1 { others } else { Vec::new() }
}

fn is_compose(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    is_yaml(path) && stem.split('.').next().is_some_and(|stem| stem.ends_with("compose"))
}

/// Whether a file of a folder is by its name something that is imported.
fn is_wanted(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let folder = path.parent().and_then(Path::extension).and_then(|ending| ending.to_str());
    match ending {
        "conf" => folder == Some("d"),
        "yaml" | "yml" => is_compose(path),
        ending => UNITS.contains(&ending),
    }
}

/// The text of a file, when it is not too large for any that is imported.
pub(super) fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(MAX_BYTES + 1);
    file.read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 8 MiB, which none of these files is"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_of_a_folder() {
        for (path, expected) in [
            ("a/web.container", true),
            ("a/web.container.d/10.conf", true),
            ("a/web.conf", false),
            ("a/compose.yaml", true),
            ("a/docker-compose.prod.yml", true),
            ("a/values.yaml", false),
            ("a/web.timer", false),
            ("a/README", false),
        ] {
            assert_eq!(is_wanted(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn which_compose_files_are_a_project() {
        for (names, expected) in [
            (
                ["compose.override.yaml", "compose.yaml"].as_slice(),
                ["compose.yaml", "compose.override.yaml"].as_slice(),
            ),
            (&["compose.yaml", "docker-compose.prod.yml", "docker-compose.yml"], &["compose.yaml"]),
            (&["docker-compose.prod.yml", "values.yaml"], &["docker-compose.prod.yml"]),
            (&["docker-compose.dev.yml", "docker-compose.prod.yml"], &[]),
            (&["compose.override.yml"], &["compose.override.yml"]),
        ] {
            let inside: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(project(&inside), expected.iter().collect::<Vec<_>>(), "{names:?}");
        }
    }
}
