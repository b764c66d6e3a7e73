//! The API server, asked with the kubelet's own identity: takes questions, gives plain data. Asked the way the kubelet
//! does, through the node's haproxy, so that an answer here is one that the kubelet gets as well.

use std::time::Duration;

use basalt_model::node::{Kubernetes, Node};
use hyper::http::Request;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use k8s_openapi::jiff::fmt::rfc2822::DateTimeParser;
use kube::api::{EvictParams, ListParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::json;

use super::files;
use super::gates::{ApiSeen, Namesake};
use super::proof::NodeSeen;
use crate::causes::chain;
use crate::host::Host;

/// How long one answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Where the leases of nodes are.
const LEASES: &str = "kube-node-lease";
/// The annotation of the cluster's picture of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Why there is no answer, the whole chain in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ApiError(String);

/// An API server that knows this node.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    node: String,
}

impl Server {
    /// The API server, with the certificate as it is now. The certificate is read here: whoever keeps a [`Server`] does
    /// not see a renewed one.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be. Whether anybody answers shows with the first question.
    pub(crate) fn of(host: &Host, node: &Node, kubernetes: &Kubernetes) -> Result<Self, ApiError> {
        let url = files::server(kubernetes).parse().expect("a loopback address is a URL");
        let mut config = Config::new(url);
        config.root_cert_file = Some(host.real(&files::anchor(kubernetes)).into_std_path_buf());
        config.tls_server_name = Some(kubernetes.server_name.to_string());
        // One file holds both, as the kubelet has it.
        let pair = host.real(&files::client_pair(node, kubernetes)).to_string();
        config.auth_info.client_certificate = Some(pair.clone());
        config.auth_info.client_key = Some(pair);
        config.connect_timeout = Some(DEADLINE);
        config.read_timeout = Some(DEADLINE);
        config.default_retry = false;
        let client = Client::try_from(config).map_err(|error| failed(&error))?;
        Ok(Self { client, node: node.name.to_string() })
    }

    /// Who it takes this node for, what it is, and what it knows about the name.
    pub(crate) async fn introduce(&self) -> Result<ApiSeen, ApiError> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let parameters = PostParams::default();
        let review = SelfSubjectReview::default();
        let review = within(reviews.create(&parameters, &review)).await?;
        let info = review.status.and_then(|status| status.user_info).unwrap_or_default();
        let version = within(self.client.apiserver_version()).await?;
        let namesake = self.node_object().await?.map(|object| Namesake {
            machine_id: info_of(&object).0,
            is_ready: condition(&object).is_some_and(|(status, ..)| status == "True"),
        });
        Ok(ApiSeen {
            user: info.username.unwrap_or_default(),
            groups: info.groups.unwrap_or_default(),
            version: version.git_version,
            unix_seconds: self.time().await?,
            namesake,
        })
    }

    /// Its clock.
    async fn time(&self) -> Result<Option<u64>, ApiError> {
        let request = Request::get("/version").body(Body::empty()).expect("a path is a request");
        let answer = within(self.client.send(request)).await?;
        let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
        let time = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        Ok(time.and_then(|time| u64::try_from(time.as_second()).ok()))
    }

    /// The node object.
    pub(crate) async fn node(&self) -> Result<NodeSeen, ApiError> {
        let object = self.node_object().await?;
        let object = object.ok_or_else(|| ApiError("it is not there yet".to_owned()))?;
        let (status, message, heartbeat_unix_seconds) =
            condition(&object).ok_or_else(|| ApiError("it has no conditions yet".to_owned()))?;
        Ok(NodeSeen { is_ready: status == "True", message, heartbeat_unix_seconds })
    }

    async fn node_object(&self) -> Result<Option<NodeObject>, ApiError> {
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        within(nodes.get_opt(&self.node)).await
    }

    /// When the kubelet last said that it lives, in seconds since the Unix epoch.
    pub(crate) async fn lease(&self) -> Result<Option<u64>, ApiError> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), LEASES);
        let lease = within(leases.get_opt(&self.node)).await?;
        let renewed = lease.and_then(|lease| lease.spec?.renew_time);
        Ok(renewed.and_then(|time| u64::try_from(time.0.as_second()).ok()))
    }

    /// Those of these static pods, by namespace and name in the cluster, that the cluster does not show.
    pub(crate) async fn mirrors_missing(
        &self,
        wanted: &[(String, String)],
    ) -> Result<Vec<String>, ApiError> {
        let pods = self.pods().await?;
        let is_shown = |namespace: &str, name: &str| {
            pods.iter().any(|pod| {
                pod.namespace().as_deref() == Some(namespace)
                    && pod.name_any() == name
                    && pod.annotations().contains_key(MIRROR)
            })
        };
        let missing = wanted.iter().filter(|(namespace, name)| !is_shown(namespace, name));
        Ok(missing.map(|(namespace, name)| format!("{namespace}/{name}")).collect())
    }

    /// The pods that the cluster placed here and that have to end before the node leaves. Those of DaemonSets would come
    /// back at once, and static pods stay.
    pub(crate) async fn left(&self) -> Result<Vec<String>, ApiError> {
        let pods = self.pods().await?;
        Ok(pods.iter().filter(|pod| has_to_end(pod)).map(full_name).collect())
    }

    /// Closes or opens the node for new pods.
    pub(crate) async fn cordon(&self, is_closed: bool) -> Result<(), ApiError> {
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let patch = json!({"spec": {"unschedulable": is_closed}});
        let parameters = PatchParams::default();
        within(nodes.patch(&self.node, &parameters, &Patch::Merge(&patch))).await.map(drop)
    }

    /// Asks each pod of [`Server::left`] to end, as far as the cluster lets it.
    pub(crate) async fn evict(&self) -> Result<(), ApiError> {
        for pod in self.pods().await?.iter().filter(|pod| has_to_end(pod)) {
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let pods: Api<Pod> =
                Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
            let name = pod.name_any();
            // A disruption budget may be in the way for now: it is asked again.
            if let Err(error) = within(pods.evict(&name, &EvictParams::default())).await {
                tracing::info!(pod = %full_name(pod), %error, "cannot be asked to end yet");
            }
        }
        Ok(())
    }

    async fn pods(&self) -> Result<Vec<Pod>, ApiError> {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let here = ListParams::default().fields(&format!("spec.nodeName={}", self.node));
        Ok(within(pods.list(&here)).await?.items)
    }
}

