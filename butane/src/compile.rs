//! Butane text → Ignition config: the stages in order. Each goes on with what the one before could read, so that one
//! run finds everything.

use std::io::{self, Write};

use basalt_model::report::{Report, Severity};
use basalt_model::yaml::Yaml;
use camino::Utf8Path;

use crate::compose::{Composed, Source, compile_all};
use crate::data;
use crate::decode::{Language, decode};
use crate::filter;
use crate::lower::{Context, lower, sort};
use crate::machine_config::{self, MachineConfig};
use crate::output::IgnitionConfig;
use crate::schema::config::CONFIG;
use crate::sugar;
use crate::tree::{Findings, Origin, Tree};
use crate::validate::{self, disk};
use crate::variables::{Marks, Values, refuse_misplaced};
use crate::version::{self, Target};

/// What to compile with.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The folder that `local` paths are below; without it a config that has some is refused.
    pub files_dir: Option<&'a Utf8Path>,
    /// What a warning means.
    pub warnings: Warnings,
    /// What comes out.
    pub output: Output,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// What the variant's systems take: a MachineConfig for openshift, an Ignition config for all others.
    Variant,
    /// An Ignition config in any case (`--raw`).
    Ignition,
}

/// How JSON is laid out; YAML has one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All in one line.
    Compact,
    /// With two spaces of indentation.
    Pretty,
}

/// A config that was compiled: it has passed all rules.
#[derive(Clone, Debug)]
pub struct Compiled {
    ignition: IgnitionConfig,
    machine_config: Option<MachineConfig>,
}

impl Compiled {
    /// The config as text with a final newline.
    pub fn text(&self, layout: Layout) -> String {
        match (&self.machine_config, layout) {
            (Some(machine_config), _) => machine_config.to_yaml(&self.ignition),
            (None, Layout::Compact) => self.ignition.to_json(),
            (None, Layout::Pretty) => self.ignition.to_json_pretty(),
        }
    }

    /// Writes what [`text`](Compiled::text) gives, in many small pieces: `out` should have a buffer. Large contents are
    /// encoded on the way, so that the text is never whole in memory.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, layout: Layout, out: &mut impl Write) -> io::Result<()> {
        match &self.machine_config {
            Some(machine_config) => {
                out.write_all(machine_config.to_yaml(&self.ignition).as_bytes())
            }
            None => self.ignition.write(layout, out),
        }
    }

    /// The Ignition config, also when it is part of a MachineConfig.
    pub fn ignition(&self) -> &IgnitionConfig {
        &self.ignition
    }

    /// Whether what comes out is a MachineConfig.
    pub fn is_machine_config(&self) -> bool {
        self.machine_config.is_some()
    }
}

/// What a warning means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warnings {
    /// It is reported.
    Allowed,
    /// It is reported, but a key that Butane does not know is an error: what is written there would be lost.
    AllowedButForUnknownKeys,
    /// It is an error (`--strict`).
    Refused,
}

impl Warnings {
    /// Findings about `file`, with unknown keys as what they are.
    pub(crate) fn findings(self, file: &str) -> Findings {
        match self {
            Warnings::AllowedButForUnknownKeys => Findings::new(file).refuse_unknown_keys(),
            // What is refused in the end is a warning until then.
            Warnings::Allowed | Warnings::Refused => Findings::new(file),
        }
    }
}

/// Compiles one Butane config. `file` is only used to name the text in findings.
///
/// The config is there when the report has no errors. Findings come from all stages: reading the YAML, Butane's own
/// rules, local files, what the variant does not take, and Ignition's rules for what comes out, each at the YAML that
/// caused it. Reads only below [`Options::files_dir`]; symbolic links that lead out of it are refused.
///
/// A text of several documents, or with variables, is compiled as by [`compile_all`] without values.
pub fn compile(file: &str, bytes: &[u8], options: &Options) -> (Option<Compiled>, Report) {
    let Composed { config, report, .. } =
        compile_all(&[Source { file, bytes }], &Values::NONE, options);
    (config, report)
}

