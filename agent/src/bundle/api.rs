//! Requests to the API server. Each ends in time: a lease is only good for as long as no write outlives it. What changes
//! something takes a [`Permit`] of the lease's.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use kube::core::Request;
use kube::core::discovery::ApiResource;
use kube::core::dynamic::DynamicObject;
use kube::core::gvk::GroupVersionKind;
use kube::core::params::{
    DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions,
    ValidationDirective,
};
use kube::discovery::{Discovery, Scope};
use kube::{Client, Resource as _};
use serde_json::Value;

use super::fields::{Conflict, MANAGER, conflicts};
use super::lease::Permit;
use super::object::Key;
use crate::causes::chain;

/// The API server answers an unknown field in an applied object with status 500, as if it were to blame (seen with 1.36).
const NOT_OF_ITS_KIND: &str = "failed to create typed patch object";
/// What RBAC says: to who may not do something, and to who gives a right away that it does not have.
const MISSING_RIGHT: [&str; 2] =
    ["\" cannot ", "is attempting to grant RBAC permissions not currently held"];
/// What a person does about it.
pub(crate) const GRANT: &str = "let an administrator of the cluster apply what `cargo xtask bundle rbac` prints for this bundle";
/// How many objects one answer to a list has.
const PAGE: u32 = 250;

/// A request that was not answered as wanted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// It refuses; what it says.
    #[error("{message}")]
    Refused { code: u16, reason: String, message: String, status: Box<Value> },
    /// There is no answer.
    #[error("the API server does not answer: {0}")]
    Away(String),
    /// It knows no such kind.
    #[error("the API server has no kind {0}")]
    NoSuchKind(String),
    /// Another may have the Lease by now.
    #[error("the time to write was over before the answer came")]
    Late,
}

impl ApiError {
    /// Whether nobody answers, so that nothing else need be tried.
    pub(crate) fn is_away(&self) -> bool {
        match self {
            ApiError::Away(_) => true,
            // It is starting, overloaded, or going.
            ApiError::Refused { code: 500, message, .. } => !message.contains(NOT_OF_ITS_KIND),
            ApiError::Refused { code, .. } => matches!(code, 429 | 501..),
            ApiError::NoSuchKind(_) | ApiError::Late => false,
        }
    }

    /// Whether it answers that it is asked too much.
    pub(super) fn is_overload(&self) -> bool {
        matches!(self, ApiError::Refused { code: 429, .. })
    }

    /// Whether somebody else has changed the object meanwhile.
    pub(crate) fn is_outrun(&self) -> bool {
        matches!(self, ApiError::Refused { code: 409, reason, .. } if reason != "AlreadyExists")
            && self.conflicts().is_empty()
    }

    /// The fields that others own with other values.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        match self {
            ApiError::Refused { code: 409, status, .. } => conflicts(status),
            _ => Vec::new(),
        }
    }

    /// Whether the agent lacks a right; the message names it. Admission says no with the same status, and for other
    /// reasons.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, ApiError::Refused { code: 401 | 403, message, reason, .. }
            if reason == "Unauthorized" || MISSING_RIGHT.iter().any(|text| message.contains(text)))
    }

    fn code(&self) -> u16 {
        match self {
            ApiError::Refused { code, .. } => *code,
            _ => 0,
        }
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.code() == 404
    }

    pub(crate) fn already_exists(&self) -> bool {
        matches!(self, ApiError::Refused { code: 409, reason, .. } if reason == "AlreadyExists")
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> ApiError {
        match error {
            kube::Error::Api(status) => ApiError::Refused {
                code: status.code,
                reason: status.reason.clone(),
                message: status.message.clone(),
                status: Box::new(serde_json::to_value(&*status).unwrap_or_default()),
            },
            error => ApiError::Away(chain(&error)),
        }
    }
}

/// Whether a request is only tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dry {
    Run,
    Real(Permit),
}

impl Dry {
    fn permit(self) -> Permit {
        match self {
            Dry::Run => Permit::ALWAYS,
            Dry::Real(permit) => permit,
        }
    }
}

/// Whether fields of others are taken from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    No,
    Yes,
}

/// A kind as the API server serves it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Served {
    pub(crate) resource: ApiResource,
    pub(crate) is_namespaced: bool,
}

impl Served {
    /// A kind that every API server has, so that nobody need ask.
    pub(crate) fn always(group: &str, version: &str, kind: &str, plural: &str) -> Served {
        let kind = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, plural);
        Served { resource, is_namespaced: true }
    }
}

/// An API server, with what it serves.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    discovery: std::rc::Rc<Discovery>,
    /// How long a request may take; less than what is left of a lease when a write begins.
    limit: Duration,
    /// `36` of version 1.36.
    pub(crate) minor: Option<u32>,
}

