//! The operator bundle that agents apply to the cluster.

use serde::{Deserialize, Serialize};

use super::{Certificate, Node};
use crate::names::{AbsolutePath, ImageReference};

/// Where the agent keeps the kubeconfig that it makes for applying.
pub const BUNDLE_KUBECONFIG_PATH: &str = "/etc/kubernetes/basalt-bundle.kubeconfig";

/// Name of the certificate by which an agent that applies is known to the API server, where Vault signs it.
pub const BUNDLE_APPLIER_CERTIFICATE: &str = "bundle-applier";

/// The group that this certificate puts agents in. An administrator of the cluster gives it the rights that
/// `cargo xtask bundle rbac` prints.
pub const BUNDLE_APPLIERS_GROUP: &str = "basalt:bundle-appliers";

/// The bundle that the cluster is to run, on the nodes that apply it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The artefact, by digest.
    pub reference: ImageReference,
    /// The public key (PEM) that its signature is checked with.
    pub public_key: String,
    /// The kubeconfig with which the agent applies, when somebody else lays it out. It names files; credentials that are
    /// written into it never change. When absent, the agent makes one: [`BUNDLE_KUBECONFIG_PATH`].
    pub kubeconfig: Option<AbsolutePath>,
    /// The most that one bundle may prune, in percent of what was applied before it.
    pub prune_percent: u8,
    /// Whether agents leave the cluster alone.
    pub is_paused: bool,
    /// Who keeps what was applied.
    pub owner: BundleOwner,
}

impl Bundle {
    /// The kubeconfig with which the agent applies, whoever made it.
    pub fn kubeconfig_path(&self) -> &str {
        self.kubeconfig.as_ref().map_or(BUNDLE_KUBECONFIG_PATH, AbsolutePath::as_str)
    }
}

impl Node {
    /// The certificate by which the agent that applies is known, where Vault signs it.
    pub fn applier_certificate(&self) -> Option<&Certificate> {
        let mut certificates = self.vault.iter().flat_map(|vault| &vault.certificates);
        certificates.find(|item| item.name.as_str() == BUNDLE_APPLIER_CERTIFICATE)
    }
}

/// Who keeps what a bundle has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BundleOwner {
    /// The agents.
    Agent,
    /// Flux, as soon as its kustomize-controller has every field.
    Flux,
    /// Argo CD, as soon as its application controller has every field.
    ArgoCd,
}

impl BundleOwner {
    /// The field manager that has to own every field before agents let go.
    pub fn manager(self) -> Option<&'static str> {
        match self {
            BundleOwner::Agent => None,
            BundleOwner::Flux => Some("kustomize-controller"),
            BundleOwner::ArgoCd => Some("argocd-controller"),
        }
    }
}
