//! The levels above the process: which questions a node's pods and addresses call for. Pure.
//!
//! What each of them proves:
//! - A pod's own *readiness* probe, asked by the agent as the kubelet asks it: haproxy answers and each of its backends has
//!   a living server; keepalived answers a signal and no instance is in fault; vault-agent serves.
//! - A *TLS handshake* with each frontend of haproxy that ends TLS, where the address is this node's own: it serves with
//!   the certificate that lies on the disk.
//! - A *file* for each template of vault-agent: it has rendered it.
//! - The *outcome*: each virtual address answers at each port that haproxy serves on it, as a client sees it. Asked from
//!   here, this proves the way of a client only while another node holds the address. While this node holds it, the
//!   connection never leaves the machine; so the haproxy of each other node, which looks at the address all the time, is
//!   asked whether it reaches it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use basalt_model::node::{Certificate, Frontend, Node};
use basalt_static_pods::control;
use basalt_static_pods::services::{Sign, services};

use super::Level;
use super::wanted::{Action, PodWanted};

/// Where the kubelet says that it is alive (`healthzPort`).
const KUBELET_HEALTHZ: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10248);
/// A readiness probe may wait for long; a look at the node does not.
const MOST_SECONDS: u64 = 10;
/// The highest status that the kubelet takes for "ready".
const READY: u16 = 399;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) level: Level,
    /// The pod, or the virtual address.
    pub(crate) subject: String,
    pub(crate) name: String,
    pub(crate) how: How,
    /// Who is asked besides, when this node holds the address and sees that it works.
    pub(crate) outside: Option<Outside>,
}

/// The other nodes, asked whether they reach an address too. Good is one that does; when none of them says anything, what
/// this node sees itself has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outside {
    /// The address of this node that the others answer.
    pub(crate) source: IpAddr,
    /// Where the others are asked.
    pub(crate) witnesses: Vec<SocketAddr>,
    pub(crate) path: String,
}

/// How it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `GET`; good is any status from 200 up to the highest: 399 for the kubelet; 499 where the answer itself proves that
    /// somebody serves.
    Http { address: SocketAddr, path: String, limit_seconds: u64, highest_status: u16 },
    /// A connection that is not closed at once.
    Tcp { address: SocketAddr },
    /// A TLS handshake, to its end.
    Tls {
        address: SocketAddr,
        /// The certificate that has to be shown: the first one in this file of the host.
        certificate: Option<String>,
    },
    /// A command in a container; good is exit status 0.
    Exec { pod: String, container: String, command: Vec<String>, limit_seconds: u64 },
    /// A file of the host that holds something.
    File { path: String },
}

/// The questions that the pods of a set call for. `own` are the addresses that this node has now.
pub(crate) fn questions(node: &Node, pods: &[PodWanted], own: &BTreeSet<IpAddr>) -> Vec<Question> {
    let mut questions = vec![Question {
        level: Level::Process,
        subject: "kubelet".to_owned(),
        name: "healthz".to_owned(),
        how: How::Http {
            address: KUBELET_HEALTHZ,
            path: "/healthz".to_owned(),
            limit_seconds: 2,
            highest_status: READY,
        },
        outside: None,
    }];
    questions.extend(pods.iter().flat_map(|pod| readiness(node, pod)));
    questions.extend(tls(node, own));
    questions.extend(rendered(node));
    questions.extend(outcome(node, own));
    questions
}

fn readiness(node: &Node, pod: &PodWanted) -> Vec<Question> {
    let mut questions = Vec::new();
    for container in &pod.containers {
        let Some(readiness) = &container.readiness else { continue };
        let limit_seconds = readiness.timeout_seconds.min(MOST_SECONDS);
        // Without the host's network, the address of a pod without a name of its own is the runtime's secret.
        let address = |host: &Option<String>, port: u16| match host {
            Some(host) => host.parse().ok().map(|ip| SocketAddr::new(ip, port)),
            None => pod.uses_host_network.then(|| SocketAddr::new(node.kubelet.node_ip, port)),
        };
        let how = match &readiness.action {
            Action::Exec { command } => Some(How::Exec {
                pod: pod.name.clone(),
                container: container.name.clone(),
                command: command.clone(),
                limit_seconds,
            }),
            Action::Http { host, port, path, tls: false } => address(host, *port).map(|address| {
                How::Http { address, path: path.clone(), limit_seconds, highest_status: READY }
            }),
            Action::Http { host, port, tls: true, .. } => {
                address(host, *port).map(|address| How::Tls { address, certificate: None })
            }
            Action::Tcp { host, port } => address(host, *port).map(|address| How::Tcp { address }),
            Action::Other => None,
        };
        let name = match pod.containers.len() {
            1 => "readiness".to_owned(),
            _ => format!("readiness of {}", container.name),
        };
        let subject = pod.name.clone();
        questions.extend(how.map(|how| Question {
            level: Level::Function,
            subject,
            name,
            how,
            outside: None,
        }));
    }
    questions
}

/// Handshakes with the frontends that end TLS, on addresses that are this node's own.
fn tls(node: &Node, own: &BTreeSet<IpAddr>) -> Vec<Question> {
    let mut questions = Vec::new();
    for (frontend, certificate) in frontends_with_tls(node) {
        for bind in &frontend.binds {
            let address = match bind.0.ip() {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
                // A virtual address that is elsewhere; the outcome asks there.
                address if !own.contains(&address) => continue,
                address => address,
            };
            let address = SocketAddr::new(address, bind.0.port());
            questions.push(Question {
                level: Level::Function,
                subject: "haproxy".to_owned(),
                name: format!("TLS at {address}"),
                how: How::Tls {
                    address,
                    certificate: Some(control::haproxy_certificate_file(&certificate.directory)),
                },
                outside: None,
            });
        }
    }
    questions
}

