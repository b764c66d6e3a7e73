//! The virtual address on three nodes: how long a client is without it, whatever happens to its holder.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::fleet::Yard;
use e2e::peers::peer;
use e2e::virtual_address::{ADVERT, Event, Outage, Scene};

use super::cost::seconds;
use crate::build_image::agent;
use crate::output;
use crate::progress::Progress;

/// What is measured, with its name and the time that it should stay below; in this order, so that every event finds a
/// whole cluster.
const EVENTS: [(Event, &str, Option<Duration>); 5] = [
    (Event::GracefulStop, "graceful stop", Some(Duration::from_millis(1500))),
    (Event::BackendsDie, "servers of the holder's haproxy gone", Some(Duration::from_secs(10))),
    (Event::Split, "split network", None),
    (Event::Heal, "split network healed", None),
    (Event::SuddenDeath, "sudden death", Some(Duration::from_secs(5))),
];

/// Measures and prints: the worst of `runs`, since that is what somebody is woken for.
pub(super) fn run(runs: u16, progress: &Progress) -> Result<()> {
    let program = agent::build(progress)?;
    progress.step("making the images of the pods");
    let yard = Yard::of(std::env::current_exe()?, program.into_std_path_buf())
        .context("a program is missing: `cargo xtask peers` gets it")?;
    let haproxy = peer("haproxy").context("haproxy is missing: `cargo xtask peers` gets it")?;
    let mut seen: Vec<Vec<Outage>> = vec![Vec::new(); EVENTS.len()];
    for run in 1..=runs {
        progress.step(format!("booting three nodes (run {run} of {runs})"));
        let mut scene = Scene::start(&yard, &haproxy)?;
        for (index, (event, name, _)) in EVENTS.iter().enumerate() {
            progress.step(format!("{name} (run {run} of {runs})"));
            seen[index].push(scene.after(*event)?);
            if matches!(event, Event::GracefulStop | Event::BackendsDie) {
                scene.mend()?;
            }
        }
    }
    output::print(format_args!("virtual address, 3 nodes, advert every {}:\n", seconds(ADVERT)))?;
    for ((_, name, goal), outages) in EVENTS.iter().zip(&seen) {
        let worst = |of: fn(&Outage) -> Duration| outages.iter().map(of).max().unwrap_or_default();
        let goal = goal.map_or_else(String::new, |goal| format!(" (goal {})", seconds(goal)));
        output::print(format_args!(
            "{name}: answers after {}{goal}, held by two for {}, by nobody for {}\n",
            seconds(worst(|outage| outage.until_answered)),
            seconds(worst(|outage| outage.doubly_held)),
            seconds(worst(|outage| outage.unheld)),
        ))?;
    }
    Ok(())
}
