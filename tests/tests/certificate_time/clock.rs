//! A clock that stands in another decade when the agent starts, or is set while it runs.
//!
//! No namespace has a clock of its own for the time of day (time_namespaces(7)). So the agent sees another time through a
//! library that is loaded before all others, and the kernel tells it of a step because the machine's clock is set to what
//! it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::needs::skip;
use e2e::vault_node::{VaultNode, made};
use e2e::wait;
use serde_json::Value as Json;

use super::{LIMIT, SIGN, now, serial};

const IN_2001: i64 = 978_307_200;
const IN_2040: i64 = 2_208_988_800;
const DAY: i64 = 86_400;
/// A step is noticed, and every deadline worked out anew, in this time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A clock that can be set.
struct Clock {
    folder: tempfile::TempDir,
    library: PathBuf,
    set: PathBuf,
}

impl Clock {
    /// `None` where no clock can be set, or the agent would not see it; that was said then.
    fn new(agent: &Path) -> Option<Clock> {
        let folder = tempfile::tempdir().unwrap();
        let sources = e2e::checkout::root().join("tests/tests/certificate_time");
        let compile = |source: &str, name: &str, options: &[&str]| {
            let made = folder.path().join(name);
            let mut command = Command::new("cc");
            command.args(options).arg(sources.join(source)).arg("-o").arg(&made);
            command.status().is_ok_and(|status| status.success()).then_some(made)
        };
        let library = compile("wrong_clock.c", "wrong_clock.so", &["-shared", "-fPIC"]);
        let set = compile("set_clock.c", "set_clock", &[]);
        let (Some(library), Some(set)) = (library, set) else {
            skip("needs a compiler of C");
            return None;
        };
        if !Command::new(&set).status().is_ok_and(|status| status.success()) {
            skip("needs to set the machine's clock, which this container does not allow");
            return None;
        }
        let linked = Command::new("ldd").arg(agent).output().unwrap();
        if !linked.status.success() {
            skip("needs an agent that is linked to the system's libc");
            return None;
        }
        let clock = Clock { folder, library, set };
        clock.stand(0);
        Some(clock)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("seconds")
    }

    /// From now on it is so many seconds away.
    fn stand(&self, seconds: i64) {
        let beside = self.folder.path().join("next");
        std::fs::write(&beside, seconds.to_string()).unwrap();
        std::fs::rename(beside, self.file()).unwrap();
        assert!(Command::new(&self.set).status().unwrap().success());
    }

    fn start(&self, node: &VaultNode) -> e2e::vault_node::Service {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        node.start_with(&[
            ("LD_PRELOAD", &text(&self.library)),
            ("BASALT_TEST_CLOCK", &text(&self.file())),
        ])
    }
}

/// What the running service says of its certificate.
fn said(node: &VaultNode) -> Json {
    let text = std::fs::read(node.path("/run/basalt/status.json")).unwrap_or_default();
    let report: Json = serde_json::from_slice(&text).unwrap_or_default();
    report["evidence"]["reports"]["certificates"]["certificates"][0].clone()
}

/// How long it takes until the service is sure of the clock, or not sure any more.
#[track_caller]
fn until_sure(node: &VaultNode, is_sure: bool) -> Duration {
    let start = Instant::now();
    let is_so = || (said(node)["clock_is_sure"] == is_sure).then_some(());
    let what = if is_sure { "a clock that is sure" } else { "a clock that is not sure" };
    let found = wait::until(what, LIMIT, is_so);
    found.unwrap_or_else(|error| panic!("{error}: {:#}", said(node)));
    start.elapsed()
}

/// Nothing is called expired, and nothing is left undone.
#[test]
fn a_clock_of_another_decade_judges_nothing() {
    let Some(agent) = e2e::programs::agent() else { return };
    let Some(clock) = Clock::new(&agent) else { return };
    for there in [IN_2001, IN_2040] {
        let Some(mut node) = VaultNode::new() else { return };
        node.want(|_| {});
        clock.stand(there - now());
        let service = clock.start(&node);
        let first = node.wait_for_new("ingress", "");
        wait::until("its word", LIMIT, || (serial(&said(&node)) == first).then_some(())).unwrap();
        assert_eq!(said(&node)["clock_is_sure"], false, "{:#}", said(&node));
        let item = node.item("certificate", "ingress");
        assert!(!item["seen"].as_str().unwrap().contains("ran out"), "{item:#}");
        service.kill();

        // The next boot, with certificates that a clock like that would call over, or not begun.
        let service = clock.start(&node);
        until_sure(&node, false);
        std::thread::sleep(Duration::from_secs(2));
        let item = node.item("certificate", "ingress");
        assert!(
            item["reason"].as_str().unwrap().contains("the clock is not known to be right"),
            "{item:#}"
        );
        assert_eq!((node.count(SIGN, 200), item["state"].as_str()), (1, Some("ok")), "{item:#}");
        assert_eq!(serial(&said(&node)), first);
        clock.stand(0);
        let took = until_sure(&node, true);
        println!("the clock was set right: known after {took:?}");
        assert!(took < AT_ONCE, "{took:?}");
        assert_eq!(serial(&said(&node)), first);
        // A turn that went on meanwhile may have been first.
        let is_said = || service.log().contains("the clock was set").then_some(());
        wait::until("word of the step", LIMIT, is_said).unwrap();
        assert!(!service.log().contains("ran out"), "{}", service.log());
    }
}

#[test]
fn a_step_is_noticed_at_once() {
    let Some(agent) = e2e::programs::agent() else { return };
    let Some(clock) = Clock::new(&agent) else { return };
    let Some(mut node) = VaultNode::new() else { return };
    node.want(|_| {});
    let _service = clock.start(&node);
    let first = node.wait_for_new("ingress", "");
    until_sure(&node, true);
    let mut slowest = Duration::ZERO;
    for seconds in [DAY, 0, -DAY, 0, 30 * DAY, 0] {
        clock.stand(seconds);
        slowest = slowest.max(until_sure(&node, seconds == 0));
        assert!(slowest < AT_ONCE, "{seconds}: {slowest:?}");
        let item = node.item("certificate", "ingress");
        assert!(
            item["state"] == "ok" && !item["seen"].as_str().unwrap().contains("ran out"),
            "{item:#}"
        );
    }
    println!("steps of a day and a month were noticed after {slowest:?} at most");
    assert_eq!((node.count(SIGN, 200), serial(&said(&node))), (1, first));
    made(node.vault.health().map(drop));
}
