//! The container runtime, asked over its socket (CRI, the interface between kubelet and containerd): takes questions,
//! gives plain data. Nothing but [`Cri::exec`] does anything to a container.
//!
//! The kubelet's own `/pods` empties before a pod's containers have ended, and closes to anonymous callers once the node
//! has joined a cluster. The runtime answers for what really runs, before and after.
//!
//! Every question has a deadline, so that a runtime that hangs never hangs the agent.

mod messages;

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::host::Host;

/// Where containerd listens.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
/// How long the runtime may take to answer. On an idle machine it takes a millisecond or two.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);
/// The kubelet's own limit for one answer.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Why the runtime gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CriError {
    /// The path of the socket cannot be used.
    #[error("`{socket}` cannot be the socket of a container runtime")]
    Socket { socket: Utf8PathBuf, source: tonic::transport::Error },
    /// Nobody listens.
    #[error("the container runtime does not answer at `{socket}`: {reason}")]
    Unreachable { socket: Utf8PathBuf, reason: String },
    /// It took too long.
    #[error("the container runtime did not answer {question} within {} s", limit.as_secs_f32())]
    Deadline { question: &'static str, limit: Duration },
    /// It knows of no such thing.
    #[error("the container runtime knows nothing that answers {question}: {message}")]
    NotFound { question: &'static str, message: String },
    /// It refused.
    #[error("the container runtime refused {question}: {message}")]
    Refused { question: &'static str, message: String },
}

impl CriError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            CriError::Socket { .. } => None,
            CriError::Unreachable { .. } => Some("look at `systemctl status containerd`"),
            CriError::Deadline { .. } => {
                Some("the runtime hangs or the disk is slow: look at `journalctl -u containerd`")
            }
            CriError::NotFound { .. } | CriError::Refused { .. } => {
                Some("look at `journalctl -u containerd`")
            }
        }
    }
}

/// What the runtime says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuntimeVersion {
    /// `containerd`.
    pub(crate) name: String,
    /// `v2.4.2`.
    pub(crate) version: String,
    /// `v1`.
    pub(crate) api_version: String,
}

/// The frame of one run of a pod: its namespaces, held by the pause process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    pub(crate) id: String,
    /// The pod it belongs to.
    pub(crate) pod: PodRun,
    /// Whether the pause process runs.
    pub(crate) is_ready: bool,
    /// Nanoseconds since the Unix epoch.
    pub(crate) created_unix_nanos: i64,
}

/// One life of a pod, as the kubelet labels it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodRun {
    /// With the node's name at its end, which the kubelet adds to the names of static pods.
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
}

/// One container, the dead ones that were not yet removed included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) sandbox_id: String,
    /// The pod it belongs to.
    pub(crate) pod: PodRun,
    /// Its name within the pod.
    pub(crate) name: String,
    pub(crate) state: ContainerState,
    /// How often the container was started before this time.
    pub(crate) restarts: u32,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContainerState {
    Created,
    Running,
    Exited,
    Unknown,
}

