//! What is left of a pod on the host: its containers by the runtime, its control group and its folder by the kernel.

use std::collections::BTreeSet;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::Host;
use super::cri::{CONTAINERD_SOCKET, Container, ContainerState, Cri, PodRun, Sandbox};
use crate::replace::stopping::{Look, RunSeen};

/// The kubelet's folders of pods, by UID.
const POD_FOLDERS: &str = "/var/lib/kubelet/pods";
/// Where control groups are.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";
/// The kubelet's own group lies this deep below [`CONTROL_GROUPS`] at most: version 1 has one tree per controller, and the
/// kubelet may be told to start below a group.
const MAX_DEPTH: usize = 4;

/// A static pod as the runtime knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LocalPod {
    pub(crate) namespace: String,
    /// Its name in the runtime: the kubelet adds `-` and the node's name to the names of static pods.
    pub(crate) name: String,
    /// The UID its manifest gave it, when it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
}

impl LocalPod {
    /// Whether `run` is one of its runs.
    pub(crate) fn is(&self, run: &PodRun) -> bool {
        (run.namespace == self.namespace && run.name == self.name)
            || self.uid.as_ref() == Some(&run.uid)
    }
}

/// Whether the kubelet keeps a folder for the run with this UID: it makes one before anything else.
pub(crate) fn has_folder(host: &Host, uid: &str) -> bool {
    host.real(&format!("{POD_FOLDERS}/{uid}")).exists()
}

/// Looks again and again at what is left of one pod.
pub(crate) struct Watching<'a> {
    host: &'a Host,
    pod: &'a LocalPod,
    /// `None` when there is no runtime on the host.
    runtime: Option<Cri>,
    /// The kubelet's groups of all pods: one, or one per controller.
    groups: Vec<Utf8PathBuf>,
}

