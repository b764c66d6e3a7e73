//! Static pods that are to be started anew, since they read a file that has changed at their start alone: one request for
//! each, with the UID of the run that has to end.
//!
//! Parts beside the loop ask ([`ask`]). The loop replaces the run as it does for a new manifest, and the request is done once
//! the manifest in place is that of another run ([`settle`]): so whoever is interrupted goes on from there, and nobody ends
//! a run that came after the change. Requests lie below `/run`, because a boot starts every pod anew by itself.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use basalt_model::node::Node;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::Host;
use super::files::{self, Attributes, ensure_own_directory, is_temporary_name};
use super::look;
use super::manifests::pod_identity;

/// The folder of the requests, one `NAME.json` for a pod.
pub(crate) const REQUESTS_DIRECTORY: &str = "/run/basalt/restart";
/// Pause between two looks at a request.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The UID in the manifest of the run that has to end.
    uid: String,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// It is left for the loop.
    Left,
    /// The pod has no manifest: whatever starts it reads the file as it is.
    NotThere,
}

fn path(pod: &str) -> String {
    format!("{REQUESTS_DIRECTORY}/{pod}.json")
}

fn uid_in_place(host: &Host, node: &Node, pod: &str) -> io::Result<Option<String>> {
    let manifest = format!("{}/{pod}.yaml", node.kubelet.static_pod_directory);
    let text = match look::read_behind(&host.real(&manifest)) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let uid = pod_identity(&text).and_then(|pod| pod.uid);
    let no_uid = || io::Error::other(format!("`{manifest}` names no UID that the agent gave it"));
    uid.ok_or_else(no_uid).map(Some)
}

/// Asks for the run of `pod` that is there now to be replaced.
///
/// # Errors
/// When its manifest cannot be read or was not written by the agent, or the request cannot be left.
pub(crate) fn ask(host: &Host, node: &Node, pod: &str) -> io::Result<Asked> {
    let Some(uid) = uid_in_place(host, node, pod)? else { return Ok(Asked::NotThere) };
    prepare(host)?;
    let text = serde_json::to_vec(&Request { uid })?;
    let attributes = Attributes { mode: 0o600, owner: host.owner, label: None };
    files::replace(&host.path(&path(pod)), &text, attributes)?;
    Ok(Asked::Left)
}

/// Makes the folder, for the loop to watch.
///
/// # Errors
/// When it may not be made.
pub(crate) fn prepare(host: &Host) -> io::Result<()> {
    let attributes = Attributes { mode: 0o700, owner: host.owner, label: None };
    ensure_own_directory(&host.path(REQUESTS_DIRECTORY), attributes)
}

/// By pod, the UID of the run that has to end.
pub(crate) fn pending(host: &Host) -> BTreeMap<String, String> {
    let mut pending = BTreeMap::new();
    let Ok(entries) = host.path(REQUESTS_DIRECTORY).read_dir_utf8() else { return pending };
    for entry in entries.flatten().filter(|entry| !is_temporary_name(entry.file_name())) {
        let request = look::read(entry.path()).ok();
        let request = request.and_then(|text| serde_json::from_slice::<Request>(&text).ok());
        if let Some((pod, request)) = entry.file_name().strip_suffix(".json").zip(request) {
            pending.insert(pod.to_owned(), request.uid);
        }
    }
    pending
}

/// Removes the requests that are done: another run's manifest is in place, or `is_wanted` says that the pod is to have none.
pub(crate) fn settle(host: &Host, node: &Node, is_wanted: impl Fn(&str) -> bool) {
    for (pod, uid) in pending(host) {
        let is_done = match uid_in_place(host, node, &pod) {
            Ok(Some(now)) => now != uid,
            // Between the end of one run and the start of the next.
            Ok(None) => !is_wanted(&pod),
            Err(_) => false,
        };
        if is_done && let Err(error) = files::remove(&host.path(&path(&pod))) {
            tracing::warn!(%pod, %error, "cannot remove the request to start a pod anew");
        }
    }
}

/// Waits until the loop has done what was asked for.
pub(crate) async fn done(host: &Host, pod: &str) {
    while host.path(&path(pod)).exists() {
        sleep(LOOK_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node_json, scratch_host};

    #[test]
    fn a_request_is_about_one_run() {
        let (_keep, host) = scratch_host();
        let node = Node::from_json("", &node_json(1, "lab")).unwrap();
        let folder = host.path(node.kubelet.static_pod_directory.as_str());
        std::fs::create_dir_all(&folder).unwrap();
        let run = |uid: &str| {
            let text = format!("metadata:\n  name: web\n  uid: {uid}\n");
            std::fs::write(folder.join("web.yaml"), text).unwrap();
        };
        assert_eq!(ask(&host, &node, "web").unwrap(), Asked::NotThere);
        assert!(pending(&host).is_empty());
        run("one");
        assert_eq!(ask(&host, &node, "web").unwrap(), Asked::Left);
        let expected = BTreeMap::from([("web".to_owned(), "one".to_owned())]);
        settle(&host, &node, |_| true);
        assert_eq!(pending(&host), expected);
        std::fs::remove_file(folder.join("web.yaml")).unwrap();
        settle(&host, &node, |_| true);
        assert_eq!(pending(&host), expected);
        run("two");
        settle(&host, &node, |_| true);
        assert!(pending(&host).is_empty());

        // Nobody wants the pod any more.
        ask(&host, &node, "web").unwrap();
        std::fs::remove_file(folder.join("web.yaml")).unwrap();
        settle(&host, &node, |_| false);
        assert!(pending(&host).is_empty());

        std::fs::write(folder.join("web.yaml"), "metadata:\n  name: web\n").unwrap();
        let error = ask(&host, &node, "web").unwrap_err();
        assert!(error.to_string().contains("names no UID"), "{error}");
    }
}
