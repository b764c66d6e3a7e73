//! What `cluster.yaml` may say about the operator bundle.

use serde_json::{Map, Value as Json, json};

use crate::decode::{Between, Decode, Decoder, Located, word};
use crate::names::{AbsolutePath, ImageReference, RoleName};
use crate::node::BundleOwner;
use crate::record;
use crate::yaml::Yaml;

record! {
    /// The operator bundle: what the cluster runs besides static pods, applied by agents, one at a time.
    pub struct BundleInput {
        /// The roles whose nodes apply it.
        roles: Vec<Located<RoleName>>,
        /// The artefact by digest, as `cargo xtask bundle push` prints it.
        reference: Located<ImageReference>,
        /// The public key (PEM text) that its signature is checked with.
        public_key: Located<String>,
        /// A kubeconfig on the node, with which the agent applies, when somebody else lays it out. It should name
        /// certificate files: what is written into it cannot be renewed. When absent, the agent makes one for the API
        /// servers under `kubernetes`, and Vault signs its certificate.
        kubeconfig: Option<AbsolutePath>,
        /// The most that one bundle may prune, in percent of what was applied before it. A bundle that would prune more is
        /// refused.
        prune_percent: Between<0, 100> = Between(25),
        /// Agents leave the cluster alone; `basalt-agent bundle pause` does the same without a new generation.
        paused: bool = false,
        /// Who keeps what was applied: `agent`, or `flux` or `argo-cd` as soon as it has every field.
        owner: BundleOwner = BundleOwner::Agent,
    }
}

impl Decode for BundleOwner {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &OWNERS)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": OWNERS.map(|(name, _)| name)})
    }
}

const OWNERS: [(&str, BundleOwner); 3] =
    [("agent", BundleOwner::Agent), ("flux", BundleOwner::Flux), ("argo-cd", BundleOwner::ArgoCd)];
