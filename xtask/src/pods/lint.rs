//! `cargo xtask pods lint`: reads manifests, prints findings.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use basalt_butane::Source;
use basalt_model::report::Severity;
use basalt_static_pods::lint::{self, LintFinding};

use super::host;
use crate::findings::{self, Color, Output, Row};
use crate::visible::visible;
use crate::{FAILED, output};

/// The most that is read of one file, in bytes: the kubelet reads less.
const MAX_BYTES: u64 = 64 << 20;

/// Standard input instead of a file.
const STDIN: &str = "-";

/// What SARIF calls this linter.
const TOOL: &str = "basalt-pods-lint";

/// Check the manifests of one node's static pods as the kubelet would.
///
/// The files given are the manifest folder of one node, together; a folder stands for the files in it. Refused is what
/// a standalone kubelet (1.36) would reject, what would end or hang it, what it would silently drop or change, and
/// what it would take and never be able to start on any host. What only this host may lack is a warning.
///
/// Exit status: 0 when nothing is wrong, also with warnings; 1 when something is, or a file cannot be read; 2 for wrong
/// usage.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Manifests, or the folder they are in; `-` is standard input.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Which rules to apply.
    #[arg(long, value_name = "RULES", default_value = "kubelet")]
    rules: Rules,

    /// How to print findings.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    /// Whether text has colors.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: Color,

    /// With `--rules basalt`, look for what manifests mount in this root folder.
    ///
    /// It is that of a node, or of the image it boots. What is missing there, of another type than the manifest says,
    /// or labelled by SELinux so that containers may not read it, is refused.
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,

    /// With `--rules basalt`, an image that the node has; all others are refused.
    #[arg(long = "image", value_name = "REFERENCE")]
    images: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rules {
    /// What the kubelet takes and can start.
    Kubelet,
    /// And what Basalt wants of a node's own pods besides.
    Basalt,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut findings = Vec::new();
    let mut texts = Vec::new();
    let mut is_whole = true;
    for path in expanded(&arguments.files)? {
        let name = path.display().to_string();
        match read(&path) {
            Ok(Entry::Text(bytes)) => texts.push((name, bytes)),
            Ok(Entry::Pipe) => findings.push(lint::pipe(&name)),
            // The kubelet passes over folders, and so do we.
            Ok(Entry::Folder) => {}
            // What is wrong with the others is said all the same.
            Err(error) => {
                is_whole = false;
                output::say(format_args!("error: {error:#}"));
            }
        }
    }
    let files: Vec<_> =
        texts.iter().map(|(name, bytes)| lint::File { name: name.as_str(), bytes }).collect();
    let mut policy = lint::Policy::of_own_pods();
    policy.host = host::look(arguments.root.as_deref(), &arguments.images, &lint::asked(&files));
    let rules = match arguments.rules {
        Rules::Kubelet => lint::Rules::Kubelet,
        Rules::Basalt => lint::Rules::Basalt(&policy),
    };
    findings.extend(lint::lint(&files, rules));
    let rows: Vec<Row> = findings.iter().map(row).collect();
    let sources = sources(&files);
    let is_colored = arguments.color.is_wanted();
    output::write(|mut out| {
        findings::print(&rows, &sources, TOOL, arguments.output, is_colored, &mut out)
    })?;
    let is_refused = findings.iter().any(|finding| finding.severity() == Severity::Error);
    Ok(if is_refused || !is_whole { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// The files, each once, with those in folders in the kubelet's order.
fn expanded(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if path.as_os_str() == STDIN {
            files.push(path.clone());
            continue;
        }
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let shown = path.display().to_string();
        let read = || format!("cannot read the folder `{}`", visible(&shown));
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).with_context(read)? {
            inside.push(entry.with_context(read)?.path());
        }
        inside.sort();
        files.extend(inside);
    }
    // A folder and a file of it name one manifest twice. Links are manifests of their own.
    let mut known = BTreeSet::new();
    files.retain(|path| known.insert(path::absolute(path).unwrap_or_else(|_| path.clone())));
    Ok(files)
}

enum Entry {
    Text(Vec<u8>),
    Pipe,
    Folder,
}

fn read(path: &Path) -> Result<Entry> {
    let shown = path.display().to_string();
    let shown = visible(&shown);
    if path.as_os_str() == STDIN {
        return contents(io::stdin().lock()).context("cannot read standard input");
    }
    let metadata = fs::metadata(path).with_context(|| format!("cannot look at `{shown}`"))?;
    if metadata.is_dir() {
        return Ok(Entry::Folder);
    }
    // A pipe of a shell, as in `<(generate)`, is not in a folder of manifests.
    if metadata.file_type().is_fifo() && !path.starts_with("/dev") && !path.starts_with("/proc") {
        return Ok(Entry::Pipe);
    }
    let file = File::open(path).with_context(|| format!("cannot open `{shown}`"))?;
    contents(file).with_context(|| format!("cannot read `{shown}`"))
}

fn contents(from: impl Read) -> Result<Entry> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(Entry::Text(bytes))
}

