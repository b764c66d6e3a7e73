//! How a static pod is replaced: without the kubelet's pause, and never two runs at once. Pure.
//!
//! A manifest that is changed in place costs 11–15 s: the kubelet tells its worker of the new pod to wait for the old one, and
//! the worker looks again only 10 s later. It starts at once when it comes after the old one has *finished*. So a manifest
//! is removed, the end is confirmed ([`stopping`]), and only then the new one is written; that takes about 1 s, and 3 s at most.
//! Where the end could not be seen with certainty, the begin of the new one is watched ([`starting`]).
//!
//! Each run carries a UID of ours ([`uid`]). Of a UID that has finished the kubelet starts nothing before its next
//! housekeeping, so a UID is never used twice; and a UID of ours stays the same when the kubelet is updated or renames the node,
//! where its own would change and run the new pod beside the old one.

pub(crate) mod starting;
pub(crate) mod stopping;
pub(crate) mod uid;

use basalt_model::names::PodName;

/// The pod that holds virtual addresses.
const KEEPALIVED: &str = "keepalived";
/// The pod behind the virtual addresses.
const HAPROXY: &str = "haproxy";

/// Whether `pod` leaves before `other` is replaced and is written after it, when both are replaced: the virtual address
/// goes to another node once and comes back once, and is nowhere while this node has no load balancer.
///
/// A haproxy that is replaced alone needs no such thing: on its way out it has keepalived let the addresses go, and it
/// serves until they are gone.
pub(crate) fn leaves_before(pod: &PodName, other: &PodName) -> bool {
    pod.as_str() == KEEPALIVED && other.as_str() == HAPROXY
}

/// The order in which manifests are written, lower first. Whoever draws traffic to the node comes last.
pub(crate) fn rank(pod: &PodName) -> u8 {
    if pod.as_str() == KEEPALIVED { 1 } else { 0 }
}

#[cfg(test)]
mod tests {
    use basalt_model::node::Node;

    use super::*;

    /// The names above are those of the pods that are rendered.
    #[test]
    fn the_pods_are_known_by_their_names() {
        let node = include_str!("../../../static-pods/tests/lab/n1.json");
        let node = Node::from_json("n1.json", node).unwrap();
        let pods = basalt_static_pods::render(&node).unwrap();
        let names: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
        assert!(names.contains(&KEEPALIVED) && names.contains(&HAPROXY), "{names:?}");
    }
}