/// Everything about one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerStatus {
    pub(crate) id: String,
    pub(crate) state: ContainerState,
    /// How often the container was started before this time.
    pub(crate) restarts: u32,
    /// The image as the pod names it.
    pub(crate) image: String,
    /// The image that runs: a reference with a digest, or an id.
    pub(crate) image_reference: String,
    /// The digest of the image's config.
    pub(crate) image_id: String,
    /// Nanoseconds since the Unix epoch; 0 when it has not started.
    pub(crate) started_unix_nanos: i64,
    /// Nanoseconds since the Unix epoch; 0 when it has not ended.
    pub(crate) finished_unix_nanos: i64,
    pub(crate) exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`; empty while it runs.
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// An image that is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// The digest of its config.
    pub(crate) id: String,
    pub(crate) tags: Vec<String>,
    /// References with the digest of the manifest.
    pub(crate) digests: Vec<String>,
    /// Whether the kubelet's garbage collection passes it over.
    pub(crate) is_pinned: bool,
}

/// How a command inside a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) exit_code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A container runtime. Cheap to copy; connects when it is first asked, and again when the runtime was restarted.
#[derive(Clone, Debug)]
pub(crate) struct Cri {
    socket: Utf8PathBuf,
    channel: Channel,
}

impl Cri {
    /// The runtime of this host.
    ///
    /// # Errors
    /// [`CriError::Socket`]. Whether anybody listens shows with the first question.
    pub(crate) fn of(host: &Host) -> Result<Cri, CriError> {
        Cri::at(&host.real(CONTAINERD_SOCKET))
    }

    /// The runtime that listens at `socket`, a path of the running process.
    ///
    /// # Errors
    /// [`CriError::Socket`]. Whether anybody listens shows with the first question.
    pub(crate) fn at(socket: &Utf8Path) -> Result<Cri, CriError> {
        let endpoint = Endpoint::from_shared(format!("unix://{socket}"))
            .map_err(|source| CriError::Socket { socket: socket.to_owned(), source })?;
        let channel = endpoint.connect_lazy();
        Ok(Cri { socket: socket.to_owned(), channel })
    }

    /// Which runtime it is.
    pub(crate) async fn version(&self) -> Result<RuntimeVersion, CriError> {
        let request = messages::VersionRequest { version: "v1".to_owned() };
        let answer: messages::VersionResponse = self.ask(&VERSION, request, DEADLINE).await?;
        Ok(RuntimeVersion {
            name: answer.runtime_name,
            version: answer.runtime_version,
            api_version: answer.runtime_api_version,
        })
    }

    /// All sandboxes, those that have ended included, sorted by pod and age.
    pub(crate) async fn sandboxes(&self) -> Result<Vec<Sandbox>, CriError> {
        let answer: messages::ListPodSandboxResponse =
            self.ask(&LIST_SANDBOXES, messages::ListRequest {}, DEADLINE).await?;
        let mut sandboxes: Vec<Sandbox> = answer.items.into_iter().map(sandbox).collect();
        sandboxes.sort_by(|a, b| {
            (&a.pod, a.created_unix_nanos, &a.id).cmp(&(&b.pod, b.created_unix_nanos, &b.id))
        });
        Ok(sandboxes)
    }

    /// All containers, those that have ended included, sorted by pod, name and age.
    pub(crate) async fn containers(&self) -> Result<Vec<Container>, CriError> {
        let answer: messages::ListContainersResponse =
            self.ask(&LIST_CONTAINERS, messages::ListRequest {}, DEADLINE).await?;
        let mut containers: Vec<Container> = answer.containers.into_iter().map(container).collect();
        containers.sort_by(|a, b| {
            (&a.pod, &a.name, a.restarts, &a.id).cmp(&(&b.pod, &b.name, b.restarts, &b.id))
        });
        Ok(containers)
    }

    /// How a container is; `None` when there is none of this id (any more).
    pub(crate) async fn container_status(
        &self,
        id: &str,
    ) -> Result<Option<ContainerStatus>, CriError> {
        let request = messages::ContainerStatusRequest { container_id: id.to_owned() };
        match self.ask(&CONTAINER_STATUS, request, DEADLINE).await {
            Ok(messages::ContainerStatusResponse { status }) => Ok(status.map(container_status)),
            Err(CriError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The image that `reference` names; `None` when it is not present.
    pub(crate) async fn image(&self, reference: &str) -> Result<Option<Image>, CriError> {
        let image = Some(messages::ImageSpec { image: reference.to_owned() });
        let request = messages::ImageStatusRequest { image };
        match self.ask(&IMAGE_STATUS, request, DEADLINE).await {
            Ok(messages::ImageStatusResponse { image }) => Ok(image.map(|image| Image {
                id: image.id,
                tags: image.repo_tags,
                digests: image.repo_digests,
                is_pinned: image.pinned,
            })),
            Err(CriError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a command inside a container and waits for its end. The runtime kills it after `limit`, which counts in whole
    /// seconds and is at least one.
    pub(crate) async fn exec(
        &self,
        container_id: &str,
        command: &[&str],
        limit: Duration,
    ) -> Result<Executed, CriError> {
        let seconds = limit.as_secs().max(1);
        let request = messages::ExecSyncRequest {
            container_id: container_id.to_owned(),
            cmd: command.iter().map(|&word| word.to_owned()).collect(),
            // 0 would be "for ever".
            timeout: i64::try_from(seconds).unwrap_or(i64::MAX),
        };
        let patience = Duration::from_secs(seconds) + DEADLINE;
        let answer: messages::ExecSyncResponse = self.ask(&EXEC, request, patience).await?;
        Ok(Executed {
            exit_code: answer.exit_code,
            stdout: String::from_utf8_lossy(&answer.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&answer.stderr).into_owned(),
        })
    }

    async fn ask<Question, Answer>(
        &self,
        method: &Method,
        question: Question,
        limit: Duration,
    ) -> Result<Answer, CriError>
    where
        Question: Message + 'static,
        Answer: Message + Default + 'static,
    {
        let asking = async {
            let mut client =
                Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
            client.ready().await.map_err(|error| Status::unavailable(causes(&error)))?;
            let codec = ProstCodec::<Question, Answer>::default();
            client
                .unary(Request::new(question), PathAndQuery::from_static(method.path), codec)
                .await
        };
        let what = method.what;
        // Whoever stops waiting resets the stream, and the runtime stops working on it.
        match tokio::time::timeout(limit, asking).await {
            Err(_) => Err(CriError::Deadline { question: what, limit }),
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.error(&status, what, limit)),
        }
    }

    fn error(&self, status: &Status, question: &'static str, limit: Duration) -> CriError {
        match status.code() {
            Code::Unavailable => {
                CriError::Unreachable { socket: self.socket.clone(), reason: causes(status) }
            }
            Code::DeadlineExceeded => CriError::Deadline { question, limit },
            Code::NotFound => CriError::NotFound { question, message: status.message().to_owned() },
            _ => CriError::Refused { question, message: status.message().to_owned() },
        }
    }
}

/// One method of the interface, and what it asks, for messages.
struct Method {
    path: &'static str,
    what: &'static str,
}

const VERSION: Method =
    Method { path: "/runtime.v1.RuntimeService/Version", what: "what version it has" };
const LIST_SANDBOXES: Method =
    Method { path: "/runtime.v1.RuntimeService/ListPodSandbox", what: "which pods it runs" };
const LIST_CONTAINERS: Method =
    Method { path: "/runtime.v1.RuntimeService/ListContainers", what: "which containers it runs" };
const CONTAINER_STATUS: Method =
    Method { path: "/runtime.v1.RuntimeService/ContainerStatus", what: "how a container is" };
const EXEC: Method =
    Method { path: "/runtime.v1.RuntimeService/ExecSync", what: "to run a command in a container" };
const IMAGE_STATUS: Method =
    Method { path: "/runtime.v1.ImageService/ImageStatus", what: "whether an image is present" };

/// The innermost causes say what happened ("no such file"); the outer ones only that something did.
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn sandbox(seen: messages::PodSandbox) -> Sandbox {
    let metadata = seen.metadata.unwrap_or_default();
    Sandbox {
        id: seen.id,
        pod: PodRun { name: metadata.name, namespace: metadata.namespace, uid: metadata.uid },
        is_ready: seen.state == 0,
        created_unix_nanos: seen.created_at,
    }
}

fn container(seen: messages::Container) -> Container {
    let metadata = seen.metadata.unwrap_or_default();
    let mut labels = seen.labels;
    let mut label = |key: &str| labels.remove(key).unwrap_or_default();
    Container {
        id: seen.id,
        sandbox_id: seen.pod_sandbox_id,
        pod: PodRun {
            name: label("io.kubernetes.pod.name"),
            namespace: label("io.kubernetes.pod.namespace"),
            uid: label("io.kubernetes.pod.uid"),
        },
        name: metadata.name,
        state: state(seen.state),
        restarts: metadata.attempt,
    }
}

fn container_status(seen: messages::ContainerStatus) -> ContainerStatus {
    ContainerStatus {
        id: seen.id,
        state: state(seen.state),
        restarts: seen.metadata.unwrap_or_default().attempt,
        image: seen.image.unwrap_or_default().image,
        image_reference: seen.image_ref,
        image_id: seen.image_id,
        started_unix_nanos: seen.started_at,
        finished_unix_nanos: seen.finished_at,
        exit_code: seen.exit_code,
        reason: seen.reason,
        message: seen.message,
    }
}

fn state(number: i32) -> ContainerState {
    match number {
        0 => ContainerState::Created,
        1 => ContainerState::Running,
        2 => ContainerState::Exited,
        // 3, and whatever a later version adds.
        _ => ContainerState::Unknown,
    }
}

#[cfg(test)]
mod tests;