/// A config after everything but the rules for the finished config.
#[derive(Clone, Debug)]
pub(crate) struct Lowered {
    /// With Ignition's names.
    pub config: Tree,
    pub target: &'static Target,
    /// What else a MachineConfig has, with Butane's names.
    pub beside: Tree,
    /// Where the variant stands.
    pub variant: Origin,
    /// The [`ONE_PIECE`] sections that were written.
    pub one_piece: Vec<(&'static str, Origin)>,
    /// The files and folders of the build machine that were named.
    pub local: Vec<String>,
}

/// Sections whose parts become other things together than each alone, so that what was made of two cannot be merged.
const ONE_PIECE: [&str; 2] = ["boot_device", "grub"];

/// Everything up to the rules for the finished config, for one document of `file`. `None` means that errors were
/// reported; a config does not mean that there were none.
pub(crate) fn lower_document(
    file: &str,
    root: &Yaml,
    marks: &Marks,
    options: &Options,
    findings: &mut Findings,
) -> Option<Lowered> {
    let target = version::target(root, file, findings)?;
    let origin = Origin::root(file, root.place);
    let mut written = decode(root, &CONFIG, Language::Butane(target), origin, findings);
    refuse_misplaced(&mut written, &CONFIG, target, marks, findings);
    validate::butane(&written, &CONFIG, target, findings);
    if target.openshift.is_some() {
        validate::with(findings, target, |check| match options.output {
            Output::Variant => machine_config::check_repeats(&written, check),
            Output::Ignition => machine_config::check_left_out(&written, check),
        });
    }
    let mut local = Vec::new();
    gather_local(&written, &mut local);
    let mut context = Context { files_dir: options.files_dir, target, findings };
    let mut config = lower(&written, &CONFIG, &mut context);
    set_version(&written, &mut config, target);
    let mut config = sugar::expand(&written, config, &mut context);
    data::pack(&mut config, context.findings);
    validate::referenced::configs(&written, &config, target, options.files_dir, findings);
    let one_piece =
        ONE_PIECE.iter().filter_map(|name| Some((*name, written.get(name)?.origin.clone())));
    Some(Lowered {
        config,
        target,
        beside: machine_config::beside(&written),
        variant: written.place_of("variant"),
        one_piece: one_piece.collect(),
        local,
    })
}

/// The values of all fields that name something on the build machine.
fn gather_local(tree: &Tree, local: &mut Vec<String>) {
    for (name, value) in tree.entries() {
        if *name == "local" || name.ends_with("_local") {
            let texts = std::iter::once(value).chain(value.list());
            local.extend(texts.filter_map(Tree::as_text).map(|text| text.to_string()));
        }
        gather_local(value, local);
    }
    tree.list().iter().for_each(|item| gather_local(item, local));
}

fn set_version(written: &Tree, config: &mut Tree, target: &Target) {
    let origin = written.place_of("version");
    if config.get("ignition").is_none() {
        config.set("ignition", Tree::map_at(&origin, Vec::new()));
        sort(config);
    }
    if let Some(ignition) = config.get_mut("ignition") {
        ignition.set("version", Tree::text_at(&origin, target.spec.as_str()));
        sort(ignition);
    }
}

/// Applies the rules for a finished config.
pub(crate) fn judge(
    config: &Tree,
    target: &'static Target,
    output: Output,
    findings: &mut Findings,
) {
    validate::ignition(config, &CONFIG, target, findings);
    validate::with(findings, target, |check| {
        if target.fcos.is_some() {
            disk::system_partitions(config, check);
        }
        validate::openshift::finished(config, check);
        // The operator's rules are for MachineConfigs; a bare Ignition config is for a machine that it does not manage.
        if target.openshift.is_none() || output == Output::Variant {
            filter::check(config, &CONFIG, target.filters, check);
        }
    });
}

/// The config, when nothing speaks against it, and the report.
pub(crate) fn finish(
    lowered: Option<Lowered>,
    findings: Findings,
    options: &Options,
) -> (Option<Compiled>, Report) {
    let report = settle(findings, options.warnings);
    let compiled = lowered.filter(|_| !report.has_errors()).map(|lowered| {
        let is_machine_config =
            lowered.target.openshift.is_some() && options.output == Output::Variant;
        Compiled {
            ignition: IgnitionConfig::new(lowered.config, lowered.target),
            machine_config: is_machine_config.then(|| MachineConfig::of(&lowered.beside)),
        }
    });
    (compiled, report)
}

/// The findings sorted by place, nothing twice, with warnings as what they mean.
pub(crate) fn settle(findings: Findings, warnings: Warnings) -> Report {
    let mut report = Report::new("");
    let mut last = None;
    for finding in findings.0.sorted() {
        if last == Some(finding) {
            continue;
        }
        let severity = match warnings {
            Warnings::Allowed | Warnings::AllowedButForUnknownKeys => finding.severity,
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
    if findings.0.is_cut_short() {
        report.cut_short();
    }
    report
}
