//! `cargo xtask pods import`: reads Podman's files, writes manifests.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use basalt_model::yaml::print::print;
use basalt_static_pods::import::{
    self, CarriedFile, Fate, Imported, ImportedPod, Note, Reference, Source, Unread,
};
use serde::Serialize;

use super::sources::{self, Found, text};
use crate::FAILED;
use crate::output;
use crate::visible::visible;

/// The mode of what is written, before the umask.
const MODE: u32 = 0o644;

/// Where manifests are, beside the snippet that names them.
const MANIFESTS: &str = "pods";

/// The file with what the cluster.yaml has to say.
const SNIPPET: &str = "cluster-pods.yaml";

/// Turn what Podman runs into static pods for a cluster.yaml.
///
/// Reads quadlets (.container, .pod, .volume, with drop-ins), systemd units that run podman (also those of `podman
/// generate systemd`) and compose files (.yaml), all of them together. Each pod becomes a manifest that `pods lint`
/// takes, and the key `pods` names them for the cluster.yaml.
///
/// Compose files of one folder are one project, as for `docker compose`: later ones are merged over earlier ones, and
/// what they include and extend is read, too. Of a folder, or of a `compose.yaml` that is named alone, that file is
/// taken and the `compose.override.yaml` beside it, or else the files that `COMPOSE_FILE` in the `.env` beside them names;
/// give all files by name where a project is made of others. `COMPOSE_PROFILES` there says which services with profiles
/// become pods.
///
/// A static pod of a standalone node has the host's network, starts in no order and runs nothing on the host, so not
/// everything can be carried. The report says what became of every key: `changed` (nearly the same), `lost` (the pod
/// starts without it), `broken` (a person has to act before the pod may run), each with its place and a remedy. What is
/// carried as it is has no line, unless `--verbose` asks for it. The value of a secret is never copied: the pod gets a
/// file that vault-agent writes, and the template for it is in the snippet.
///
/// Without `--output` all goes to standard output as one stream of YAML documents, the snippet first, and the report to
/// standard error. With it the report is what is printed.
///
/// Exit status: 0 when every pod can run as it was written, also when something is lost; 1 when something is broken,
/// with `--strict` also when something is lost, or when an input cannot be read or understood, of which nothing is
/// written; 2 for wrong usage.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Quadlets, units and compose files, or folders of them, as /etc/containers/systemd.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Write manifests and the files they mount to DIR/pods, and the snippet to DIR/cluster-pods.yaml.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,

    /// Replace files that are there already.
    #[arg(long, requires = "output")]
    force: bool,

    /// A role whose nodes run the pods; may be given several times.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,

    /// The folder that stands for the host's /.
    ///
    /// Files of variables that are named by an absolute path are read below it.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// How to print the report.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    report: output::Format,

    /// Report also what is carried.
    #[arg(short, long)]
    verbose: bool,

    /// Fail when anything is lost.
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Found { texts, passed_over } = sources::collect(&arguments.files)?;
    if texts.is_empty() {
        bail!("there is nothing to import: no quadlet, no unit, no compose file");
    }
    let sources: Vec<Source<'_>> = texts.iter().map(|(name, text)| Source { name, text }).collect();
    let mut also_read = BTreeSet::new();
    let mut read = |reference: Reference<'_>| {
        let path = referred(&arguments.root, reference);
        let text = text(&path).map_err(Unread::from);
        also_read.insert(path);
        text
    };
    let imported = import::import(&sources, &mut read);
    for path in passed_over.iter().filter(|path| !also_read.contains(*path)) {
        output::say(format_args!("passed over: {}", visible(&path.display().to_string())));
    }
    if !imported.is_refused() {
        match &arguments.output {
            Some(folder) => write(folder, arguments, &imported)?,
            None => output::print(stream(&imported, &arguments.roles))?,
        }
    }
    report(arguments, &imported)?;
    Ok(status(&imported, arguments.strict))
}