fn sources<'f>(files: &[lint::File<'f>]) -> Vec<Source<'f>> {
    files.iter().map(|file| Source { file: file.name, bytes: file.bytes }).collect()
}

fn row(finding: &LintFinding) -> Row {
    let LintFinding { rule, file, place, path, message, effect, remedy } = finding;
    Row {
        severity: effect.severity(),
        rule,
        file: file.clone(),
        place: *place,
        path: path.clone(),
        message: message.clone(),
        effect: Some(effect.sentence()),
        remedy: Some(remedy.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const MANIFEST: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  hostNetwrk: true\n  containers:\n  - {name: a, image: a}\n";

    fn printed(output: Output) -> String {
        let files = [lint::File { name: "a.yaml", bytes: MANIFEST.as_bytes() }];
        let rows: Vec<Row> = lint::lint(&files, lint::Rules::Kubelet).iter().map(row).collect();
        let mut out = Vec::new();
        findings::print(&rows, &sources(&files), TOOL, output, false, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a.yaml", "b.yaml"].map(|name| folder.path().join(name));
        for file in [&b, &a] {
            fs::write(file, MANIFEST).unwrap();
        }
        let given = [
            PathBuf::from(STDIN),
            b.clone(),
            folder.path().to_owned(),
            folder.path().join("./b.yaml"),
        ];
        assert_eq!(expanded(&given).unwrap(), [PathBuf::from(STDIN), b, a]);
    }

    #[test]
    fn for_people() {
        expect![[r#"
            error[spec.hostNetwrk]:
              --> a.yaml:5:3
               |
             3 | metadata: {name: a}
             4 | spec:
             5 |   hostNetwrk: true
               |   ^^^^^^^^^^^ there is no field `hostNetwrk` here [unknown-field]; the kubelet drops or changes this in silence
             6 |   containers:
             7 |   - {name: a, image: a}
               |
               = hint: did you mean `hostNetwork`?
        "#]].assert_eq(&printed(Output::Text));
        expect![[r#"
            a.yaml:5:3: spec.hostNetwrk: there is no field `hostNetwrk` here [unknown-field]
              effect: the kubelet drops or changes this in silence
              remedy: did you mean `hostNetwork`?
        "#]]
        .assert_eq(&printed(Output::Short));
    }

    #[test]
    fn for_programs() {
        let document: serde_json::Value = serde_json::from_str(&printed(Output::Json)).unwrap();
        assert_eq!(document["errors"], 1);
        assert_eq!(document["findings"][0]["line"], 5);
        let sarif: serde_json::Value = serde_json::from_str(&printed(Output::Sarif)).unwrap();
        assert_eq!(sarif["version"], "2.1.0");
        let result = &sarif["runs"][0]["results"][0];
        assert_eq!(result["ruleId"], "unknown-field");
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert_eq!((&region["startLine"], &region["startColumn"]), (&5.into(), &3.into()));
    }
}
