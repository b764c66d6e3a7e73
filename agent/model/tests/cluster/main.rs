//! `cluster.yaml` from text to nodes, and every way in which it can be wrong. Each row changes the lab cluster in one
//! place and names the findings that have to come of it.

mod kubernetes;
mod networks;
mod pods;
mod stages;
mod vault;

use basalt_model::cluster::Cluster;
use basalt_model::node::{InterfaceKind, Node};

const LAB: &str = include_str!("../../../../tests/clusters/lab/cluster.yaml");

fn lab() -> Cluster {
    let (cluster, report) = Cluster::parse("cluster.yaml", LAB.as_bytes())
        .unwrap_or_else(|refused| panic!("{refused}"));
    assert!(report.is_empty(), "{report}");
    cluster
}

/// Replaces `from`, which stands in the lab exactly once, and expects these findings; `L` stands for the line where
/// the replacement starts, `L+n` for the n-th line after it,
/// `<text>` for the line of that text.
#[track_caller]
fn check(from: &str, to: &str, expected: &[&str]) {
    assert_eq!(LAB.matches(from).count(), 1, "`{from}` stands in the lab once");
    let start = LAB.find(from).expect("it was just counted");
    let line = LAB[..start].matches('\n').count() + 1;
    let text = LAB.replace(from, to);
    let report = match Cluster::parse("f", text.as_bytes()) {
        Ok((_, report)) => report,
        Err(refused) => refused.0,
    };
    let found = report.sorted().iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut expected: Vec<String> = expected.iter().map(|row| (*row).to_owned()).collect();
    for row in &mut expected {
        for offset in 0..=12 {
            *row = row.replace(&format!("L+{offset}:"), &format!("{}:", line + offset));
        }
        *row = row.replace("L:", &format!("{line}:"));
        while let Some((start, end)) = row.find('<').zip(row.find('>')) {
            let at = text
                .find(&row[start + 1..end])
                .expect("the text between < and > stands in the file");
            let line = text[..at].matches('\n').count() + 1;
            row.replace_range(start..=end, &line.to_string());
        }
    }
    assert_eq!(found, expected, "\n{report}");
}

#[test]
fn lab_has_three_nodes() {
    let lab = lab();
    let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    let n3 = lab.node("n3").unwrap();
    assert_eq!(n3.kernel_arguments, ["mitigations=auto", "console=ttyS0", "scsi_mod.use_blk_mq=1"]);
    assert!(matches!(n3.network.interfaces[3].kind, InterfaceKind::Vlan { id: 100, .. }));
    let keepalived = n3.keepalived.as_ref().unwrap();
    assert_eq!(keepalived.instances[0].interface.as_str(), "bond0");
    assert_eq!(keepalived.instances[0].source.to_string(), "192.0.2.13");
    assert_eq!(keepalived.instances[0].peers.len(), 2);
    assert_eq!(keepalived.instances[1].virtual_addresses[0].to_string(), "2001:db8:2::10/64");
    let frontends = &n3.haproxy.as_ref().unwrap().frontends;
    assert_eq!(
        (frontends[0].name.as_str(), frontends[1].name.as_str()),
        ("kubernetes-api", "dashboard")
    );
    let certificate = &n3.vault.as_ref().unwrap().certificates[0];
    assert_eq!(certificate.subject_alternative_names.len(), 2);
    assert_eq!(certificate.directory.as_str(), "/var/lib/basalt/certificates/dashboard");
    assert_eq!(n3.kubelet.node_ip.to_string(), "192.0.2.13");
    let butane: Vec<String> = lab.butane[&n3.name].iter().map(|file| file.to_string()).collect();
    assert_eq!(butane, ["butane/all.bu", "butane/n3.bu"]);
}

#[test]
fn node_json_comes_back() {
    for node in lab().nodes {
        assert_eq!(Node::from_json("node.json", &node.to_json()).unwrap(), node);
    }
}

#[test]
fn node_json_errors_have_places() {
    let text = lab().nodes[0].to_json();
    let broken = [
        (
            text.replacen("\"name\": \"n1\"", "\"nmae\": \"n1\"", 1),
            "unknown field `nmae`; did you mean `name`?",
        ),
        (
            text.replacen("192.0.2.11/24", "192.0.2.11/99", 1),
            "`192.0.2.11/99` is not a CIDR address",
        ),
        (text.replacen("\"schema\": 1", "\"schema\": 7", 1), "`schema` is 7, this agent reads 1"),
        (
            text.replacen("/etc/kubernetes/manifests", "/usr", 1),
            "`static_pod_directory` is `/usr`, not below `/etc/kubernetes/`",
        ),
        (text[..text.len() / 2].to_owned(), "EOF while parsing"),
    ];
    for (text, message) in broken {
        let error = Node::from_json("/etc/basalt/node.json", &text).unwrap_err();
        assert!(error.message.contains(message), "{error}");
        assert!(error.line > 1 && error.line <= text.lines().count(), "{error}");
        assert!(
            error.to_string().starts_with(&format!("/etc/basalt/node.json:{}:", error.line)),
            "{error}"
        );
    }
}

