//! The agent's own way to the API servers, where nobody else has laid one out: files by path, so that a renewed certificate
//! is used without a word about it.
//!
//! Each API server is reached directly: the agent does not depend on the haproxy that it keeps itself.

use basalt_model::node::{BUNDLE_KUBECONFIG_PATH, Certificate, Kubernetes, Node};
use basalt_static_pods::TRUST_DIRECTORY;
use serde_json::{Value, json};

use super::client::ClientError;
use crate::host::files::{Attributes, replace};
use crate::host::{Host, look};

/// Writes the kubeconfig, unless it is there already or is somebody else's to write.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn lay_out(host: &Host, node: &Node) -> Result<(), ClientError> {
    let Some(text) = wanted(node) else { return Ok(()) };
    let path = host.path(BUNDLE_KUBECONFIG_PATH);
    if look::read(&path).is_ok_and(|seen| seen == text.as_bytes()) {
        return Ok(());
    }
    let attributes = Attributes { mode: 0o600, owner: host.owner, label: None };
    let written = replace(&path, text.as_bytes(), attributes);
    written.map_err(|source| ClientError::Write { path: BUNDLE_KUBECONFIG_PATH, source })
}

/// The kubeconfig; `None` where somebody else lays one out.
fn wanted(node: &Node) -> Option<String> {
    let bundle = node.bundle.as_ref()?;
    let kubernetes = node.kubernetes.as_ref().filter(|_| bundle.kubeconfig.is_none())?;
    Some(text(kubernetes, node.applier_certificate()?))
}

/// <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>
fn text(kubernetes: &Kubernetes, certificate: &Certificate) -> String {
    let name = |index: usize| format!("api-{}", index + 1);
    let servers = kubernetes.servers.iter().enumerate();
    let clusters: Vec<Value> = servers
        .map(|(index, server)| {
            let cluster = json!({
                "server": format!("https://{server}"),
                "tls-server-name": kubernetes.server_name.as_str(),
                "certificate-authority": format!("{TRUST_DIRECTORY}/{}.pem", kubernetes.ca),
            });
            json!({"name": name(index), "cluster": cluster})
        })
        .collect();
    let pair = format!("{}/combined.pem", certificate.directory);
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [{"name": "agent", "user": {"client-certificate": pair, "client-key": pair}}],
        "contexts": [{"name": "agent", "context": {"cluster": name(0), "user": "agent"}}],
        "current-context": "agent",
    });
    let mut text = serde_json::to_string_pretty(&document).expect("it has string keys only");
    text.push('\n');
    text
}