fn frontends_with_tls(node: &Node) -> impl Iterator<Item = (&Frontend, &Certificate)> {
    let certificates = node.vault.as_ref().map_or(&[][..], |vault| &vault.certificates);
    let frontends = node.haproxy.iter().flat_map(|haproxy| &haproxy.frontends);
    // One that waits for the header of a proxy shakes no hands with us.
    frontends.filter(|frontend| !frontend.accept_proxy).filter_map(|frontend| {
        let name = frontend.certificate.as_ref()?;
        Some((frontend, certificates.iter().find(|certificate| certificate.name == *name)?))
    })
}

fn rendered(node: &Node) -> impl Iterator<Item = Question> {
    let templates = node.vault_agent.iter().flat_map(|agent| &agent.templates);
    templates.map(|template| Question {
        level: Level::Function,
        subject: "vault-agent".to_owned(),
        name: format!("template {}", template.name),
        how: How::File { path: template.destination.to_string() },
        outside: None,
    })
}

/// Every virtual address of this node's VRRP instances, at each port that haproxy serves on it.
fn outcome<'a>(
    node: &'a Node,
    own: &'a BTreeSet<IpAddr>,
) -> impl Iterator<Item = Question> + use<'a> {
    let port = node.haproxy.as_ref().map_or(0, |haproxy| haproxy.witness_port);
    services(node).into_iter().map(move |service| {
        let address = service.address;
        let how = match service.sign() {
            Sign::Connection | Sign::ProxiedConnection => How::Tcp { address },
            Sign::Handshake => How::Tls { address, certificate: None },
            Sign::Answer { path } => {
                How::Http { address, path: path.to_owned(), limit_seconds: 3, highest_status: 499 }
            }
        };
        let outside = own.contains(&address.ip()).then(|| Outside {
            source: service.instance.source,
            witnesses: (service.instance.peers.iter())
                .map(|peer| SocketAddr::new(*peer, port))
                .collect(),
            path: control::haproxy_witness_path(address),
        });
        let (subject, name) = (address.ip().to_string(), format!("port {}", address.port()));
        Question { level: Level::Outcome, subject, name, how, outside }
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    /// The lab's first node, which has one of each.
    #[test]
    fn the_lab() {
        let text = include_str!("../../../static-pods/tests/lab/n1.json");
        let node = Node::from_json("n1.json", text).unwrap();
        let pods: Vec<PodWanted> = (basalt_static_pods::render(&node).unwrap().iter())
            .map(|pod| PodWanted::read(&pod.manifest).unwrap())
            .collect();
        let lines = |own: &[&str]| -> String {
            let own = own.iter().map(|address| address.parse().unwrap()).collect();
            fn text(how: How) -> String {
                match how {
                    How::Http { address, path, .. } => format!("GET http://{address}{path}"),
                    How::Tcp { address } => format!("connect to {address}"),
                    How::Tls { address, certificate: None } => format!("handshake with {address}"),
                    How::Tls { address, certificate: Some(path) } => {
                        format!("handshake with {address}, {path}")
                    }
                    How::Exec { pod, container, .. } => format!("exec in {pod}/{container}"),
                    How::File { path } => format!("file {path}"),
                }
            }
            let mut lines = String::new();
            for question in questions(&node, &pods, &own) {
                let mut how = text(question.how);
                if let Some(Outside { source, witnesses, path }) = question.outside {
                    let witnesses = witnesses.iter().map(SocketAddr::to_string);
                    let witnesses = witnesses.collect::<Vec<_>>().join(", ");
                    how += &format!("; {source} asks {witnesses} for {path}");
                }
                let Question { level, subject, name, .. } = question;
                lines.push_str(&format!("{level} {subject} ({name}): {how}\n"));
            }
            lines
        };
        expect![[r#"
            process kubelet (healthz): GET http://127.0.0.1:10248/healthz
            function haproxy (readiness): GET http://127.0.0.1:9444/readyz
            function keepalived (readiness): exec in keepalived/keepalived
            function vault-agent (readiness): GET http://127.0.0.1:9445/agent/v1/metrics
            function haproxy (TLS at 127.0.0.1:443): handshake with 127.0.0.1:443, /var/lib/basalt/certificates/ingress/combined.pem
            function haproxy (TLS at [::1]:443): handshake with [::1]:443, /var/lib/basalt/certificates/ingress/combined.pem
            function vault-agent (template registry-password): file /var/lib/registry/secrets/password
            outcome 192.0.2.10 (port 6443): handshake with 192.0.2.10:6443
            outcome 192.0.2.10 (port 443): handshake with 192.0.2.10:443
            outcome 192.0.2.10 (port 5000): connect to 192.0.2.10:5000
            outcome 2001:db8:2::10 (port 6443): handshake with [2001:db8:2::10]:6443
            outcome 2001:db8:2::10 (port 443): handshake with [2001:db8:2::10]:443
        "#]].assert_eq(&lines(&["192.0.2.11"]));
        let holding = lines(&["192.0.2.10", "192.0.2.11"]);
        let outcome = |line: &&str| line.starts_with("outcome 192.0.2.10 (port 443)");
        expect![[r#"outcome 192.0.2.10 (port 443): handshake with 192.0.2.10:443; 192.0.2.11 asks 192.0.2.12:9446, 192.0.2.13:9446 for /192.0.2.10/443"#]]
            .assert_eq(holding.lines().find(outcome).unwrap());
        assert!(!holding.contains("asks [2001:db8:2::12]"), "another node holds it: {holding}");
    }
}
