//! The process level: compares the pods of a set with what the runtime says. Pure.

use std::collections::BTreeMap;

use super::lingering::Trouble;
use super::wanted::{ContainerWanted, PodWanted};
use super::{Answer, ImageSeen, Lingering};
use crate::host::cri::{Container, ContainerState, ContainerStatus, Sandbox};

/// What the runtime said in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runtime {
    pub(crate) sandboxes: Vec<Sandbox>,
    pub(crate) containers: Vec<Container>,
    /// Of the containers of pods that are wanted, by id.
    pub(crate) statuses: BTreeMap<String, ContainerStatus>,
}

/// How one pod runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodRuns {
    pub(crate) answer: Answer,
    pub(crate) evidence: String,
    /// Its running containers, by name.
    pub(crate) containers: BTreeMap<String, String>,
}

/// The name that the kubelet gives a static pod.
pub(crate) fn kubelet_name(pod: &str, node: &str) -> String {
    format!("{pod}-{node}")
}

impl Runtime {
    /// How `pod` runs. `uid` is that of its manifest in the static pod directory; a run with another one is of another
    /// manifest and proves nothing.
    pub(crate) fn runs(
        &self,
        pod: &PodWanted,
        node: &str,
        images: &BTreeMap<String, ImageSeen>,
        uid: Option<&str>,
    ) -> PodRuns {
        match self.sandbox(pod, node, uid) {
            Err(evidence) => PodRuns { answer: Answer::Bad, evidence, containers: BTreeMap::new() },
            Ok(sandbox) => self.containers_of(pod, sandbox, images),
        }
    }

    fn sandbox(&self, pod: &PodWanted, node: &str, uid: Option<&str>) -> Result<&Sandbox, String> {
        let ready: Vec<&Sandbox> = self.ready(&pod.name, &pod.namespace, node).collect();
        match ready[..] {
            [] => Err("the kubelet has not started it".to_owned()),
            [one] if uid.is_some_and(|uid| uid != one.pod.uid) => {
                Err("its former run has not been replaced yet".to_owned())
            }
            [one] => Ok(one),
            _ => Err(format!("{} runs of it at once", ready.len())),
        }
    }

