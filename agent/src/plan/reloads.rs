//! How a pod takes a new config while it runs.
//!
//! Only when its manifest stays: a pod that is replaced reads its files when it starts. And only pods whose program can look at
//! a config before it takes it; for the others a new config is a new manifest.
//!
//! A reload that is due is on record before the first file is written. So an interruption between writing and reloading
//! is made up for in the next round, where the files alone would say that nothing is left to do.

use std::collections::BTreeSet;

use basalt_static_pods::control::check_command;
use basalt_static_pods::{CONFIG_DIRECTORY, StaticPod, TRUST_DIRECTORY};

use super::{Planning, ReloadedFile, Step, Why, manifest_path};

impl Planning<'_> {
    /// The reload that `writes`, the config files of `pod` that are to be written, call for.
    pub(super) fn reload(&self, pod: &StaticPod, writes: &[Step]) -> Option<Step> {
        if !self.can_reload(pod) || !(self.was_interrupted(pod) || writes.iter().any(changes_text))
        {
            return None;
        }
        let file = |step: &Step| match step {
            Step::WriteConfigFile { path, mode, contents, reason, .. } => Some(ReloadedFile {
                path: path.clone(),
                mode: *mode,
                contents: contents.clone(),
                reason: reason.clone(),
            }),
            _ => None,
        };
        Some(Step::Reload {
            path: format!("{CONFIG_DIRECTORY}/{}", pod.name),
            pod: pod.name.clone(),
            files: writes.iter().filter_map(file).collect(),
            run: self.run(&manifest_path(self.desired, pod)),
            named: self.named(),
        })
    }

    /// What the agent lays down for pods besides their config files.
    fn named(&self) -> Vec<String> {
        let vault = self.desired.node.vault.iter();
        let certificates = vault.flat_map(|vault| &vault.certificates);
        let folders = certificates.map(|certificate| certificate.directory.to_string());
        folders.chain([TRUST_DIRECTORY.to_owned()]).collect()
    }

    /// The pods that are to be reloaded in this round.
    pub(super) fn reloads(&self) -> BTreeSet<String> {
        let is_due = |pod: &&StaticPod| {
            let writes: Vec<Step> =
                pod.files.iter().filter_map(|file| self.config_file(pod, file)).collect();
            self.reload(pod, &writes).is_some()
        };
        self.desired.pods.iter().filter(is_due).map(|pod| pod.name.to_string()).collect()
    }

    fn can_reload(&self, pod: &StaticPod) -> bool {
        check_command(pod.name.as_str()).is_some() && self.keeps_running(pod)
    }

    fn was_interrupted(&self, pod: &StaticPod) -> bool {
        self.ledger.known().is_some_and(|known| known.reloads.contains(pod.name.as_str()))
    }
}

/// Whether a program would read something else after this step.
fn changes_text(step: &Step) -> bool {
    match step.why() {
        Some(Why::Mode { .. } | Why::Owner { .. } | Why::Label { .. } | Why::Restart) | None => {
            false
        }
        Some(
            Why::New
            | Why::Missing
            | Why::Update
            | Why::Changed
            | Why::Adopt
            | Why::Kind { .. }
            | Why::Unreadable { .. },
        ) => true,
    }
}
