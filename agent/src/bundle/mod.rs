//! The operator bundle: takes an artefact and a cluster, gives the cluster, changed.
//!
//! Agents of some nodes apply it, one at a time. Reading order: [`decide`] (what a round is about, from what is written
//! down in the [`inventory`]), [`applier`] (a round: the [`lease`], the decision, what is done about it), [`artefact`] (what
//! there is to apply), [`rehearse`] and [`preflight`] (what keeps it from being applied), [`apply`] (waves, and each object
//! in them), [`waves`] (what is waited for between them), [`keep`] (repairing, pruning, giving away), [`contested`] and
//! [`fields`] (what is somebody else's), then [`report`], [`show`], [`status`] and [`numbers`] (saying how it went). [`api`] and
//! [`client`] are the only way out, by the [`kubeconfig`].

mod api;
mod applier;
mod apply;
mod artefact;
mod client;
pub(crate) mod commands;
mod contested;
pub(crate) mod decide;
mod fields;
mod inventory;
mod keep;
mod kubeconfig;
pub(crate) mod lease;
mod numbers;
mod object;
mod preflight;
mod rehearse;
mod report;
mod show;
pub(crate) mod status;
mod time;
mod trouble;
mod waves;

use tokio::time::{Instant, sleep_until};

use basalt_model::node::Node;

use crate::host::Host;
use crate::reconcile::background::Accepted;
use crate::settings;
use applier::Applier;

/// Keeps the cluster's bundle, for as long as the service runs.
pub(crate) async fn run(host: Host, mut accepted: Accepted) {
    loop {
        let node = accepted.borrow_and_update().clone();
        let Some(node) = node else {
            if accepted.changed().await.is_err() {
                return;
            }
            continue;
        };
        let mut applier = Applier::new(&host, &node, settings::load(&host).settings.bundle);
        loop {
            let next = Instant::now() + applier.round(&node).await;
            // Another node.json is another round at once; what is remembered of the last ones stays.
            if !wait(&mut applier, &mut accepted, next).await {
                return;
            }
            match accepted.borrow_and_update().clone() {
                Some(now) if now == node => {}
                Some(now) if is_same_work(&now, &node) => {}
                _ => break,
            }
        }
        if accepted.borrow().as_ref().is_none_or(|now| now.bundle.is_none()) {
            applier.leave().await;
        }
    }
}

/// Waits for the next round, and looks after the Lease meanwhile. Gives false when the service ends.
async fn wait(applier: &mut Applier, accepted: &mut Accepted, next: Instant) -> bool {
    loop {
        let tend = Instant::now() + applier.lease_interval();
        tokio::select! {
            changed = accepted.changed() => return changed.is_ok(),
            () = sleep_until(next.min(tend)) => {}
        }
        if Instant::now() >= next || applier.tend().await {
            return true;
        }
    }
}

/// Whether one node.json asks for what another does: the same bundle, at the same API servers, by the same trust.
fn is_same_work(one: &Node, other: &Node) -> bool {
    let of = |node: &Node| {
        let certificate = node.applier_certificate().cloned();
        (
            node.name.clone(),
            node.bundle.clone(),
            node.kubernetes.clone(),
            node.trust_anchors.clone(),
            certificate,
        )
    };
    of(one) == of(other)
}