    /// The sandboxes of a pod that run.
    fn ready<'a>(
        &'a self,
        pod: &str,
        namespace: &str,
        node: &str,
    ) -> impl Iterator<Item = &'a Sandbox> {
        let name = kubelet_name(pod, node);
        let namespace = namespace.to_owned();
        self.sandboxes.iter().filter(move |sandbox| {
            sandbox.is_ready && sandbox.pod.name == name && sandbox.pod.namespace == namespace
        })
    }

    fn containers_of(
        &self,
        pod: &PodWanted,
        sandbox: &Sandbox,
        images: &BTreeMap<String, ImageSeen>,
    ) -> PodRuns {
        let mut running = BTreeMap::new();
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for wanted in &pod.containers {
            match self.container(wanted, sandbox, images) {
                Ok(container) => {
                    running.insert(wanted.name.clone(), container.id.clone());
                    let times = match container.restarts {
                        0 => String::new(),
                        1 => ", restarted once".to_owned(),
                        times => format!(", restarted {times} times"),
                    };
                    good.push(format!("container {} runs{times}", wanted.name));
                }
                Err(evidence) => bad.push(evidence),
            }
        }
        let (answer, evidence) = match bad.is_empty() {
            true => (Answer::Good, good.join("; ")),
            false => (Answer::Bad, bad.join("; ")),
        };
        PodRuns { answer, evidence, containers: running }
    }

    fn container(
        &self,
        wanted: &ContainerWanted,
        sandbox: &Sandbox,
        images: &BTreeMap<String, ImageSeen>,
    ) -> Result<&Container, String> {
        let name = &wanted.name;
        // The last one; earlier ones have ended and are kept for their logs.
        let newest = self
            .containers
            .iter()
            .filter(|container| container.sandbox_id == sandbox.id && container.name == *name)
            .max_by_key(|container| container.restarts)
            .ok_or_else(|| format!("container {name} was not started"))?;
        let status = self.statuses.get(&newest.id);
        match newest.state {
            ContainerState::Running => {}
            ContainerState::Created => return Err(format!("container {name} is about to start")),
            ContainerState::Unknown => {
                return Err(format!("container {name} is in no known state"));
            }
            ContainerState::Exited => {
                let how = status
                    .map(|status| format!(" with status {} ({})", status.exit_code, status.reason));
                let times = match newest.restarts {
                    0 => String::new(),
                    times => format!(", start number {}", times + 1),
                };
                return Err(format!("container {name} ended{}{times}", how.unwrap_or_default()));
            }
        }
        let Some(status) = status else { return Err(format!("container {name} has just gone")) };
        match runs_image(status, &wanted.image, images) {
            true => Ok(newest),
            false => Err(format!(
                "container {name} runs image {} instead of {}",
                status.image_reference, wanted.image
            )),
        }
    }

    /// The runs that should be over: those of the pods in `known`, each with its grace period, whose UID is not the one
    /// in `uids` that is to run.
    pub(crate) fn over<'a>(
        &'a self,
        known: &'a BTreeMap<(String, String), u64>,
        uids: &'a BTreeMap<(String, String), Option<String>>,
        node: &'a str,
    ) -> impl Iterator<Item = Lingering> + 'a {
        known.iter().flat_map(move |(key, grace_seconds)| {
            let (namespace, name) = key;
            let is_over = move |sandbox: &&Sandbox| match uids.get(key) {
                // A manifest without a UID of ours; the kubelet alone knows which run is its.
                Some(None) => false,
                Some(Some(uid)) => *uid != sandbox.pod.uid,
                None => true,
            };
            self.ready(name, namespace, node).filter(is_over).map(move |sandbox| Lingering {
                pod: format!("{namespace}/{}", sandbox.pod.name),
                sandbox: sandbox.id.clone(),
                trouble: Trouble::DoesNotEnd,
                seconds: 0,
                grace_seconds: *grace_seconds,
            })
        })
    }
}

