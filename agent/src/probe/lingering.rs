//! Runs of pods that do not come or do not go, and since when. Pure, but for the clock that is handed in.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::process::{Runtime, kubelet_name};
use crate::apply::Overdue;

/// What a kubelet may take to begin with a manifest: it looks 10 s later at one that it could not begin with at once.
const BEGIN_SECONDS: u64 = 20;

/// The run of a pod that is stuck, or may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lingering {
    /// The pod, with the node's name at its end.
    pub(crate) pod: String,
    /// The run: its sandbox, or its UID where the runtime knows none of it.
    pub(crate) sandbox: String,
    /// What is wrong with it.
    #[serde(default)]
    pub(crate) trouble: Trouble,
    /// How long it has been seen so, in seconds.
    pub(crate) seconds: u64,
    /// How long that may take, in seconds: for a pod that has to end, its grace period.
    pub(crate) grace_seconds: u64,
}

/// What is wrong with a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trouble {
    /// It should be gone.
    #[default]
    DoesNotEnd,
    /// Its manifest is in place, and the kubelet has not begun with it.
    DoesNotBegin,
}

impl Lingering {
    /// Whether it has taken longer than it may.
    pub(crate) fn is_late(&self) -> bool {
        self.is_stuck(Duration::ZERO)
    }

    /// Whether it is stuck: it had the time that it may take, and `patience` more.
    pub(crate) fn is_stuck(&self, patience: Duration) -> bool {
        self.seconds >= self.grace_seconds.saturating_add(patience.as_secs())
    }
}

impl fmt::Display for Lingering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lingering { pod, seconds, grace_seconds, .. } = self;
        match self.trouble {
            Trouble::DoesNotEnd => write!(
                f,
                "pod {pod} has not ended for {seconds} s, its grace period is {grace_seconds} s"
            ),
            Trouble::DoesNotBegin => {
                write!(f, "the kubelet has not begun with pod {pod} for {seconds} s")
            }
        }
    }
}

/// What the runs of a node's pods are compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) node: &'a str,
    /// The pods whose manifests are in place, with the UIDs in them: by namespace and name.
    pub(crate) uids: &'a BTreeMap<(String, String), Option<String>>,
    /// Pods of any set that is kept, with their grace periods: by namespace and name.
    pub(crate) known: &'a BTreeMap<(String, String), u64>,
    /// The pods that the last round waited for in vain.
    pub(crate) overdue: &'a [Overdue],
}

/// Since when each run has been stuck, by its sandbox or UID.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ages(BTreeMap<String, Instant>);

impl Ages {
    /// What is stuck now. `is_begun` says whether the kubelet has begun with the run of this UID although the runtime does
    /// not know of it.
    pub(crate) fn note(
        &mut self,
        runtime: &Runtime,
        expected: &Expected<'_>,
        is_begun: impl Fn(&str) -> bool,
        now: Instant,
    ) -> Vec<Lingering> {
        let mut seen: Vec<(Lingering, Instant)> = runtime
            .over(expected.known, expected.uids, expected.node)
            .map(|it| (it, now))
            .collect();
        for overdue in expected.overdue {
            let of_it = |(it, _): &&mut (Lingering, Instant)| it.pod == overdue.pod();
            match seen.iter_mut().find(of_it) {
                Some((_, since)) => *since = overdue.since,
                // Its processes are gone, and what else it had is not.
                None => seen.push((left_behind(runtime, overdue, expected), overdue.since)),
            }
        }
        let unbegun = unbegun(runtime, expected).filter(|it| !is_begun(&it.sandbox));
        seen.extend(unbegun.map(|it| (it, now)));
        self.0.retain(|run, _| seen.iter().any(|(it, _)| it.sandbox == *run));
        let with_age = |(it, since): (Lingering, Instant)| {
            let first = self.0.entry(it.sandbox.clone()).or_insert(since);
            *first = since.min(*first);
            Lingering { seconds: (now - *first).as_secs(), ..it }
        };
        seen.into_iter().map(with_age).collect()
    }
}

impl Overdue {
    fn pod(&self) -> String {
        format!("{}/{}", self.run.namespace, self.run.name)
    }
}

fn left_behind(runtime: &Runtime, overdue: &Overdue, expected: &Expected<'_>) -> Lingering {
    let is_it = |(namespace, name): &(String, String)| {
        *namespace == overdue.run.namespace && kubelet_name(name, expected.node) == overdue.run.name
    };
    let grace = expected.known.iter().find(|(key, _)| is_it(key)).map(|(_, grace)| *grace);
    // The same run as while its processes lived.
    let own = runtime.sandboxes.iter().filter(|sandbox| overdue.run.is(&sandbox.pod));
    let last = own.max_by_key(|sandbox| sandbox.created_unix_nanos);
    let name = || overdue.run.uid.clone().unwrap_or_else(|| overdue.run.name.clone());
    Lingering {
        pod: overdue.pod(),
        sandbox: last.map_or_else(name, |sandbox| sandbox.id.clone()),
        trouble: Trouble::DoesNotEnd,
        seconds: 0,
        grace_seconds: grace.unwrap_or_default(),
    }
}

