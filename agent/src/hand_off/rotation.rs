//! Whether the kubelet of a joined node takes up what is renewed beside it, by what others see of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use basalt_model::node::{KUBELET_PORT, Kubernetes, Node};
use tokio::time::Instant;

use super::api::Server;
use super::{certificate, files};
use crate::host::Host;
use crate::host::service::unix_seconds;
use crate::probe::ask::shown_certificate;

/// The kubelet shows a new serving certificate at the next handshake.
const SERVING_LIMIT_SECONDS: u64 = 30;
/// The kubelet looks at its client certificate every five minutes, and at once when it is refused.
const CLIENT_LIMIT_SECONDS: u64 = 420;
/// It renews its lease every 10 s.
const LEASE_AGE_SECONDS: u64 = 40;

/// Something that the kubelet has not taken notice of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    pub(crate) what: String,
    /// For how long this run of the kubelet has not.
    pub(crate) seconds: u64,
    /// How long it may take.
    pub(crate) limit_seconds: u64,
}

impl Stale {
    /// Whether it does not happen any more.
    pub(crate) fn is_stuck(&self) -> bool {
        self.seconds >= self.limit_seconds
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kubelet has not taken notice of {} for {} s", self.what, self.seconds)
    }
}

/// What is not taken notice of at this moment, with the seconds that it may take; and why the API server says nothing.
pub(crate) async fn unnoticed(
    host: &Host,
    node: &Node,
    kubernetes: &Kubernetes,
) -> (Vec<(&'static str, u64)>, Option<String>) {
    let mut all = Vec::new();
    if let Some(path) = files::serving_pair(node, kubernetes)
        && let Ok(pair) = certificate::load(host, &path)
    {
        let address = SocketAddr::new(node.kubelet.node_ip, KUBELET_PORT);
        // A port that does not answer is told by the kubelet's unit.
        if let Ok(Some(shown)) = shown_certificate(address).await
            && shown.as_ref() != pair.der
        {
            all.push(("its new serving certificate", SERVING_LIMIT_SECONDS));
        }
    }
    // An API server that knows this certificate, and has not heard of the kubelet: it uses another one.
    let asking = async { Server::of(host, node, kubernetes)?.lease().await };
    match asking.await {
        Ok(Some(renewed)) if unix_seconds().saturating_sub(renewed) > LEASE_AGE_SECONDS => {
            all.push(("an API server that answers to its certificate", CLIENT_LIMIT_SECONDS));
            (all, None)
        }
        Ok(_) => (all, None),
        Err(error) => (all, Some(format!("the API server: {error}"))),
    }
}

/// Since when this run of the kubelet takes no notice of what.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    kubelet: String,
    since: BTreeMap<&'static str, Instant>,
}

impl Watch {
    /// Notes what was seen now.
    pub(crate) fn note(
        &mut self,
        kubelet: &str,
        unnoticed: Vec<(&'static str, u64)>,
    ) -> Vec<Stale> {
        let now = Instant::now();
        if self.kubelet != kubelet {
            // Another run begins with everything as it is.
            self.kubelet = kubelet.to_owned();
            self.since.clear();
        }
        self.since.retain(|what, _| unnoticed.iter().any(|(seen, _)| seen == what));
        let stale = |(what, limit_seconds): (&'static str, u64)| {
            let since = *self.since.entry(what).or_insert(now);
            Stale { what: what.to_owned(), seconds: (now - since).as_secs(), limit_seconds }
        };
        unnoticed.into_iter().map(stale).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn time_counts_for_one_run_and_one_thing() {
        let mut watch = Watch::default();
        let seconds = |stale: Vec<Stale>| stale.iter().map(|it| it.seconds).collect::<Vec<_>>();
        assert_eq!(seconds(watch.note("1", vec![("a", 9)])), [0]);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(seconds(watch.note("1", vec![("a", 9), ("b", 9)])), [10, 0]);
        assert!(watch.note("1", vec![("a", 9)])[0].is_stuck());
        assert_eq!(seconds(watch.note("2", vec![("a", 9)])), [0]);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(seconds(watch.note("2", vec![])), [] as [u64; 0]);
        assert_eq!(seconds(watch.note("2", vec![("a", 9)])), [0]);
    }
}