/// Whether a container runs the image that `reference` names. Without an answer about the image, the digest in the
/// reference decides.
fn runs_image(
    status: &ContainerStatus,
    reference: &str,
    images: &BTreeMap<String, ImageSeen>,
) -> bool {
    let digest = reference.rsplit_once('@').map(|(_, digest)| digest);
    let names_digest = |text: &str| {
        digest.is_some_and(|digest| text.rsplit_once('@').is_some_and(|(_, other)| other == digest))
    };
    match images.get(reference) {
        Some(ImageSeen::Present { id, digests, .. }) => {
            [&status.image_id, &status.image_reference].contains(&id)
                || digests.contains(&status.image_reference)
        }
        Some(ImageSeen::Missing | ImageSeen::Unknown { .. }) | None => {
            digest.is_none() || names_digest(&status.image_reference) || names_digest(&status.image)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::host::cri::PodRun;

    fn wanted() -> PodWanted {
        PodWanted::read(
            "metadata: {name: web, namespace: ns}\nspec: {containers: [{name: c, image: i@sha256:1}]}",
        )
        .unwrap()
    }

    fn sandbox(id: &str, is_ready: bool) -> Sandbox {
        let pod = PodRun { name: "web-n1".into(), namespace: "ns".into(), uid: "u".into() };
        Sandbox { id: id.into(), pod, is_ready, created_unix_nanos: id.len() as i64 }
    }

    fn container(id: &str, sandbox: &str, state: ContainerState, restarts: u32) -> Container {
        let pod = PodRun::default();
        Container {
            id: id.into(),
            sandbox_id: sandbox.into(),
            pod,
            name: "c".into(),
            state,
            restarts,
        }
    }

    fn status(id: &str, image_id: &str) -> (String, ContainerStatus) {
        let status = ContainerStatus {
            id: id.into(),
            state: ContainerState::Running,
            restarts: 0,
            image: String::new(),
            image_reference: "i@sha256:9".into(),
            image_id: image_id.into(),
            started_unix_nanos: 0,
            finished_unix_nanos: 0,
            exit_code: 3,
            reason: "Error".into(),
            message: String::new(),
        };
        (id.to_owned(), status)
    }

    #[track_caller]
    fn check(runtime: &Runtime, uid: Option<&str>, expected: Answer, evidence: &str) {
        let present =
            ImageSeen::Present { id: "good".into(), digests: BTreeSet::new(), pinned: true };
        let images = BTreeMap::from([("i@sha256:1".to_owned(), present)]);
        let runs = runtime.runs(&wanted(), "n1", &images, uid);
        assert_eq!((runs.answer, runs.evidence.as_str()), (expected, evidence));
        assert_eq!(runs.containers.is_empty(), expected == Answer::Bad);
    }

    #[test]
    fn how_a_pod_runs() {
        use ContainerState::{Created, Exited, Running};
        let mut runtime = Runtime::default();
        check(&runtime, None, Answer::Bad, "the kubelet has not started it");
        runtime.sandboxes = vec![sandbox("old", false)];
        check(&runtime, None, Answer::Bad, "the kubelet has not started it");
        runtime.sandboxes.push(sandbox("s", true));
        check(&runtime, None, Answer::Bad, "container c was not started");
        runtime.containers = vec![container("a", "s", Created, 0)];
        check(&runtime, None, Answer::Bad, "container c is about to start");
        runtime.containers = vec![container("a", "s", Running, 0)];
        check(&runtime, None, Answer::Bad, "container c has just gone");
        runtime.statuses = BTreeMap::from([status("a", "other")]);
        check(
            &runtime,
            None,
            Answer::Bad,
            "container c runs image i@sha256:9 instead of i@sha256:1",
        );
        runtime.statuses = BTreeMap::from([status("a", "good")]);
        check(&runtime, None, Answer::Good, "container c runs");
        check(&runtime, Some("u"), Answer::Good, "container c runs");
        check(&runtime, Some("v"), Answer::Bad, "its former run has not been replaced yet");
        // The dead container before it does not count; the one after it does.
        runtime.containers = vec![container("x", "s", Exited, 0), container("a", "s", Running, 1)];
        check(&runtime, None, Answer::Good, "container c runs, restarted once");
        runtime.containers = vec![container("y", "s", Running, 0), container("a", "s", Exited, 1)];
        let ended = "container c ended with status 3 (Error), start number 2";
        check(&runtime, None, Answer::Bad, ended);
        runtime.sandboxes.push(sandbox("twin", true));
        check(&runtime, None, Answer::Bad, "2 runs of it at once");
    }

    #[test]
    fn runs_that_should_be_over() {
        let key = ("ns".to_owned(), "web".to_owned());
        let known = BTreeMap::from([(key.clone(), 15)]);
        let runtime = Runtime {
            sandboxes: vec![sandbox("s", true), sandbox("newer", true), sandbox("x", false)],
            ..Runtime::default()
        };
        let over = |uids: &BTreeMap<_, _>| -> Vec<String> {
            runtime.over(&known, uids, "n1").map(|it| it.sandbox).collect()
        };
        assert_eq!(over(&BTreeMap::new()), ["s", "newer"]);
        let with_uid = |uid: Option<&str>| BTreeMap::from([(key.clone(), uid.map(str::to_owned))]);
        assert_eq!(over(&with_uid(None)), Vec::<String>::new());
        assert_eq!(over(&with_uid(Some("u"))), Vec::<String>::new());
        assert_eq!(over(&with_uid(Some("v"))), ["s", "newer"]);
    }
}
