//! One run of a pod after the other: waits for the end of the last one, and sees the next one begin where that end was
//! not seen with certainty.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep};

use super::{Attributes, files};
use crate::host::Host;
use crate::host::runs::{LocalPod, Watching};
use crate::host::service::{self, Waiting, unix_seconds};
use crate::replace::starting::{Begin, Starting};
use crate::replace::stopping::{Stopping, Verdict};
use crate::replace::uid;

/// How long a pod may take to stop: more than the 40 s that our own pods are given to end connections. A pod that takes
/// longer is waited for again in the next round; nothing takes its place until then.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks at a pod that stops or starts: short beside the half second that a pod takes to start.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// A pod that takes longer than this to stop is told of: most are gone by then.
const TOLD_AFTER: Duration = Duration::from_secs(2);
/// How often a manifest that the kubelet passed over is written again. What it is waiting for then is something else.
const REWRITES: u32 = 2;

/// The end of a run, as far as it was seen.
pub(super) enum End {
    /// The kubelet has finished with it.
    Certain,
    /// Nothing of it is left, and the kubelet should have finished.
    Probable,
    /// Something is left of it after [`STOP_LIMIT`].
    Missed { since: Instant, left: String },
    /// The service is to stop, and this can wait.
    Interrupted,
}

/// Waits for the end of the run `run` of the pod whose manifest is, or was, at `path`.
pub(super) async fn see_end(
    path: &str,
    run: &LocalPod,
    host: &Host,
    should_stop: &mut impl AsyncFnMut() -> bool,
) -> End {
    let mut telling = Telling { host, path, since_unix_seconds: unix_seconds(), told: None };
    let end = wait_for_end(run, host, &mut telling, should_stop).await;
    telling.take_back();
    end
}

async fn wait_for_end(
    run: &LocalPod,
    host: &Host,
    telling: &mut Telling<'_>,
    should_stop: &mut impl AsyncFnMut() -> bool,
) -> End {
    let start = Instant::now();
    let watching = Watching::new(host, run);
    let mut stopping = Stopping::default();
    loop {
        let before = Instant::now();
        let look = watching.look().await;
        let left = match stopping.judge(&look, before.elapsed(), start.elapsed()) {
            Verdict::Stopped => return End::Certain,
            Verdict::Gone => return End::Probable,
            Verdict::NotYet(left) => left,
        };
        if start.elapsed() >= STOP_LIMIT {
            return End::Missed { since: start, left };
        }
        if should_stop().await {
            return End::Interrupted;
        }
        if start.elapsed() >= TOLD_AFTER {
            telling.tell(&left);
        }
        // Waiting for a pod is the loop going round.
        service::notify(&[NotifyState::Watchdog]);
        sleep(LOOK_PAUSE).await;
    }
}

/// Tells those who ask for a status what a round waits for.
struct Telling<'a> {
    host: &'a Host,
    path: &'a str,
    since_unix_seconds: u64,
    /// What was told last.
    told: Option<String>,
}

impl Telling<'_> {
    fn tell(&mut self, left: &str) {
        if self.told.as_deref() == Some(left) {
            return;
        }
        let (path, since_unix_seconds) = (self.path.to_owned(), self.since_unix_seconds);
        let waiting = Waiting { path, left: left.to_owned(), since_unix_seconds };
        service::tell_waiting(self.host, Some(waiting));
        self.told = Some(left.to_owned());
    }

    fn take_back(self) {
        if self.told.is_some() {
            service::tell_waiting(self.host, None);
        }
    }
}

/// A manifest as it was written.
pub(super) struct Written<'a> {
    pub(super) path: &'a str,
    pub(super) uid: &'a str,
    pub(super) contents: &'a str,
    pub(super) attributes: Attributes,
}

/// Sees the kubelet take up a manifest that was just written. One that it passed over is written again under another UID,
/// in the place of the first: of that nothing runs, so there is nothing to wait for.
///
/// # Errors
/// When the manifest cannot be written again. The first one is there.
pub(super) async fn see_begin(
    written: &Written<'_>,
    last: &LocalPod,
    host: &Host,
    should_stop: &mut impl AsyncFnMut() -> bool,
) -> io::Result<()> {
    let mut uid = written.uid.to_owned();
    for _ in 0..REWRITES {
        let run = LocalPod { uid: Some(uid.clone()), ..last.clone() };
        match watch(&run, &uid, host, should_stop).await {
            Begin::Seen | Begin::Unclear | Begin::NotYet => return Ok(()),
            Begin::Missed => {}
        }
        let next = uid::after(&uid);
        tracing::info!(path = written.path, %uid, %next, "the kubelet passed this manifest over; writing it again");
        let contents = written.contents.replacen(written.uid, &next, 1);
        files::replace(&host.path(written.path), contents.as_bytes(), written.attributes)?;
        uid = next;
    }
    Ok(())
}

async fn watch(
    run: &LocalPod,
    uid: &str,
    host: &Host,
    should_stop: &mut impl AsyncFnMut() -> bool,
) -> Begin {
    let start = Instant::now();
    let watching = Watching::new(host, run);
    let mut starting = Starting::default();
    loop {
        let before = Instant::now();
        let look = watching.look().await;
        let begin = starting.judge(uid, &look, before.elapsed(), start.elapsed());
        if begin != Begin::NotYet || should_stop().await {
            return begin;
        }
        service::notify(&[NotifyState::Watchdog]);
        sleep(LOOK_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_host;

    const MANIFEST: &str = "/etc/kubernetes/manifests/web.yaml";
    const UID: &str = "10000000-0000-8000-8000-000000000000";

    /// Which UID the manifest has in the end, when the kubelet takes up the runs in `begun`.
    fn uid_after(begun: &[&str]) -> String {
        let (_keep, host) = scratch_host();
        std::fs::create_dir_all(host.path("/etc/kubernetes/manifests")).unwrap();
        for uid in begun {
            std::fs::create_dir_all(host.path(&format!("/var/lib/kubelet/pods/{uid}"))).unwrap();
        }
        let contents = format!("metadata:\n  uid: {UID}\n  name: web\n");
        std::fs::write(host.path(MANIFEST), &contents).unwrap();
        let attributes = Attributes { mode: 0o600, owner: host.owner, label: None };
        let written = Written { path: MANIFEST, uid: UID, contents: &contents, attributes };
        let last = LocalPod { namespace: "ns".into(), name: "web-n1".into(), uid: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(see_begin(&written, &last, &host, &mut async || false)).unwrap();
        let text = std::fs::read_to_string(host.path(MANIFEST)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("  uid: ")).unwrap().to_owned();
        assert_eq!(text.replace(&line, UID), contents);
        line
    }

    #[test]
    fn what_the_kubelet_passes_over_is_written_again() {
        let (second, third) = (uid::after(UID), uid::after(&uid::after(UID)));
        assert_eq!(uid_after(&[UID]), UID);
        assert_eq!(uid_after(&[&second]), second);
        // And no more than twice.
        assert_eq!(uid_after(&[]), third);
    }
}
