//! Changing a pod: by the agent, beside the kubelet's own way with a manifest that is changed where it lies; and a new
//! config alone, under load.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::peers::peer;
use e2e::pod_change::load::{self, Requests};
use e2e::pod_change::{Parts, PodNode, Wanted};

use super::cost::seconds;
use crate::build_image::agent;
use crate::output;
use crate::progress::Progress;

/// How many new configs come during ten seconds of requests.
const RELOADS: u32 = 3;
/// The agent's unit on the node.
const AGENT: &str = "basalt-agent.service";

/// Measures and prints: `runs` changes each way on one node, and as many times ten seconds of requests.
pub(super) fn run(runs: u16, progress: &Progress) -> Result<()> {
    let agent = agent::build(progress)?;
    let missing = "a program is missing: `cargo xtask peers` gets it";
    let (parts, wrk) = Parts::find().zip(peer("wrk")).context(missing)?;
    let mut wanted = Wanted::first();
    progress.step("booting a node");
    let node = PodNode::start(parts, agent.as_std_path(), &wanted)?;
    node.trust_every_generation()?;
    node.wait_for_serving(wanted.generation)?;

    let mut by_agent = Vec::new();
    for run in 1..=runs {
        progress.step(format!("replacing by the agent (run {run} of {runs})"));
        wanted.next();
        wanted.haproxy = 1 - wanted.haproxy;
        node.want(&wanted)?;
        by_agent.push(node.wait_for(&wanted.version)?);
        node.wait_for_serving(wanted.generation)?;
    }

    let mut requests = Requests::default();
    let mut reloads = 0;
    for run in 1..=runs {
        progress.step(format!("new configs under load (run {run} of {runs})"));
        let seen = load::during(&node, &wrk, "Connection: close", || {
            for _ in 0..RELOADS {
                wanted.next();
                node.want(&wanted)?;
                node.wait_for(&wanted.version)?;
                node.wait_for_serving(wanted.generation)?;
                reloads += 1;
            }
            Ok(())
        })?;
        requests.add(seen);
    }

    node.machine.output(&["systemctl", "stop", AGENT])?;
    let mut by_kubelet = Vec::new();
    // The first one takes the agent's UID away and is not counted.
    for run in 0..=runs {
        progress.step(format!("changing in place (run {run} of {runs})"));
        node.change_in_place()?;
        let silence = node.wait_for_return()?;
        if run > 0 {
            by_kubelet.push(silence);
        }
    }

    let (ours, theirs) = (Spread::of(by_agent), Spread::of(by_kubelet));
    output::print(format_args!(
        "one pod changed {runs} times, time without an answer:\n\
         replaced by the agent: {ours}\n\
         changed in place, by the kubelet: {theirs}\n\
         ratio of the medians: {:.2}\n",
        ours.median.as_secs_f64() / theirs.median.as_secs_f64(),
    ))?;
    let lost = requests.lost();
    let all = requests.answered + lost;
    output::print(format_args!(
        "{reloads} new configs under load: {lost} of {all} requests lost, {:.6} of all; {} answered after more than 10 s\n",
        lost as f64 / all.max(1) as f64,
        requests.late,
    ))
}

/// The middle and the ends of some times.
struct Spread {
    least: Duration,
    median: Duration,
    most: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Spread {
        times.sort();
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        Spread {
            least: at(0),
            median: at(times.len() / 2),
            most: at(times.len().saturating_sub(1)),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, median, most] = [self.least, self.median, self.most].map(seconds);
        write!(f, "median {median}, {least} to {most}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let times = [3, 1, 2].map(Duration::from_secs).to_vec();
        assert_eq!(Spread::of(times).to_string(), "median 2.000 s, 1.000 s to 3.000 s");
    }
}
