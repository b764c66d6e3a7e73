//! Options of the network. Pods share the host's: a standalone node has no network plugin.

use std::net::IpAddr;

use serde_json::json;

use super::super::draft::Draft;
use super::super::notes::At;
use super::super::values::ports;
use super::Outcome::{self, Broken, Carried, Changed, Invalid, Lost};
use super::apply::{FIXED_ADDRESS, carried, dns};
use crate::lint::names;

/// What podman's own networks are called by. A container in one of them reaches others and is reached by its published
/// ports.
const PRIVATE: [&str; 8] =
    ["", "bridge", "default", "podman", "private", "slirp4netns", "pasta", "nat"];

pub(super) fn network(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    let (kind, options) = value.split_once(':').unwrap_or((value, ""));
    let is_fixed = options.split(',').any(|option| {
        ["ip", "ip6", "mac"].contains(&option.split_once('=').map_or("", |(name, _)| name))
    });
    match kind {
        "host" => {
            draft.shared.host_network = Some(at.clone());
            carried("hostNetwork")
        }
        _ if is_fixed => Lost(FIXED_ADDRESS.0.to_owned(), FIXED_ADDRESS.1),
        kind if PRIVATE.contains(&kind) => {
            Carried("it is said of the pod what its network is".to_owned())
        }
        "none" => Broken(
            "the container had no network, the pod has the host's".to_owned(),
            "check that nobody else may use what the program opens",
        ),
        "container" => Changed(
            "both are in the host's network, so each reaches the other at `localhost`".to_owned(),
            "put both into one pod where they have to start and stop together",
        ),
        "ns" => Lost(
            "the pod has the host's network and no other namespace".to_owned(),
            "use addresses and devices of the host",
        ),
        _ => Lost(
            "networks that people made do not exist for pods: the pod has the host's network, \
             and no name server knows other containers"
                .to_owned(),
            "reach others at `localhost` or the node's address, and check that no two programs open one port",
        ),
    }
}

pub(super) fn publish(draft: &mut Draft, value: &str, at: &At) -> Outcome {
    match ports(value) {
        Ok(ports) => {
            draft.shared.ports.extend(ports.into_iter().map(|port| (port, at.clone())));
            // What becomes of each is said when the pod is made.
            carried("ports")
        }
        Err(error) => Invalid(error.to_owned()),
    }
}

pub(super) fn publish_all(_: &mut Draft, _: &str, _: &At) -> Outcome {
    Lost(
        "podman picks ports of the host, a pod in the host's network has the program's own"
            .to_owned(),
        "use the ports that the program opens",
    )
}

pub(super) fn add_host(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let split = value.split_once('=').or_else(|| value.split_once(':'));
    let Some((names, address)) = split else { return Invalid("it is not `NAME:IP`".to_owned()) };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    // In the host's network the host is at hand.
    let address = if address == "host-gateway" { "127.0.0.1" } else { address };
    if address.parse::<IpAddr>().is_err() {
        return Invalid("what stands behind the name is no address".to_owned());
    }
    for name in names.split(';') {
        if names::dns_subdomain(name).is_some() {
            return Lost(
                format!("the kubelet writes no name like `{name}` into `/etc/hosts`"),
                "use lower case, digits, `-` and `.`",
            );
        }
        draft.shared.aliases.push((name.to_owned(), address.to_owned()));
    }
    carried("hostAliases")
}

pub(super) fn alias(_: &mut Draft, _: &str, _: &At) -> Outcome {
    Lost(
        "no name server knows the pod".to_owned(),
        "give those who use the name `hostAliases` with 127.0.0.1, or a name in the DNS",
    )
}

pub(super) fn link(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    let name = value.rsplit(':').next().unwrap_or(value);
    if names::dns_subdomain(name).is_some() {
        return Lost("the name cannot stand in `/etc/hosts`".to_owned(), "use another name");
    }
    draft.shared.aliases.push((name.to_owned(), "127.0.0.1".to_owned()));
    Changed(
        "as `hostAliases` with 127.0.0.1, since both are in the host's network".to_owned(),
        "check that the other runs on the same node",
    )
}

pub(super) fn dns_server(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "none" => Lost("the kubelet writes `/etc/resolv.conf`".to_owned(), "mount a file over it"),
        value if value.parse::<IpAddr>().is_err() => Invalid("it is no address".to_owned()),
        value => dns(draft, "nameservers", json!(value)),
    }
}

pub(super) fn dns_search(draft: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "." => Lost("search domains are the node's".to_owned(), "end names with a dot"),
        value => dns(draft, "searches", json!(value)),
    }
}

pub(super) fn hostname(_: &mut Draft, value: &str, _: &At) -> Outcome {
    match value {
        "%H" | "" => Carried("the host's name, as in its network".to_owned()),
        _ => Lost(
            "a pod in the host's network has the host's name".to_owned(),
            "tell the program its name by an option or a variable",
        ),
    }
}
