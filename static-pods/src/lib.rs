//! Renders the static pods of one node: takes a [`Node`], gives manifests and config files, touches nothing.
//!
//! Read [`render`] first, then one pod file in `pods/` (what the pod runs, as manifest and as config text), then
//! `parts` (what all pods share) and [`check`] (the rules every manifest obeys before it may be written).
//!
//! People's own pods are carried as they were written, with the digest of their files where they have any, so that a changed
//! file rolls them. What holds for every pod of ours: it lives in the host's network, refers to no object of the Kubernetes API, names its
//! image by digest, carries its priority as a number, mounts its config read-only from the host, takes secrets by
//! path. A new config is told to a running pod where its program can take it ([`control`]); where it cannot, the
//! annotation [`CONFIG_DIGEST_ANNOTATION`] changes with the config, so that a new one rolls the pod.

use std::fmt;

use basalt_model::names::{AbsolutePath, PodName};
use basalt_model::node::Node;

pub mod check;
pub mod control;
pub mod import;
pub mod lint;
mod manifest;
pub mod objects;
mod parts;
mod pods;
#[cfg(test)]
mod properties;
pub mod services;

pub use pods::keepalived::{CHECK_WEIGHT, HIGHEST_PRIORITY};

/// One static pod of a node, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPod {
    /// Also the stem of the manifest's file name, `NAME.yaml`.
    pub name: PodName,
    /// The manifest, YAML text with a final newline.
    pub manifest: String,
    /// The files it mounts, sorted by path. They have to exist before the manifest does.
    pub files: Vec<ConfigFile>,
}

/// One config file of a static pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// On the host; below [`CONFIG_DIRECTORY`].
    pub path: AbsolutePath,
    /// The text, without secrets.
    pub contents: String,
    /// Permission bits; owner and group are root.
    pub mode: u32,
}

/// The folder on the host under which each pod has a folder of its own with its config files. The agent owns it.
pub const CONFIG_DIRECTORY: &str = "/etc/basalt/pods";

/// The folder on the host that holds the node's trust anchors as `NAME.pem`, one PEM certificate (or chain) each.
/// Ignition writes it; pods mount it read-only.
pub const TRUST_DIRECTORY: &str = "/etc/basalt/trust";

/// The annotation with the SHA-256 over the pod's config files: path, mode and contents of each, in order. Pods whose
/// running program takes a new config ([`control::check_command`]) have none. A manifest that a person wrote in YAML
/// has it as a comment in its first line, so that the rest stays as it was written.
pub const CONFIG_DIGEST_ANNOTATION: &str = "basalt.dev/config-sha256";

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A path into the node (`haproxy.frontends[0].check.path`) or into a manifest
    /// (`haproxy.yaml: spec.containers[0].image`).
    pub place: String,
    /// What is wrong there, and what to do when that is not obvious.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What keeps a node's pods from being rendered. Nothing is rendered then, not even the pods without findings: half
/// of a node's pods is not a state anybody asked for.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The node asks for something that cannot become a pod. The cluster it was made from has to change.
    #[error("the node's static pods cannot be rendered: {}", listed(findings))]
    Node {
        /// All of them, in the order of the node.
        findings: Vec<Finding>,
    },
    /// A manifest breaks a rule of [`check`] or of [`lint`]. The node's values, or who wrote it, led there; see each
    /// finding.
    #[error("a static pod must not be given to the kubelet: {}", listed(findings))]
    Manifest {
        /// All of them, in the order of the pods.
        findings: Vec<Finding>,
    },
}

impl RenderError {
    /// Everything that is wrong, for printing one line each.
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Node { findings } | Self::Manifest { findings } => findings,
        }
    }
}

/// Renders all static pods of `node`, ours and people's own, sorted by name. The same node gives the same bytes.
///
/// # Errors
/// See [`RenderError`]; both variants hold every finding, not only the first.
pub fn render(node: &Node) -> Result<Vec<StaticPod>, RenderError> {
    let (drafts, findings) = pods::drafts(node);
    let mut findings = parts::Findings(findings);
    let own = pods::own::pods(node, &mut findings);
    if !findings.0.is_empty() {
        return Err(RenderError::Node { findings: findings.0 });
    }
    let manifests: Vec<_> = drafts.iter().map(parts::Draft::to_manifest).collect();
    findings.0.extend(check::check(&manifests));
    if !findings.0.is_empty() {
        return Err(RenderError::Manifest { findings: findings.0 });
    }
    let finished = drafts.into_iter().zip(manifests);
    let mut pods: Vec<StaticPod> =
        finished.map(|(draft, manifest)| draft.finish(&manifest.value)).collect();
    pods.extend(own);
    // Ours first, so that a clash is found with the pod that can be changed.
    pods::own::check(node, &pods, &mut findings);
    pods.sort_by(|a, b| a.name.cmp(&b.name));
    match findings.0.is_empty() {
        true => Ok(pods),
        false => Err(RenderError::Manifest { findings: findings.0 }),
    }
}

fn listed(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}
