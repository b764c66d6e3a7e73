//! The manifests of people's own static pods, each looked at by itself before any node has it.

use basalt_model::node::OwnPod;
use basalt_model::report::{Report, Severity};
use basalt_static_pods::lint::{File, LintFinding, Policy, Rules, lint};

/// Whether nodes can be given the manifest; what is wrong with it is reported with its place there.
pub(super) fn is_fine(file: &str, pod: &OwnPod, report: &mut Report) -> bool {
    let policy = Policy::of_node([pod]);
    let bytes = pod.manifest.as_bytes();
    let findings = lint(&[File { name: file, bytes }], Rules::Basalt(&policy));
    let is_fine = findings.iter().all(|finding| finding.severity() != Severity::Error);
    let mut own = Report::new(file);
    for LintFinding { place, path, message, rule, effect, remedy, .. } in findings {
        let message = format!("{message} [{rule}]");
        match effect.severity() {
            Severity::Error => own.error(place, path, message),
            Severity::Warning => own.warning(place, path, message),
        }
        .hint(remedy);
    }
    report.absorb(own);
    is_fine
}
