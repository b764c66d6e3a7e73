//! The virtual address on three nodes: what can happen to its holder, and what a client notices of it.
//!
//! The end-to-end tests and `cargo xtask bench virtual-address` run the same [`Scene`].

pub mod backends;
pub mod prober;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::backends::Backends;
use self::prober::{Prober, Sample, holds};
use crate::fleet::{self, CLIENT_ADDRESSES, FleetNode, PLACES, Yard};
use crate::network::Switch;
use crate::peers::Peer;
use crate::wait;

/// The address that moves.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// How often holders advertise, on these nodes.
pub const ADVERT: Duration = Duration::from_secs(1);

/// A busy machine takes its time to start three kubelets.
const START_LIMIT: Duration = Duration::from_secs(180);
/// How long the address may take to be steady again before a scene counts as failed.
const MOVE_LIMIT: Duration = Duration::from_secs(60);
/// This many answers in a row make the address steady: two seconds.
const STEADY: usize = 80;

/// What happens to the holder of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its keepalived is told to stop, as when its pod is removed.
    GracefulStop,
    /// Its haproxy loses every server, while haproxy itself runs on.
    BackendsDie,
    /// No node hears another; each still hears the client.
    Split,
    /// The split heals.
    Heal,
    /// It loses power.
    SuddenDeath,
}

/// What a client noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// From the event until the address answers for good; zero when it never stopped.
    pub until_answered: Duration,
    /// Questions without an answer.
    pub lost: usize,
    /// The longest time for which two nodes or more had the address.
    pub doubly_held: Duration,
    /// The longest time for which nobody had it.
    pub unheld: Duration,
}

/// Three nodes, a client and servers.
#[derive(Debug)]
pub struct Scene {
    // Machines go before the network they are plugged into.
    nodes: Vec<FleetNode>,
    prober: Prober,
    _backends: Backends,
    switch: Switch,
}

impl Scene {
    /// Makes the nodes of `yard` and waits until the address answers.
    ///
    /// # Errors
    /// When a node does not start, or the address does not answer: with what the nodes say.
    pub fn start(yard: &Yard, haproxy: &Peer) -> Result<Scene> {
        let switch = Switch::new(&CLIENT_ADDRESSES)?;
        let backends = Backends::start(haproxy, &switch, yard.folder())?;
        let dist = yard.build(&fleet::cluster(yard, 1))?;
        let nodes = yard.boot(&dist, &PLACES, &switch)?;
        let pids = nodes.iter().map(|node| node.machine.init_pid()).collect();
        let prober = Prober::start(&switch, SocketAddr::new(IpAddr::V4(ADDRESS), 80), pids)?;
        let scene = Scene { nodes, prober, _backends: backends, switch };
        scene.settle(START_LIMIT)?;
        scene.wait_for_all()?;
        Ok(scene)
    }

    /// Lets `event` happen and waits until the address is steady again.
    ///
    /// # Errors
    /// When it does not become so: with what the nodes say.
    pub fn after(&mut self, event: Event) -> Result<Outage> {
        let since = Instant::now();
        match event {
            Event::GracefulStop => {
                let holder = self.holder()?;
                holder.machine.output(&["systemctl", "stop", "basalt-agent.service"])?;
                holder.machine.output(&["mv", MANIFEST, ASIDE])?;
            }
            Event::BackendsDie => {
                let route = ["ip", "route", "add", "blackhole", fleet::SERVER_ADDRESS];
                self.holder()?.machine.output(&route)?;
            }
            Event::Split | Event::Heal => {
                for node in &self.nodes {
                    let isolated = event == Event::Split;
                    self.switch.isolate(&node.machine, node.place.interface, isolated)?;
                }
            }
            Event::SuddenDeath => {
                let name = self.holder()?.place.name;
                self.nodes.retain(|node| node.place.name != name);
            }
        }
        match event {
            // All of them have it then: nothing any of them could know says otherwise.
            Event::Split => self.wait_for_many()?,
            Event::GracefulStop | Event::BackendsDie | Event::Heal | Event::SuddenDeath => {
                self.settle(MOVE_LIMIT)?;
            }
        }
        let samples = self.prober.samples();
        let samples: Vec<Sample> =
            samples.into_iter().filter(|sample| sample.at >= since).collect();
        Ok(measure(since, &samples))
    }

