//! What `cluster.yaml` may say about the Kubernetes cluster that nodes join.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use crate::decode::{Between, Decode, Decoder, Located, word};
use crate::names::{
    AbsolutePath, Cidr, DnsName, Endpoint, ItemName, LabelKey, LabelValue, RoleName,
};
use crate::node::{HandOff, TaintEffect};
use crate::record;
use crate::yaml::Yaml;

record! {
    /// The Kubernetes cluster that nodes join once they stand by themselves.
    pub struct KubernetesInput {
        /// The roles whose nodes join. They run haproxy, which leads them to an API server that is ready.
        roles: Vec<Located<RoleName>>,
        /// The API servers, each reached directly, `address:port`; `api.servers` when none is listed.
        servers: Vec<Located<Endpoint>>,
        /// The name that the certificates of the API servers hold; `api.host` when absent.
        server_name: Option<DnsName>,
        /// Name of the trust anchor that signs the certificates of the API servers.
        ca: Located<ItemName>,
        /// Name of the trust anchor that signs those who may ask kubelets, the API servers first; `ca` when absent.
        client_ca: Option<Located<ItemName>>,
        /// Loopback port of haproxy at which programs of the node reach an API server that is ready.
        local_port: Located<Between<1, 65535>> = Located::default_of(Between(7445)),
        /// Domain of the cluster's services.
        cluster_domain: DnsName = "cluster.local".parse().expect("a DNS name"),
        /// Name servers of the cluster, for pods.
        cluster_dns: Vec<Located<IpAddr>>,
        /// Networks of the cluster's services; the cluster's name servers lie in one of them.
        service_networks: Vec<Located<Cidr>>,
        /// Networks of the cluster's pods.
        pod_networks: Vec<Located<Cidr>>,
        /// Labels of the node objects. Kubernetes lets a kubelet set those of other domains than its own, of
        /// `node.kubernetes.io` and `kubelet.kubernetes.io`, and of zone and region.
        labels: BTreeMap<LabelKey, Located<LabelValue>>,
        /// Taints that node objects get when they are made.
        taints: Vec<Located<TaintInput>>,
        /// How kubelets prove who they are.
        identity: Located<KubeletIdentityInput>,
        /// `automatic` joins as soon as everything that it takes is there, `manual` when `basalt-agent join` says so.
        hand_off: HandOff = HandOff::Automatic,
        /// Seconds that a node has to prove itself after the switch. Otherwise it is undone, and tried again later.
        deadline_seconds: Between<10, 3600> = Between(120),
        /// Seconds that the cluster's pods have to end by themselves when `basalt-agent leave` empties a node.
        drain_seconds: Between<0, 86400> = Between(300),
    }

    /// What keeps pods off a node that do not tolerate it.
    pub struct TaintInput {
        /// Its key.
        key: Located<LabelKey>,
        /// Its value.
        value: Option<LabelValue>,
        /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
        effect: TaintEffect,
    }

    /// Exactly one way to prove who a kubelet is.
    pub struct KubeletIdentityInput {
        /// By certificates that Vault signs.
        vault: Option<KubeletPkiInput>,
        /// By a bootstrap token, for clusters that sign certificates themselves.
        bootstrap: Option<BootstrapInput>,
    }

    /// Where Vault signs the certificates of kubelets. Their CN is `system:node:NODE`, and the roles give them the O
    /// `system:nodes`. It also signs those of agents that apply the operator bundle.
    pub struct KubeletPkiInput {
        /// Mount path of the secrets engine.
        mount: Located<String>,
        /// The role that signs the certificate by which a kubelet is known to the API server.
        client_role: Located<String> = Located::default_of("kubelet-client".to_owned()),
        /// The role that signs the certificate that a kubelet shows.
        serving_role: Located<String> = Located::default_of("kubelet-serving".to_owned()),
        /// The role that signs the certificate with which an agent applies the operator bundle: its CN is
        /// `basalt:agent:NODE`, and the role gives it the O `basalt:bundle-appliers`.
        applier_role: Located<String> = Located::default_of("bundle-applier".to_owned()),
        /// Wanted life in hours; Vault may give less. The API server knows no revocation but the end of a certificate.
        ttl_hours: Between<1, 87600> = Between(168),
        /// How long Vault may be away without the certificates running out; half of the wanted life when absent.
        survive_outage_hours: Option<Located<Between<1, 87600>>>,
    }

    /// A bootstrap token.
    pub struct BootstrapInput {
        /// The file on the node that holds the token, in a folder of its own.
        token_file: Located<AbsolutePath>,
    }
}

impl Decode for HandOff {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &HAND_OFFS)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": HAND_OFFS.map(|(name, _)| name)})
    }
}

const HAND_OFFS: [(&str, HandOff); 2] =
    [("automatic", HandOff::Automatic), ("manual", HandOff::Manual)];

impl Decode for TaintEffect {
    fn decode(yaml: &Yaml, decoder: &mut Decoder<'_>) -> Option<Self> {
        word(yaml, decoder, &EFFECTS)
    }

    fn schema(_: &mut Map<String, Json>) -> Json {
        json!({"enum": EFFECTS.map(|(name, _)| name)})
    }
}

const EFFECTS: [(&str, TaintEffect); 3] = [
    ("NoSchedule", TaintEffect::NoSchedule),
    ("PreferNoSchedule", TaintEffect::PreferNoSchedule),
    ("NoExecute", TaintEffect::NoExecute),
];
