//! What runs beside the loop: parts that wait for others (a Vault, consumers, a cluster), so that no round waits for them.
//!
//! Each part is one task on the loop's own thread: `async fn run(host, accepted, reports, …)`. It works on the node that
//! [`Accepted`] holds, and says how things stand by sending its own report whole, when something about it has changed and
//! no sooner: each one starts a round. Everything a part does is safe to be cut off at any moment, as by a power cut,
//! since that is how it ends.

use std::sync::Arc;

use basalt_model::node::Node;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::certificates;
use crate::host::Host;

/// The node that the loop obeys; `None` until there is one.
pub(crate) type Accepted = watch::Receiver<Option<Arc<Node>>>;

/// What the parts say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Reports {
    pub(crate) certificates: certificates::Report,
}

impl Reports {
    /// What keeps the node from being as wanted, one line each.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.certificates.problems()
    }
}

/// The parts at work. They end when it is dropped.
pub(crate) struct Background {
    accepted: watch::Sender<Option<Arc<Node>>>,
    reports: watch::Receiver<Reports>,
    _parts: JoinSet<()>,
}

impl Background {
    /// Starts every part; to be called within a `LocalSet`.
    pub(crate) fn start(host: &Host) -> Background {
        let (accepted, accepted_by_parts) = watch::channel(None);
        let (sender, reports) = watch::channel(Reports::default());
        let mut parts = JoinSet::new();
        parts.spawn_local({
            let said = Said { all: sender, put: |all: &mut Reports, one| all.certificates = one };
            certificates::run(host.clone(), accepted_by_parts, said)
        });
        parts.spawn_local(crate::bundle::run(host.clone(), accepted.subscribe()));
        Background { accepted, reports, _parts: parts }
    }

    /// Tells the parts which node is obeyed.
    pub(crate) fn obey(&self, node: Option<&Node>) {
        self.accepted.send_if_modified(|accepted| {
            let is_new = accepted.as_deref() != node;
            if is_new {
                *accepted = node.map(|node| Arc::new(node.clone()));
            }
            is_new
        });
    }

    /// What the parts said last.
    pub(crate) fn reports(&mut self) -> Reports {
        self.reports.borrow_and_update().clone()
    }

    /// Waits until a part says something new.
    pub(crate) async fn changed(&mut self) {
        if self.reports.changed().await.is_err() {
            // Every part has ended, which none does before the loop.
            std::future::pending().await
        }
    }
}

/// Where one part leaves its report.
#[derive(Clone)]
pub(crate) struct Said<T> {
    all: watch::Sender<Reports>,
    put: fn(&mut Reports, T),
}

impl<T> Said<T> {
    /// Says how things stand with the part. Nothing happens when nothing has changed.
    pub(crate) fn say(&self, report: T) {
        self.all.send_if_modified(|all| {
            let before = all.clone();
            (self.put)(all, report);
            *all != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node_json, scratch_host};

    #[test]
    fn parts_hear_of_a_node_once() {
        let (_keep, host) = scratch_host();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let background = Background::start(&host);
            let mut accepted = background.accepted.subscribe();
            let node = |generation| Node::from_json("", &node_json(generation, "lab")).unwrap();
            for (node, is_news) in [
                (None, false),
                (Some(node(1)), true),
                (Some(node(1)), false),
                (Some(node(2)), true),
                (None, true),
            ] {
                accepted.mark_unchanged();
                background.obey(node.as_ref());
                assert_eq!(accepted.has_changed().unwrap(), is_news);
                assert_eq!(accepted.borrow().as_deref(), node.as_ref());
            }
        });
    }

    #[test]
    fn what_is_said_twice_starts_no_round() {
        let (all, reports) = watch::channel(Reports::default());
        let said = Said { all, put: |all, one| all.certificates = one };
        said.say(certificates::Report::default());
        assert!(!reports.has_changed().unwrap());
    }
}