impl Api {
    /// Asks what the server serves.
    pub(crate) async fn connect(client: Client, limit: Duration) -> Result<Api, ApiError> {
        let version = within(limit, client.apiserver_version()).await?;
        let digits: String = version.minor.chars().take_while(char::is_ascii_digit).collect();
        let discovery = std::rc::Rc::new(discover(&client, limit).await?);
        Ok(Api { client, discovery, limit, minor: digits.parse().ok() })
    }

    /// Asks again; kinds of our own have come.
    pub(crate) async fn rediscover(&mut self) -> Result<(), ApiError> {
        self.discovery = std::rc::Rc::new(discover(&self.client, self.limit).await?);
        Ok(())
    }

    /// Where objects of a kind are.
    pub(crate) fn served(&self, key: &Key, version: &str) -> Result<Served, ApiError> {
        let kind = GroupVersionKind::gvk(&key.group, version, &key.kind);
        let found = self.discovery.resolve_gvk(&kind);
        let (resource, capabilities) = found.ok_or_else(|| {
            let version =
                if key.group.is_empty() { version.to_owned() } else { kind.api_version() };
            ApiError::NoSuchKind(format!("{} of {version}", key.kind))
        })?;
        Ok(Served { resource, is_namespaced: capabilities.scope == Scope::Namespaced })
    }

    /// Applies an object.
    pub(crate) async fn apply(
        &self,
        served: &Served,
        key: &Key,
        body: &Value,
        dry: Dry,
        force: Force,
    ) -> Result<Value, ApiError> {
        let params = PatchParams {
            dry_run: dry == Dry::Run,
            force: force == Force::Yes,
            field_manager: Some(MANAGER.to_owned()),
            field_validation: Some(ValidationDirective::Strict),
        };
        let request = at(served, key).patch(&key.name, &params, &Patch::Apply(body));
        self.write(dry.permit(), request).await
    }

    /// Makes an object; refused when it is there.
    pub(crate) async fn create(
        &self,
        served: &Served,
        key: &Key,
        body: &Value,
        dry: Dry,
    ) -> Result<Value, ApiError> {
        let params =
            PostParams { dry_run: dry == Dry::Run, field_manager: Some(MANAGER.to_owned()) };
        self.write(dry.permit(), at(served, key).create(&params, bytes(body))).await
    }

    /// Replaces an object; refused when it is another one than `body` says.
    pub(crate) async fn replace(
        &self,
        served: &Served,
        key: &Key,
        body: &Value,
        permit: Permit,
    ) -> Result<Value, ApiError> {
        let params = PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) };
        self.write(permit, at(served, key).replace(&key.name, &params, bytes(body))).await
    }

    /// Patches an object by RFC 6902 (a list) or RFC 7386 (an object).
    pub(crate) async fn patch(
        &self,
        served: &Served,
        key: &Key,
        patch: &Value,
        permit: Permit,
    ) -> Result<Value, ApiError> {
        let request = match patch.is_array() {
            true => json_patch(served, key, patch),
            false => {
                at(served, key).patch(&key.name, &PatchParams::default(), &Patch::Merge(patch))
            }
        };
        self.write(permit, request).await
    }

    /// Deletes exactly the object with this UID.
    pub(crate) async fn delete(
        &self,
        served: &Served,
        key: &Key,
        uid: &str,
        permit: Permit,
    ) -> Result<(), ApiError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            ..DeleteParams::background()
        };
        self.write(permit, at(served, key).delete(&key.name, &params)).await.map(drop)
    }

    /// Reads an object.
    pub(crate) async fn get(&self, served: &Served, key: &Key) -> Result<Option<Value>, ApiError> {
        let request = at(served, key).get(&key.name, &GetParams::default());
        match self.send(request).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads every object of a kind that a selector finds, in one namespace or in all: whole, or metadata alone.
    pub(crate) async fn list(
        &self,
        resource: &ApiResource,
        namespace: Option<&str>,
        params: &ListParams,
        whole: Whole,
    ) -> Result<Vec<Value>, ApiError> {
        let request = Request::new(DynamicObject::url_path(resource, namespace));
        let mut params = params.clone().limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = match whole {
                Whole::Objects => request.list(&params),
                Whole::Metadata => request.list_metadata(&params),
            };
            let mut page = self.send(page).await?;
            if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
                found.append(items);
            }
            match page.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(token) if !token.is_empty() => params = params.continue_token(token),
                _ => return Ok(found),
            }
        }
    }

    /// The last lines of a container's log.
    pub(crate) async fn log_tail(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        lines: u8,
    ) -> Result<String, ApiError> {
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&tailLines={lines}"
        );
        let request = hyper::Request::get(path).body(Vec::new());
        let request = request.map_err(|error| ApiError::Away(error.to_string()))?;
        within(self.limit, self.client.request_text(request)).await
    }

    /// Asks for a change, as long as there is leave for it.
    async fn write(
        &self,
        permit: Permit,
        request: Result<RawRequest, kube::core::request::Error>,
    ) -> Result<Value, ApiError> {
        let answer = permitted(permit, self.send(request)).await;
        answer.unwrap_or(Err(ApiError::Late))
    }

    async fn send(
        &self,
        request: Result<RawRequest, kube::core::request::Error>,
    ) -> Result<Value, ApiError> {
        let request = request.map_err(|error| ApiError::Away(error.to_string()))?;
        within(self.limit, self.client.request::<Value>(request)).await
    }
}