#[test]
fn structure() {
    check(
        "dns_servers: [192.0.2.2,",
        "dns_server: [192.0.2.2,",
        &["f:L:1: dns_server: unknown field\n  hint: did you mean `dns_servers`?"],
    );
    check("generation: 1\n", "", &["f:<name: lab>:1: `generation` is missing"]);
    check(
        "generation: 1\n",
        "generation: 0\n",
        &["f:L:13: generation: 0 is not between 1 and 4294967295"],
    );
    check(
        "mode: active-backup",
        "mode: active_backup",
        &[
            "f:L:17: nodes[1].interfaces[2].bond.mode: `active_backup` is none of `active-backup`, `802.3ad` and `balance-xor`\n  hint: did you mean `active-backup`?",
        ],
    );
    check(
        "mac: \"52:54:00:00:02:01\"",
        "mac: \"52:54:00:00:02\"",
        &[
            "f:L:14: nodes[0].interfaces[0].mac: `52:54:00:00:02` is not an Ethernet address of one network card like `52:54:00:12:34:56`, in lower case",
        ],
    );
    let wanted = "a network interface name (at most 15 of a-z, A-Z, 0-9, `.`, `_` and `-`, no number, not `lo`)";
    for name in ["lo", "*", "a;b", "%i", "#x"] {
        let place = "f:L:15: nodes[0].interfaces[0].name";
        check(
            "name: eth0\n        mac: \"52:54:00:00:02:01\"",
            &format!("name: \"{name}\"\n        mac: \"52:54:00:00:02:01\""),
            &[&format!("{place}: `{name}` is not {wanted}")],
        );
    }
    check(
        "generation: 1\n",
        "generation: 1\ngeneration: 2\n",
        &["f:L+1:1: `generation` is already set in line <generation: 1>"],
    );
}

#[test]
fn roles() {
    check(
        "  controller: {}",
        "  controller: {}\n  storage: {}",
        &[
            "f:L+1:12: roles.storage: no node has the role `storage`\n  hint: give it to a node or remove it",
        ],
    );
    check(
        "- name: n3\n    role: controller",
        "- name: n3\n    role: controler",
        &[
            "f:L+1:11: nodes[2].role: there is no role `controler`\n  hint: did you mean `controller`?",
        ],
    );
}

/// What can be used and is likely not meant.
#[test]
fn warnings() {
    check(
        "generation: 1\n",
        "generation: 010\n",
        &[
            "f:L:13: warning: generation: `010` is octal, and 8 in decimal\n  hint: leave out the leading zero, or write `0o` if octal is meant",
        ],
    );
    let (start, end) =
        (LAB.find("keepalived:\n").unwrap(), LAB.find("vault:\n  addresses").unwrap());
    let unmoved =
        "\n  hint: add the section `keepalived`, unless something outside the cluster does it";
    check(
        &LAB[start..end],
        "",
        &[
            &format!("f:<host: api.lab>:23: warning: api.virtual_addresses[0]: no keepalived instance moves `192.0.2.10`{unmoved}"),
            &format!("f:<host: api.lab>:35: warning: api.virtual_addresses[1]: no keepalived instance moves `2001:db8:2::10`{unmoved}"),
        ]
        .map(|row| row.replace("<host: api.lab>", "<virtual_addresses: [192.0.2.10, >"))
        .each_ref()
        .map(String::as_str),
    );
}

mod never_panics {
    use super::*;
    use proptest::prelude::*;

    /// Words that stand somewhere in the lab, to be put where they do not belong.
    fn words() -> Vec<&'static str> {
        LAB.split_whitespace().collect()
    }

    proptest! {
        // Fuzzed inputs are cheap to find again; a failure becomes a row of a table above.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn on_lines_left_out(dropped in prop::collection::vec(0..LAB.lines().count(), 1..6)) {
            let kept = LAB.lines().enumerate().filter(|(index, _)| !dropped.contains(index));
            let text: Vec<&str> = kept.map(|(_, line)| line).collect();
            let _ = Cluster::parse("f", text.join("\n").as_bytes());
        }

        #[test]
        fn on_words_exchanged(pairs in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4)) {
            let words = words();
            let mut text = LAB.to_owned();
            for (from, to) in pairs {
                text = text.replacen(words[from.index(words.len())], words[to.index(words.len())], 1);
            }
            let _ = Cluster::parse("f", text.as_bytes());
        }

        #[test]
        fn on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Cluster::parse("f", &bytes);
        }
    }
}