async fn within<T>(asking: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(DEADLINE, asking).await {
        Ok(Err(kube::Error::Api(status))) => {
            let text = if status.message.is_empty() { &status.reason } else { &status.message };
            Err(ApiError(format!("it answers {}: {text}", status.code)))
        }
        Ok(answer) => answer.map_err(|error| failed(&error)),
        Err(_) => Err(ApiError(format!("no answer within {} s", DEADLINE.as_secs()))),
    }
}

/// None of its causes holds a secret: a key is named by its file.
fn failed(error: &dyn std::error::Error) -> ApiError {
    ApiError(chain(error))
}

/// The machine id and the kubelet's version that a node object tells.
fn info_of(object: &NodeObject) -> (String, String) {
    let info = object.status.as_ref().and_then(|status| status.node_info.as_ref());
    info.map(|info| (info.machine_id.clone(), info.kubelet_version.clone())).unwrap_or_default()
}

/// Status, message and last heartbeat of the condition `Ready`.
fn condition(object: &NodeObject) -> Option<(String, String, u64)> {
    let conditions = object.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let beat = ready.last_heartbeat_time.as_ref().map_or(0, |time| time.0.as_second());
    Some((
        ready.status.clone(),
        ready.message.clone().unwrap_or_default(),
        u64::try_from(beat).unwrap_or(0),
    ))
}

fn has_to_end(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_over = matches!(phase, Some("Succeeded" | "Failed"));
    let is_of_every_node = pod
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "DaemonSet" && owner.controller == Some(true));
    !is_over && !is_of_every_node && !pod.annotations().contains_key(MIRROR)
}

fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(text: &str) -> Pod {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn pods_that_have_to_end() {
        let check =
            |text: &str, expected: bool| assert_eq!(has_to_end(&pod(text)), expected, "{text}");
        check(r#"{"metadata": {"name": "a"}}"#, true);
        check(r#"{"metadata": {"name": "a"}, "status": {"phase": "Succeeded"}}"#, false);
        check(
            r#"{"metadata": {"name": "a", "annotations": {"kubernetes.io/config.mirror": "x"}}}"#,
            false,
        );
        let owned = |kind: &str| {
            format!(
                r#"{{"metadata": {{"name": "a", "ownerReferences": [{{"apiVersion": "apps/v1", "kind": "{kind}", "name": "o", "uid": "u", "controller": true}}]}}}}"#
            )
        };
        check(&owned("DaemonSet"), false);
        check(&owned("ReplicaSet"), true);
    }
}
