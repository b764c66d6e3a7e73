//! The config of a node: what Basalt writes, and under it what people add for a node or a role.

use basalt_model::node::Node;
use basalt_model::report::Report;
use camino::Utf8Path;

use crate::compile::{Layout, Lowered, Options, Output, Warnings, finish, judge, settle};
use crate::compose::{Source, join, lower_file};
use crate::merge::{Change, ChangeKind};
use crate::node;
use crate::output::IgnitionConfig;
use crate::tree::{Findings, Tree};
use crate::version::Target;

/// A Butane file that a person wrote for a node, besides what Basalt makes.
#[derive(Clone, Debug)]
pub struct Extra {
    /// As the person names it.
    pub file: String,
    /// The text.
    pub bytes: Vec<u8>,
}

/// The config of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// What Basalt writes, as Butane; the person's own files are not in it.
    pub butane: String,
    /// All of it compiled, as pretty JSON.
    pub ignition: String,
}

/// What people's file adds to the config of every node that names it. It is read once, however many these are.
#[derive(Clone, Debug)]
pub struct Addition {
    parts: Vec<Lowered>,
}

impl Addition {
    /// Reads a file and what it takes from below `files_dir`. The addition is there when the report has no errors.
    ///
    /// A key that Butane does not know is an error, since what was written there would be missing on the node. `agents`
    /// are the folders whose files the agent writes: a file in there is warned of.
    pub fn read(
        extra: &Extra,
        files_dir: Option<&Utf8Path>,
        agents: &[&str],
    ) -> (Option<Addition>, Report) {
        let warnings = Warnings::AllowedButForUnknownKeys;
        let options = Options { files_dir, warnings, output: Output::Ignition };
        let mut findings = Findings::new(&extra.file);
        let source = Source { file: &extra.file, bytes: &extra.bytes };
        let parts = lower_file(source, &options, &mut findings);
        for part in &parts {
            refuse_replacement(&part.config, &mut findings);
            agents.iter().for_each(|folder| warn_of_files_in(folder, &part.config, &mut findings));
        }
        let report = settle(findings, warnings);
        let addition = (!report.has_errors()).then_some(Addition { parts });
        (addition, report)
    }

    /// All that goes into nodes' configs, with the contents of local files: the same text means the same configs.
    pub fn text(&self) -> String {
        let text = |part: &Lowered| IgnitionConfig::new(part.config.clone(), part.target).to_json();
        self.parts.iter().map(text).collect()
    }

    /// The local files and folders that it names, below the files directory.
    pub fn local_paths(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| &part.local).map(String::as_str)
    }
}

/// Compiles the config of `node` together with `additions`.
///
/// They are merged in by Ignition's rules, in order. None may change what Basalt or an earlier one has written: that is
/// an error at the place of the change, since the cluster's file would say one thing and the node do another.
pub fn compile_node(node: &Node, additions: &[&Addition]) -> (Option<NodeConfig>, Report) {
    let butane = node::butane(node);
    let file = format!("{}.bu", node.name);
    let mut findings = Findings::new(&file);
    let options =
        Options { files_dir: None, warnings: Warnings::Allowed, output: Output::Ignition };
    let own = Source { file: &file, bytes: butane.as_bytes() };
    let mut parts = lower_file(own, &options, &mut findings);
    let target = parts.first().map(|base| base.target);
    for part in additions.iter().flat_map(|addition| &addition.parts) {
        if target.is_some_and(|target| refuse_target(part, target, &mut findings)) {
            parts.push(part.clone());
        }
    }
    let joined = join(parts, &mut findings).map(|(joined, changes)| {
        changes.iter().for_each(|change| judge_change(change, &file, &mut findings));
        judge(&joined.config, joined.target, options.output, &mut findings);
        joined
    });
    let (config, report) = finish(joined, findings, &options);
    let config = config.map(|config| NodeConfig { butane, ignition: config.text(Layout::Pretty) });
    (config, report)
}

/// The agent writes the files in there, and reports all others or moves them away.
fn warn_of_files_in(folder: &str, config: &Tree, findings: &mut Findings) {
    let Some(storage) = config.get("storage") else { return };
    for list in ["files", "links", "directories"] {
        for item in storage.items(list) {
            let Some(path) = item.text("path") else { continue };
            let below = path.strip_prefix(folder);
            let is_in = below.is_some_and(|rest| rest.starts_with('/'));
            if is_in || (below == Some("") && list != "directories") {
                findings
                    .warning(
                        &item.place_of("path"),
                        format!("`{folder}` is the agent's: it does not know of this, and reports it or moves it away"),
                    )
                    .hint("put it elsewhere, or declare the pod in the cluster's file");
            }
        }
    }
}

/// What is merged is written to the same specification, and for the same operating system.
fn refuse_target(extra: &Lowered, target: &Target, findings: &mut Findings) -> bool {
    let is_same = std::ptr::eq(extra.target, target);
    if !is_same {
        let wanted = format!("{} {}", target.variant, target.version);
        let found = format!("{} {}", extra.target.variant, extra.target.version);
        findings
            .error(
                &extra.config.origin,
                format!("the nodes' configs are `{wanted}`, not `{found}`"),
            )
            .hint(format!("write `variant: {}` and `version: {}`", target.variant, target.version));
    }
    is_same
}

/// `ignition.config.replace` would throw away everything else.
fn refuse_replacement(extra: &Tree, findings: &mut Findings) {
    let section = extra.get("ignition").and_then(|ignition| ignition.get("config"));
    if let Some(replace) = section.and_then(|section| section.get("replace")) {
        findings
            .error(&replace.origin, "it would take the place of everything that Basalt writes")
            .hint("use `merge`");
    }
}

fn judge_change(change: &Change, basalt: &str, findings: &mut Findings) {
    // What Basalt says nothing of may be said of its users; its files and units are its own.
    let is_own = ["storage.", "systemd.units."].iter().any(|part| change.path.starts_with(part));
    if change.kind == ChangeKind::Added && !is_own {
        return;
    }
    // Drop-ins are how a unit is meant to be changed.
    if change.path == "systemd.units.dropins" {
        return;
    }
    let owner = if &*change.parent.file == basalt {
        "Basalt writes this".to_owned()
    } else {
        format!("{}:{} says otherwise", change.parent.file, change.parent.place)
    };
    findings
        .error(&change.child, format!("{owner}; a file beside the cluster's cannot change it"))
        .hint("set it in the cluster's file, or use another path or a drop-in");
}
