//! The config of a node: what Basalt writes, and under it what people add for a node or a role.

use basalt_model::node::Node;
use basalt_model::report::Report;
use camino::Utf8Path;

use crate::compile::{Layout, Lowered, Options, Output, Warnings, finish, judge};
use crate::compose::{Source, join, lower_file};
use crate::merge::{Change, ChangeKind};
use crate::node;
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

/// Compiles the config of `node` together with `extras`, whose local files are below `files_dir`.
///
/// The extras are merged in by Ignition's rules, in order. None may change what Basalt or an earlier one has written:
/// that is an error at the place of the change, since the cluster's file would say one thing and the node do another.
pub fn compile_node(
    node: &Node,
    extras: &[Extra],
    files_dir: Option<&Utf8Path>,
) -> (Option<NodeConfig>, Report) {
    let butane = node::butane(node);
    let file = format!("{}.bu", node.name);
    let mut findings = Findings::new(&file);
    let options = Options { files_dir, warnings: Warnings::Allowed, output: Output::Ignition };
    let own = Source { file: &file, bytes: butane.as_bytes() };
    let mut parts = lower_file(own, &Options { files_dir: None, ..options }, &mut findings);
    let target = parts.first().map(|base| base.target);
    for extra in extras {
        let source = Source { file: &extra.file, bytes: &extra.bytes };
        for part in lower_file(source, &options, &mut findings) {
            if target.is_some_and(|target| refuse_target(&part, target, &mut findings)) {
                refuse_replacement(&part.config, &mut findings);
                parts.push(part);
            }
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