    /// Undoes [`Event::GracefulStop`] and [`Event::BackendsDie`] on every node, and waits until all take part again.
    ///
    /// # Errors
    /// When the address does not become steady.
    pub fn mend(&self) -> Result<()> {
        for node in &self.nodes {
            let machine = &node.machine;
            machine.run(&["ip", "route", "del", "blackhole", fleet::SERVER_ADDRESS])?;
            machine.run(&["mv", ASIDE, MANIFEST])?;
            machine.output(&["systemctl", "start", "basalt-agent.service"])?;
        }
        self.settle(START_LIMIT)?;
        self.wait_for_all()
    }

    /// The node that has the address.
    ///
    /// # Errors
    /// When none or several have it.
    pub fn holder(&self) -> Result<&FleetNode> {
        let has = |node: &&FleetNode| holds(node.machine.init_pid(), &ADDRESS.to_string());
        let holders: Vec<&FleetNode> = self.nodes.iter().filter(has).collect();
        match holders[..] {
            [holder] => Ok(holder),
            _ => bail!("{} nodes hold {ADDRESS}", holders.len()),
        }
    }

    /// The nodes that are left.
    pub fn nodes(&self) -> &[FleetNode] {
        &self.nodes
    }

    /// Until every node has found its pods good: an address with one holder and nobody behind it cannot move.
    fn wait_for_all(&self) -> Result<()> {
        for node in &self.nodes {
            node.wait_until_serving(START_LIMIT)?;
        }
        Ok(())
    }

    fn settle(&self, limit: Duration) -> Result<()> {
        let from = self.prober.samples().len();
        let steady = || {
            (self.prober.samples().len() >= from + STEADY && self.prober.is_steady(STEADY))
                .then_some(())
        };
        wait::until("the address to answer steadily", limit, steady).with_context(|| self.tell())
    }

    fn wait_for_many(&self) -> Result<()> {
        let nodes = self.nodes.len();
        let many =
            || self.prober.samples().last().is_some_and(|last| last.holders == nodes).then_some(());
        wait::until("every node to take the address", MOVE_LIMIT, many).with_context(|| self.tell())
    }

    /// What the nodes have to say.
    fn tell(&self) -> String {
        self.nodes.iter().map(FleetNode::tell).collect()
    }
}

const MANIFEST: &str = "/etc/kubernetes/manifests/keepalived.yaml";
const ASIDE: &str = "/var/keepalived.yaml";

/// What `samples`, taken since `since`, say.
fn measure(since: Instant, samples: &[Sample]) -> Outage {
    let last_lost = samples.iter().rposition(|sample| !sample.answered);
    let until_answered = last_lost
        .and_then(|last| samples.get(last + 1))
        .map_or(Duration::ZERO, |sample| sample.at.duration_since(since));
    Outage {
        until_answered,
        lost: samples.iter().filter(|sample| !sample.answered).count(),
        doubly_held: longest(samples, |sample| sample.holders > 1),
        unheld: longest(samples, |sample| sample.holders == 0),
    }
}

/// The longest time for which all samples were so, up to the sample after them.
fn longest(samples: &[Sample], is_so: impl Fn(&Sample) -> bool) -> Duration {
    let mut longest = Duration::ZERO;
    let mut since: Option<Instant> = None;
    for sample in samples {
        let start = match (since, is_so(sample)) {
            (None, false) => continue,
            (None, true) => {
                since = Some(sample.at);
                continue;
            }
            (Some(start), is_so) => {
                if !is_so {
                    since = None;
                }
                start
            }
        };
        longest = longest.max(sample.at.duration_since(start));
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_read_off_samples() {
        let since = Instant::now();
        let sample = |(number, (answered, holders)): (u32, (bool, usize))| Sample {
            at: since + Duration::from_millis(100) * number,
            answered,
            holders,
        };
        let seen = [(true, 1), (false, 1), (false, 0), (false, 0), (true, 2), (true, 2), (true, 1)];
        let samples: Vec<Sample> = (0..).zip(seen).map(sample).collect();
        let outage = measure(since, &samples);
        assert_eq!(outage.until_answered, Duration::from_millis(400));
        assert_eq!(outage.lost, 3);
        assert_eq!(outage.unheld, Duration::from_millis(200));
        assert_eq!(outage.doubly_held, Duration::from_millis(200));
        assert_eq!(measure(since, &samples[..1]).until_answered, Duration::ZERO);
    }
}