/// The pods with a manifest of which the runtime knows no run at all.
fn unbegun<'a>(
    runtime: &'a Runtime,
    expected: &Expected<'a>,
) -> impl Iterator<Item = Lingering> + 'a {
    let node = expected.node;
    expected.uids.iter().filter_map(move |((namespace, name), uid)| {
        // Without a UID of ours the kubelet alone knows which run is its.
        let uid = uid.as_ref()?;
        let is_known = runtime.sandboxes.iter().any(|sandbox| sandbox.pod.uid == *uid);
        (!is_known).then(|| Lingering {
            pod: format!("{namespace}/{}", kubelet_name(name, node)),
            sandbox: uid.clone(),
            trouble: Trouble::DoesNotBegin,
            seconds: 0,
            grace_seconds: BEGIN_SECONDS,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::cri::{PodRun, Sandbox};
    use crate::host::runs::LocalPod;

    fn sandbox(id: &str, uid: &str, is_ready: bool) -> Sandbox {
        let pod = PodRun { name: "web-n1".into(), namespace: "ns".into(), uid: uid.into() };
        Sandbox { id: id.into(), pod, is_ready, created_unix_nanos: 0 }
    }

    /// Which runs are stuck, each with its trouble and age, for a pod whose manifest has this UID, if it is there.
    struct Scene {
        ages: Ages,
        begin: Instant,
    }

    impl Scene {
        #[track_caller]
        fn check(
            &mut self,
            at: u64,
            sandboxes: &[Sandbox],
            uid: Option<&str>,
            waited_since: Option<u64>,
            expected: &[(&str, Trouble, u64)],
        ) {
            let key = ("ns".to_owned(), "web".to_owned());
            let runtime = Runtime { sandboxes: sandboxes.to_vec(), ..Runtime::default() };
            let time = |seconds| self.begin + Duration::from_secs(seconds);
            let run =
                LocalPod { namespace: "ns".into(), name: "web-n1".into(), uid: Some("old".into()) };
            let overdue: Vec<Overdue> = waited_since
                .map(|since| Overdue { run, since: time(since), left: "x".into() })
                .into_iter()
                .collect();
            let expectation = Expected {
                node: "n1",
                uids: &uid.map(|uid| (key.clone(), Some(uid.to_owned()))).into_iter().collect(),
                known: &BTreeMap::from([(key, 15)]),
                overdue: &overdue,
            };
            let now = time(at);
            let seen = self.ages.note(&runtime, &expectation, |uid| uid == "begun", now);
            let seen: Vec<(&str, Trouble, u64)> =
                seen.iter().map(|it| (it.sandbox.as_str(), it.trouble, it.seconds)).collect();
            assert_eq!(seen, expected);
        }
    }

    #[tokio::test]
    async fn how_long_runs_are_stuck() {
        use Trouble::{DoesNotBegin, DoesNotEnd};
        let mut scene = Scene { ages: Ages::default(), begin: Instant::now() };
        let old = [sandbox("s", "old", true)];
        scene.check(0, &old, Some("old"), None, &[]);
        // Removed; the round that waits for its end takes its time, and that counts.
        scene.check(70, &old, None, Some(10), &[("s", DoesNotEnd, 60)]);
        scene.check(131, &old, None, Some(71), &[("s", DoesNotEnd, 121)]);
        scene.check(140, &old, None, None, &[("s", DoesNotEnd, 130)]);
        // Its processes are gone, its volumes are not: it is the same run, as long as the runtime knows it.
        let dead = [sandbox("s", "old", false)];
        scene.check(201, &dead, None, Some(141), &[("s", DoesNotEnd, 191)]);
        scene.check(262, &[], None, Some(202), &[("old", DoesNotEnd, 60)]);
        // The next one is written, and does not begin.
        scene.check(270, &dead, Some("new"), None, &[("new", DoesNotBegin, 0)]);
        scene.check(280, &dead, Some("new"), None, &[("new", DoesNotBegin, 10)]);
        scene.check(290, &dead, Some("begun"), None, &[]);
        scene.check(300, &[sandbox("t", "new", true)], Some("new"), None, &[]);
        // What has ended once is new when it comes back.
        scene.check(310, &dead, Some("new"), None, &[("new", DoesNotBegin, 0)]);
    }

    #[test]
    fn says_what_is_stuck() {
        let mut it = Lingering {
            pod: "ns/web-n1".into(),
            sandbox: "s".into(),
            trouble: Trouble::DoesNotEnd,
            seconds: 20,
            grace_seconds: 15,
        };
        assert_eq!(
            it.to_string(),
            "pod ns/web-n1 has not ended for 20 s, its grace period is 15 s"
        );
        assert!(it.is_late() && !it.is_stuck(Duration::from_secs(6)));
        assert!(it.is_stuck(Duration::from_secs(5)));
        it.trouble = Trouble::DoesNotBegin;
        assert_eq!(it.to_string(), "the kubelet has not begun with pod ns/web-n1 for 20 s");
    }
}
