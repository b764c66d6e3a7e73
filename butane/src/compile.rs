//! Butane text → Ignition config: the stages in order. Each goes on with what the one before could read, so that one
//! run finds everything.

use basalt_model::report::{Report, Severity};
use basalt_model::yaml;
use camino::Utf8Path;

use crate::decode::{Language, decode};
use crate::lower::{Context, lower, sort};
use crate::output::IgnitionConfig;
use crate::schema::config::CONFIG;
use crate::sugar;
use crate::tree::{Findings, Origin, Tree};
use crate::validate::{self, disk};
use crate::version::{self, Target};

/// What to compile with.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The folder that `local` paths are below; without it a config that has some is refused.
    pub files_dir: Option<&'a Utf8Path>,
    /// What a warning means.
    pub warnings: Warnings,
}

/// What a warning means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warnings {
    /// It is reported.
    Allowed,
    /// It is an error (`--strict`).
    Refused,
}

/// Compiles one Butane config. `file` is only used to name the text in findings.
///
/// The config is there when the report has no errors. Findings come from all stages: reading the YAML, Butane's own
/// rules, local files, and Ignition's rules for what comes out, each at the YAML that caused it. Reads only below
/// [`Options::files_dir`]; symbolic links that lead out of it are refused.
pub fn compile(file: &str, bytes: &[u8], options: &Options) -> (Option<IgnitionConfig>, Report) {
    let mut findings = Findings::new(file);
    let tree = to_tree(file, bytes, options.files_dir, &mut findings);
    if let Some((tree, target)) = &tree {
        judge(tree, target, &mut findings);
    }
    finish(tree.map(|(tree, _)| tree), findings, options.warnings)
}

/// Everything up to the rules for the finished config. `None` means that errors were reported; a tree does not mean
/// that there were none.
pub(crate) fn to_tree(
    file: &str,
    bytes: &[u8],
    files_dir: Option<&Utf8Path>,
    findings: &mut Findings,
) -> Option<(Tree, &'static Target)> {
    let Some(root) = yaml::parse(bytes, &mut findings.0)?.first else {
        version::nothing(file, findings);
        return None;
    };
    let target = version::target(&root, file, findings)?;
    let origin = Origin::root(file, root.place);
    let written = decode(&root, &CONFIG, Language::Butane(target.base), origin, findings);
    validate::butane(&written, &CONFIG, findings);
    let mut context = Context { files_dir, findings };
    let mut config = lower(&written, &CONFIG, &mut context);
    set_version(&written, &mut config, target);
    Some((sugar::expand(&written, config, &mut context), target))
}

fn set_version(written: &Tree, config: &mut Tree, target: &Target) {
    let origin = written.place_of("version");
    if config.get("ignition").is_none() {
        config.set("ignition", Tree::map_at(&origin, Vec::new()));
        sort(config);
    }
    if let Some(ignition) = config.get_mut("ignition") {
        ignition.set("version", Tree::text_at(&origin, target.ignition));
        sort(ignition);
    }
}

/// Applies the rules for a finished config.
pub(crate) fn judge(config: &Tree, target: &Target, findings: &mut Findings) {
    validate::ignition(config, &CONFIG, findings);
    if target.variant == "fcos" {
        validate::with(findings, |check| disk::system_partitions(config, check));
    }
}

/// The config, when nothing speaks against it, and the report: sorted by place, nothing twice.
pub(crate) fn finish(
    config: Option<Tree>,
    findings: Findings,
    warnings: Warnings,
) -> (Option<IgnitionConfig>, Report) {
    let mut report = Report::new("");
    let mut last = None;
    for finding in findings.0.sorted() {
        if last == Some(finding) {
            continue;
        }
        let severity = match warnings {
            Warnings::Allowed => finding.severity,
            Warnings::Refused => Severity::Error,
        };
        let new = match severity {
            Severity::Error => report.error(finding.place, &finding.path, &finding.message),
            Severity::Warning => report.warning(finding.place, &finding.path, &finding.message),
        };
        new.file.clone_from(&finding.file);
        new.hint.clone_from(&finding.hint);
        last = Some(finding);
    }
    let config = config.filter(|_| !report.has_errors()).map(IgnitionConfig::new);
    (config, report)
}
