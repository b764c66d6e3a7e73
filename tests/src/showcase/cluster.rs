//! The `cluster.yaml` of the showcase.

use super::core::Core;
use crate::control_plane::{PODS, SERVICES};
use crate::fleet::{Addition, Yard, cluster_with};
use crate::virtual_address::ADDRESS;

/// The fleet's cluster, with certificates from Vault, a Kubernetes cluster to join, and a bundle for it.
pub(super) fn text(yard: &Yard, core: &Core) -> String {
    let frontends = format!(
        "    - name: secure
      mode: http
      binds: [\"{ADDRESS}:443\"]
      certificate: web
      servers:
        - {{name: s1, address: \"{server}:8080\"}}
",
        server = crate::fleet::SERVER_ADDRESS,
    );
    let lines =
        |pem: &str| -> String { pem.trim().lines().map(|line| format!("    {line}\n")).collect() };
    let anchor = |name: &str, pem: &str| format!("  {name}: |\n{}", lines(pem));
    let sections = format!(
        "trust_anchors:
{vault_anchor}{kubernetes_anchor}{registry_anchor}vault:
  addresses: [\"{vault}\"]
  ca: vault
  auth:
    node:
      pki: {{mount: pki/fleet-identities, role: node}}
  pki: {{mount: pki/fleet, role: node}}
  certificates:
    - name: web
      roles: [controller]
      common_name: www.lab.example
      subject_alternative_names: [www.lab.example, {ADDRESS}]
      include_node_name: true
      reload: [{{pod: haproxy}}]
kubernetes:
  roles: [controller]
  ca: kubernetes
  pod_networks: [{PODS}]
  service_networks: [{SERVICES}]
  identity:
    vault: {{mount: {KUBELETS}}}
bundle:
  roles: [controller]
  reference: {bundle}
  public_key: |
{public_key}",
        vault_anchor = anchor("vault", core.vault.ca_pem()),
        kubernetes_anchor = anchor("kubernetes", core.plane.authority().pem()),
        registry_anchor = anchor("registry", core.registry.authority()),
        vault = core.vault.address(),
        bundle = core.bundle.reference,
        public_key = lines(&core.bundle.public_key),
    );
    let api = core.plane.address().to_string();
    cluster_with(yard, 1, &Addition { api: &api, frontends: &frontends, sections: &sections })
}

/// Where Vault signs the certificates of kubelets.
pub(super) const KUBELETS: &str = "pki/fleet-kubelets";
