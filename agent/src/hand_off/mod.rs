//! The hand-off: a standalone kubelet becomes a node of a cluster, and what it serves does not notice.
//!
//! The kubelet keeps its name, its root directory and its manifests; it gets a configuration and an identity, and is
//! started anew. The node then has to prove itself within a deadline: ready, with the same containers as before, shown
//! by the cluster, every probe good. Otherwise the files go and the kubelet stands by itself again.
//!
//! Reading order: [`files`] (what makes a joined kubelet), [`gates`] (what has to hold before), [`proof`] (what has to
//! hold afterwards), [`record`] (what is remembered), [`moves`] and [`decide`] (what to do next), all pure; then [`look`],
//! [`certificate`], [`rotation`] and [`api`], which see, [`act`], which does, [`run`], the loop around them, and [`report`].

mod act;
mod api;
mod certificate;
mod decide;
mod files;
mod gates;
mod look;
mod moves;
mod proof;
pub(crate) mod record;
pub(crate) mod report;
mod rotation;
mod run;
pub(crate) mod status;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use run::run;

use gates::Gate;
use look::Eyes;
use moves::Move;
use serde::Serialize;

use crate::host::Host;
use crate::reconcile::Survey;

/// What `run` would do now about the hand-off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Foreseen {
    /// The gates in front of a switch.
    pub(crate) gates: Vec<Gate>,
    /// The moves, in order.
    pub(crate) moves: Vec<Move>,
    /// What comes behind them.
    pub(crate) then: Option<String>,
}

/// Looks and decides, and changes nothing.
///
/// # Errors
/// When the record cannot be read.
pub(crate) async fn foresee(host: &Host, survey: &Survey) -> Result<Foreseen, String> {
    let Some(round) = run::survey(host, survey, &mut Eyes::default()).await? else {
        return Ok(Foreseen::default());
    };
    let node = survey.target().and_then(|desired| desired.node.kubernetes.as_ref());
    let is_switch = round.decision.moves.iter().any(|it| matches!(it, Move::WriteFile { .. }));
    let then = node.filter(|_| is_switch).map(|kubernetes| {
        format!(
            "prove within {} s: node ready, same containers, mirror pods, every probe good; otherwise undo all of it",
            kubernetes.deadline_seconds
        )
    });
    Ok(Foreseen { gates: round.seen.gates, moves: round.decision.moves, then })
}
