//! What holds for the linter and any bytes. The fuzzer uses this file too.

use basalt_model::report::Place;
use basalt_static_pods::lint::{File, Policy, Rules, asked, lint};

/// Checks the laws; the error says which one is broken.
pub(crate) fn obeys(bytes: &[u8]) -> Result<(), String> {
    let files = [File { name: "a.yaml", bytes }];
    let policy = Policy::of_own_pods();
    let own = lint(&files, Rules::Kubelet);
    if own != lint(&files, Rules::Kubelet) {
        return Err("the same text has other findings".to_owned());
    }
    let all = lint(&files, Rules::Basalt(&policy));
    if let Some(finding) = own.iter().find(|finding| !all.contains(finding)) {
        return Err(format!("the rules of Basalt leave out: {finding}"));
    }
    let lines = u32::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(0);
    // Other characters than `\n` end a line of YAML as well, each of one byte or more.
    let most =
        lines.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).saturating_add(1);
    for finding in &all {
        if finding.place < Place::START || finding.place.line > most {
            return Err(format!("not a place in the text: {finding}"));
        }
        if finding.message.is_empty() || finding.remedy.is_empty() || finding.rule.is_empty() {
            return Err(format!("says nothing: {finding:?}"));
        }
    }
    if !all.is_sorted_by_key(|finding| finding.place) {
        return Err("findings are not in order".to_owned());
    }
    // Asking a host is as safe.
    drop(asked(&files));
    Ok(())
}