impl<'a> Watching<'a> {
    pub(crate) fn new(host: &'a Host, pod: &'a LocalPod) -> Watching<'a> {
        let runtime = host.real(CONTAINERD_SOCKET).exists().then(|| Cri::of(host).ok()).flatten();
        let mut groups = Vec::new();
        find_groups(&host.real(CONTROL_GROUPS), MAX_DEPTH, &mut groups);
        Watching { host, pod, runtime, groups }
    }

    /// What is left now.
    pub(crate) async fn look(&self) -> Look {
        let (mut runs, mut last) = (Vec::new(), None);
        if let Some(runtime) = &self.runtime {
            let (sandboxes, containers) =
                match tokio::join!(runtime.sandboxes(), runtime.containers()) {
                    (Ok(sandboxes), Ok(containers)) => (sandboxes, containers),
                    (Err(error), _) | (_, Err(error)) => return Look::Unknown(error.to_string()),
                };
            runs = self.known_to_runtime(&sandboxes, &containers);
            last = self.last_run(&sandboxes);
        } else if self.pod.uid.is_none() {
            // Pods outlive their runtime, and nobody else knows which is which.
            match self.any_control_group(|name| name.starts_with("pod") || name.contains("-pod")) {
                Ok(false) => {}
                Ok(true) => {
                    return Look::Unknown(
                        "the container runtime is away, and pods are not".to_owned(),
                    );
                }
                Err(error) => return Look::Unknown(format!("cannot look for its traces: {error}")),
            }
        }
        match self.with_traces(runs, last.as_ref()) {
            Ok(runs) => Look::Runs(runs),
            Err(error) => Look::Unknown(format!("cannot look for its traces: {error}")),
        }
    }

    /// UIDs of its runs, and what is alive of each.
    fn known_to_runtime(
        &self,
        sandboxes: &[Sandbox],
        containers: &[Container],
    ) -> Vec<(String, Option<String>)> {
        let sandboxes = || sandboxes.iter().filter(|sandbox| self.pod.is(&sandbox.pod));
        let containers = || containers.iter().filter(|container| self.pod.is(&container.pod));
        let uids: BTreeSet<&String> = (sandboxes().map(|sandbox| &sandbox.pod.uid))
            .chain(containers().map(|container| &container.pod.uid))
            .chain(&self.pod.uid)
            .collect();
        let alive = |uid: &String| {
            let container = containers()
                .find(|container| container.pod.uid == *uid && is_alive(container.state))
                .map(|container| format!("container {}", container.name));
            let sandbox = || {
                sandboxes()
                    .find(|sandbox| sandbox.pod.uid == *uid && sandbox.is_ready)
                    .map(|_| "its sandbox".to_owned())
            };
            container.or_else(sandbox)
        };
        uids.into_iter().map(|uid| (uid.clone(), alive(uid))).collect()
    }

    /// The run that was started last. Those before it have ended for the kubelet too, or it would not have started this
    /// one; their dead containers stay with the runtime for a while and say nothing.
    fn last_run(&self, sandboxes: &[Sandbox]) -> Option<String> {
        let own = sandboxes.iter().filter(|sandbox| self.pod.is(&sandbox.pod));
        let last = own.max_by_key(|sandbox| sandbox.created_unix_nanos);
        last.map(|sandbox| sandbox.pod.uid.clone())
    }

    fn with_traces(
        &self,
        runs: Vec<(String, Option<String>)>,
        last: Option<&String>,
    ) -> io::Result<Vec<RunSeen>> {
        let mut runs = runs;
        if runs.is_empty() {
            runs.extend(self.pod.uid.iter().map(|uid| (uid.clone(), None)));
        }
        let mut seen = Vec::new();
        for (uid, alive) in runs {
            let folder = self.host.real(&format!("{POD_FOLDERS}/{uid}"));
            let run = RunSeen {
                alive,
                has_volumes: has_volumes(&folder)?,
                has_control_group: self.has_control_group(&uid)?,
                has_folder: folder.exists(),
                uid,
            };
            let has_traces = run.has_volumes || run.has_control_group || run.has_folder;
            // A UID that only the manifest names and that left no trace never ran, or ended long ago.
            if has_traces || run.alive.is_some() || last == Some(&run.uid) {
                seen.push(run);
            }
        }
        Ok(seen)
    }

    fn has_control_group(&self, uid: &str) -> io::Result<bool> {
        // Once as the cgroupfs driver writes it, once as the systemd driver does, where `-` divides levels.
        let names = [format!("pod{uid}"), format!("pod{}.slice", uid.replace('-', "_"))];
        self.any_control_group(|name| names.iter().any(|own| name.ends_with(own.as_str())))
    }

    /// Whether there is a group of a pod whose name fits.
    fn any_control_group(&self, fits: impl Fn(&str) -> bool) -> io::Result<bool> {
        let fits = |path: &Utf8PathBuf| path.file_name().is_some_and(&fits);
        for group in &self.groups {
            for class in folders_in(group)? {
                // Directly below for a pod with guaranteed resources, else below its class.
                if fits(&class) || folders_in(&class)?.iter().any(fits) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

fn is_alive(state: ContainerState) -> bool {
    match state {
        ContainerState::Running | ContainerState::Unknown => true,
        // One that was made and never started goes with its sandbox.
        ContainerState::Created | ContainerState::Exited => false,
    }
}

/// Finds the groups `kubepods` and `kubepods.slice`.
fn find_groups(folder: &Utf8Path, depth: usize, found: &mut Vec<Utf8PathBuf>) {
    // What cannot be listed holds no group of ours; a pod's own is looked for below, with its errors.
    for below in folders_in(folder).unwrap_or_default() {
        match below.file_name() {
            Some(name) if name.ends_with("kubepods") || name.ends_with("kubepods.slice") => {
                found.push(below);
            }
            _ if depth > 1 => find_groups(&below, depth - 1, found),
            _ => {}
        }
    }
}

/// The folders inside a folder; none when it is gone.
fn folders_in(folder: &Utf8Path) -> io::Result<Vec<Utf8PathBuf>> {
    let entries = match folder.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut folders = Vec::new();
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.file_type()?, entry))) {
            Ok((kind, entry)) if kind.is_dir() => folders.push(entry.into_path()),
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(folders)
}

/// Whether a pod's folder holds a volume: `volumes/<kind>/<name>`. Host paths leave no folder there.
fn has_volumes(folder: &Utf8Path) -> io::Result<bool> {
    for kind in folders_in(&folder.join("volumes"))? {
        if !folders_in(&kind)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_gone(error: &io::Error) -> bool {
    // A control group that is being removed answers "no such device".
    error.kind() == io::ErrorKind::NotFound
        || rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "haproxy-n1";

    fn sandbox(uid: &str, started: i64, is_ready: bool) -> Sandbox {
        let pod = PodRun { name: POD.into(), namespace: "kube-system".into(), uid: uid.into() };
        Sandbox { id: uid.into(), pod, is_ready, created_unix_nanos: started }
    }

    /// The UIDs of the runs that are looked at, for a pod whose manifest names `uid`, with folders left by `folders`.
    #[track_caller]
    fn check(uid: Option<&str>, sandboxes: &[Sandbox], folders: &[&str], expected: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(Utf8Path::from_path(root.path()).unwrap()).unwrap();
        for folder in folders {
            std::fs::create_dir_all(host.real(&format!("{POD_FOLDERS}/{folder}"))).unwrap();
        }
        let uid = uid.map(str::to_owned);
        let pod = LocalPod { namespace: "kube-system".into(), name: POD.into(), uid };
        let watching = Watching { host: &host, pod: &pod, runtime: None, groups: Vec::new() };
        let runs = watching.known_to_runtime(sandboxes, &[]);
        let seen = watching.with_traces(runs, watching.last_run(sandboxes).as_ref()).unwrap();
        let seen: Vec<&str> = seen.iter().map(|run| run.uid.as_str()).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_ended_before_the_last_run_is_passed_over() {
        let [a, b, c] = [("a", 1), ("b", 3), ("c", 2)].map(|(uid, at)| sandbox(uid, at, false));
        check(Some("b"), &[a.clone(), b.clone(), c.clone()], &[], &["b"]);
        // Not known by the manifest: the runtime tells which was the last.
        check(None, &[a.clone(), b.clone(), c.clone()], &[], &["b"]);
        // A manifest that never ran: the run before it may still be ending.
        check(Some("new"), &[a.clone(), b.clone()], &[], &["b"]);
        // What left something counts, whenever it ran.
        check(Some("b"), &[a.clone(), b.clone(), c.clone()], &["c"], &["b", "c"]);
        check(Some("b"), &[sandbox("a", 1, true), b], &[], &["a", "b"]);
        check(Some("new"), &[], &[], &[]);
        check(Some("new"), &[], &["new"], &["new"]);
    }
}