/// How much of each object is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Objects,
    Metadata,
}

type RawRequest = hyper::Request<Vec<u8>>;

async fn discover(client: &Client, limit: Duration) -> Result<Discovery, ApiError> {
    within(limit, Discovery::new(client.clone()).run_aggregated()).await
}

async fn within<T>(
    limit: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(limit, request).await {
        Ok(answer) => answer.map_err(ApiError::from),
        Err(_) => Err(ApiError::Away(format!("no answer in {} ms", limit.as_millis()))),
    }
}

/// Works on a request while there is leave for it; afterwards it is given up, and what was not sent is not sent.
///
/// The runtime has one thread, and the connection is another task on it, which looks whether anybody still wants the
/// request before it sends it. So the clock is looked at on both sides of all that is done here: wherever the agent is
/// stopped, and for however long, the bytes stay behind.
async fn permitted<T>(permit: Permit, request: impl Future<Output = T>) -> Option<T> {
    let mut request = pin!(request);
    poll_fn(|context| {
        if permit.is_over() {
            return Poll::Ready(None);
        }
        match request.as_mut().poll(context) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if permit.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn at(served: &Served, key: &Key) -> Request {
    let namespace = key.namespace.as_deref().filter(|_| served.is_namespaced);
    Request::new(DynamicObject::url_path(&served.resource, namespace))
}

fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}

/// The library's own form needs a crate of its own for RFC 6902.
fn json_patch(
    served: &Served,
    key: &Key,
    patch: &Value,
) -> Result<RawRequest, kube::core::request::Error> {
    let mut request =
        at(served, key).patch(&key.name, &PatchParams::default(), &Patch::Merge(patch))?;
    let json_patch = hyper::header::HeaderValue::from_static("application/json-patch+json");
    request.headers_mut().insert(hyper::header::CONTENT_TYPE, json_patch);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::lease::now;
    use super::*;

    fn run<T>(task: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(task)
    }

    #[test]
    fn without_leave_nothing_is_begun() {
        let begun = Cell::new(false);
        let over = Permit::until(now());
        assert_eq!(run(permitted(over, async { begun.set(true) })), None);
        assert!(!begun.get());
        assert_eq!(run(permitted(Permit::ALWAYS, async { begun.set(true) })), Some(()));
    }

    /// Stopped between the look at the clock and the connection's turn.
    #[test]
    fn what_was_prepared_and_not_sent_stays_behind() {
        let (queue, mut queued) = tokio::sync::oneshot::channel::<()>();
        let request = async {
            std::thread::sleep(Duration::from_millis(60));
            let _queue = queue;
            std::future::pending::<()>().await
        };
        let permit = Permit::until(now() + Duration::from_millis(50));
        run(async {
            assert_eq!(permitted(permit, request).await, None);
            assert_eq!(queued.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed));
        });
    }

    /// A real client and a server that nobody lets answer.
    #[test]
    fn a_request_without_leave_reaches_nobody() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        server.set_nonblocking(true).unwrap();
        let url = format!("http://{}", server.local_addr().unwrap()).parse().unwrap();
        run(async {
            let client = Client::try_from(kube::Config::new(url)).unwrap();
            let discovery = std::rc::Rc::new(Discovery::new(client.clone()));
            let limit = Duration::from_millis(200);
            let api = Api { client, discovery, limit, minor: None };
            let served = Served::always("", "v1", "ConfigMap", "configmaps");
            let key = Key {
                group: String::new(),
                kind: "ConfigMap".to_owned(),
                namespace: Some("a".to_owned()),
                name: "b".to_owned(),
            };
            let body = Value::default();
            let over = Permit::until(now());
            let late = api.replace(&served, &key, &body, over).await;
            assert!(matches!(late, Err(ApiError::Late)), "{late:?}");
            tokio::time::sleep(limit).await;
            assert!(server.accept().is_err(), "nobody has come");
            let away = api.replace(&served, &key, &body, Permit::ALWAYS).await;
            assert!(matches!(away, Err(ApiError::Away(_))), "{away:?}");
            assert!(server.accept().is_ok());
        });
    }
}