/// Whether pods can run as they were written.
fn status(imported: &Imported, strict: bool) -> ExitCode {
    let worst = imported.notes.iter().map(|note| note.fate).max().unwrap_or(Fate::Carried);
    let least = if strict { Fate::Lost } else { Fate::Broken };
    if worst >= least { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

/// Where the file is that another one refers to.
fn referred(root: &Path, reference: Reference<'_>) -> PathBuf {
    let written = Path::new(reference.path);
    match written.strip_prefix("/") {
        Ok(inside) => root.join(inside),
        Err(_) => Path::new(reference.from).parent().unwrap_or(Path::new("")).join(written),
    }
}

/// All documents of a stream: the snippet, then the manifests.
fn stream(imported: &Imported, roles: &[String]) -> String {
    let mut stream = format!("# {SNIPPET}\n{}", imported.snippet.to_yaml(MANIFESTS, roles));
    for ImportedPod { name, manifest, files } in &imported.pods {
        stream.push_str(&format!("---\n# {MANIFESTS}/{name}.yaml\n{manifest}"));
        for CarriedFile { name: file, contents, .. } in files {
            let text = print(&contents.as_str().into());
            stream.push_str(&format!("---\n# {MANIFESTS}/{name}/{file}, as a text\n{text}"));
        }
    }
    stream
}

/// Writes the snippet and the manifests. Nothing is, when one of the files is there already and may not be replaced.
fn write(folder: &Path, arguments: &Arguments, imported: &Imported) -> Result<()> {
    let manifests = folder.join(MANIFESTS);
    let mut files =
        vec![(folder.join(SNIPPET), imported.snippet.to_yaml(MANIFESTS, &arguments.roles))];
    for ImportedPod { name, manifest, files: own } in &imported.pods {
        files.push((manifests.join(format!("{name}.yaml")), manifest.clone()));
        let path = |file: &CarriedFile| manifests.join(name).join(&file.name);
        files.extend(own.iter().map(|file| (path(file), file.contents.clone())));
    }
    let is_there = |(path, _): &&(PathBuf, String)| fs::symlink_metadata(path).is_ok();
    if let Some((path, _)) = files.iter().find(is_there).filter(|_| !arguments.force) {
        bail!(
            "`{}` exists, and nothing was written; replace it with `--force`",
            visible(&path.display().to_string())
        );
    }
    // The snippet names the others, so it comes last.
    for (path, text) in files.iter().rev() {
        let folder = path.parent().unwrap_or(&manifests);
        fs::create_dir_all(folder).with_context(|| {
            format!("cannot make the folder `{}`", visible(&folder.display().to_string()))
        })?;
        whole(path, text)
            .with_context(|| format!("cannot write `{}`", visible(&path.display().to_string())))?;
    }
    Ok(())
}

/// A file that appears as a whole.
fn whole(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut beside =
        tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(folder)?;
    beside.write_all(text.as_bytes())?;
    beside.as_file().sync_all()?;
    beside.persist(path)?;
    File::open(folder)?.sync_all()
}

/// A note, as it is printed for programs.
#[derive(Debug, Serialize)]
struct Row<'n> {
    /// `carried`, `changed`, `lost`, `broken` or `error`.
    fate: &'static str,
    file: &'n str,
    /// Counts from 1.
    line: u32,
    /// Counts from 1, in characters.
    column: u32,
    /// Empty for the whole file or container.
    setting: &'n str,
    message: &'n str,
    remedy: Option<&'n str>,
}

/// The document of `--report json`.
#[derive(Debug, Serialize)]
struct Document<'n> {
    schema: u32,
    pods: Vec<&'n str>,
    notes: Vec<Row<'n>>,
}

/// Prints the report: on standard output where nothing else is.
fn report(arguments: &Arguments, imported: &Imported) -> Result<()> {
    let is_shown = |note: &&Note| arguments.verbose || note.fate != Fate::Carried;
    let shown: Vec<&Note> = imported.notes.iter().filter(is_shown).collect();
    let text = match arguments.report {
        output::Format::Text => for_people(&shown, imported),
        output::Format::Json => {
            let notes = shown.into_iter().map(row).collect();
            let pods = imported.pods.iter().map(|pod| pod.name.as_str()).collect();
            serde_json::to_string_pretty(&Document { schema: 1, pods, notes })?
        }
    };
    match arguments.output {
        Some(_) => output::print(format_args!("{text}\n")),
        None => {
            output::say(text);
            Ok(())
        }
    }
}

fn for_people(shown: &[&Note], imported: &Imported) -> String {
    let mut text = String::new();
    for note in shown {
        for line in note.to_string().lines() {
            text.push_str(&visible(line));
            text.push('\n');
        }
    }
    let count = |fate| imported.notes.iter().filter(|note| note.fate == fate).count();
    text.push_str(&format!(
        "{}: {} carried, {} changed, {} lost, {} broken",
        counted(imported.pods.len(), "pod"),
        counted(count(Fate::Carried), "setting"),
        count(Fate::Changed),
        count(Fate::Lost),
        count(Fate::Broken),
    ));
    if imported.is_refused() {
        let errors = counted(count(Fate::Invalid), "error");
        text.push_str(&format!("; {errors}, so that nothing is written"));
    }
    text
}

/// `1 pod`, `2 pods`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn row(note: &Note) -> Row<'_> {
    let Note { fate, file, place, setting, message, remedy } = note;
    Row {
        fate: fate.word(),
        file,
        line: place.line,
        column: place.column,
        setting,
        message,
        remedy: remedy.as_deref(),
    }
}
