//! The configs of nodes, with people's own files merged in.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use basalt_butane::{Addition, Extra, NodeConfig, compile_node};
use basalt_model::cluster::Cluster;
use basalt_model::node::Node;
use basalt_model::report::Report;
use camino::Utf8PathBuf;

const AGENTS: [&str; 2] = ["/etc/kubernetes/manifests", "/etc/basalt/pods"];

fn lab() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/clusters/lab")
}

fn node(name: &str) -> Node {
    let bytes = std::fs::read(lab().join("cluster.yaml")).unwrap();
    let (cluster, _) = Cluster::parse("cluster.yaml", &bytes).unwrap();
    cluster.node(name).unwrap().clone()
}

fn extra(text: &str) -> Extra {
    let text = format!("variant: fcos\nversion: 1.4.0\n{text}");
    Extra { file: "extra.bu".to_owned(), bytes: text.into_bytes() }
}

/// The config of n1 with additions, and all findings.
fn compiled(extras: &[&str]) -> (Option<NodeConfig>, Report) {
    let mut report = Report::new("extra.bu");
    let mut additions = Vec::new();
    for text in extras {
        let (addition, findings) = Addition::read(&extra(text), Some(&lab()), &AGENTS);
        report.absorb(findings);
        additions.extend(addition);
    }
    if report.has_errors() {
        return (None, report);
    }
    let (config, findings) = compile_node(&node("n1"), &additions.iter().collect::<Vec<_>>());
    report.absorb(findings);
    (config, report)
}

#[track_caller]
fn check(extras: &[&str], expected: &str) -> Option<NodeConfig> {
    let (config, report) = compiled(extras);
    assert_eq!(report.to_string(), expected);
    assert_eq!(config.is_none(), report.has_errors());
    config
}

#[test]
fn every_node_of_the_lab_compiles_without_a_finding() {
    for name in ["n1", "n2", "n3"] {
        let (config, report) = compile_node(&node(name), &[]);
        assert!(report.is_empty(), "{report}");
        let config = config.unwrap();
        let (typed, unused) = ignition_config::Config::parse_str(&config.ignition).unwrap();
        assert!(unused.is_empty());
        let ignition_config::Config::V3_3(typed) = typed else { panic!("spec 3.3.0 is wanted") };
        let files = typed.storage.unwrap().files.unwrap();
        assert!(files.iter().any(|file| file.path == basalt_model::node::NODE_JSON_PATH));
    }
}

#[test]
fn additions_are_merged_in() {
    let config = check(
        &[
            "storage: {files: [{path: /etc/own, contents: {inline: own}}]}",
            "passwd: {users: [{name: core, groups: [wheel], ssh_authorized_keys: [ssh-ed25519 AAAA]}]}",
            "systemd: {units: [{name: kubelet.service, dropins: [{name: own.conf, contents: '[Service]'}]}]}",
            "kernel_arguments: {should_exist: [quiet], should_not_exist: [splash]}",
        ],
        "",
    );
    let ignition = config.unwrap().ignition;
    for part in ["/etc/own", "\"wheel\"", "ssh-ed25519 AAAA", "own.conf", "\"quiet\"", "splash"] {
        assert!(ignition.contains(part), "{part}");
    }
}

#[test]
fn what_basalt_writes_is_not_changed() {
    const HINT: &str = "\n  hint: set it in the cluster's file, or use another path or a drop-in";
    let finding = |place: &str, path: &str| {
        format!(
            "extra.bu:{place}: {path}: Basalt writes this; a file beside the cluster's cannot change it{HINT}"
        )
    };
    check(
        &["storage: {files: [{path: /etc/hostname, contents: {inline: other}}]}"],
        &finding("3:60", "$.storage.files.0.contents.inline"),
    );
    check(
        &["storage: {files: [{path: /etc/hostname, append: [{inline: other}]}]}"],
        &finding("3:49", "$.storage.files.0.append"),
    );
    check(
        &["storage: {links: [{path: /etc/hostname, target: other}]}"],
        &finding("3:19", "$.storage.links.0"),
    );
    check(
        &["systemd: {units: [{name: basalt-agent.service, mask: true}]}"],
        &finding("3:54", "$.systemd.units.0.mask"),
    );
    check(
        &["systemd: {units: [{name: zincati.service, mask: false}]}"],
        &finding("3:49", "$.systemd.units.0.mask"),
    );
    check(
        &["ignition: {config: {replace: {source: 'https://example.com'}}}"],
        "extra.bu:3:30: $.ignition.config.replace: it would take the place of everything that Basalt writes\n  hint: use `merge`",
    );
    check(&["storage: {links: [{path: /etc/basalt, target: /tmp}]}"], &expected_below_link());
}

/// Basalt's own files are below the link: the finding is at them, and names the link.
fn expected_below_link() -> String {
    let (_, report) = compiled(&["storage: {links: [{path: /etc/basalt, target: /tmp}]}"]);
    let text = report.to_string();
    assert!(text.contains("below `/etc/basalt`, which is a link"), "{text}");
    text
}

#[test]
fn extras_do_not_change_each_other() {
    let file = |mode: &str| format!("storage: {{files: [{{path: /etc/own, mode: {mode}}}]}}");
    check(
        &[&file("0644"), &file("0600")],
        "extra.bu:3:42: $.storage.files.0.mode: extra.bu:3:42 says otherwise; a file beside the cluster's cannot change it\n  hint: set it in the cluster's file, or use another path or a drop-in",
    );
    check(&[&file("0644"), &file("0644")], "");
}

#[test]
fn local_files_are_below_the_folder_of_the_cluster() {
    let config =
        check(&["storage: {files: [{path: /etc/own, contents: {local: files/crictl.yaml}}]}"], "");
    assert!(config.is_some());
    check(
        &["storage: {files: [{path: /etc/own, contents: {local: ../lab.rs}}]}"],
        "extra.bu:3:54: $.storage.files.0.contents.local: `../lab.rs` leads out of the files directory\n  hint: put a copy of it below the files directory",
    );
}

#[test]
fn unknown_keys_are_errors() {
    check(
        &["storage: {files: [{path: /etc/x, contnts: {inline: x}}]}"],
        "extra.bu:3:34: $.storage.files.0.contnts: a file has no `contnts`\n  hint: did you mean `contents`?",
    );
}

#[test]
fn folders_of_the_agent_are_warned_of() {
    const HINT: &str = "\n  hint: put it elsewhere, or declare the pod in the cluster's file";
    let finding = |folder: &str, place: &str, path: &str| {
        format!(
            "extra.bu:{place}: warning: {path}: `{folder}` is the agent's: it does not know of this, and reports it or moves it away{HINT}"
        )
    };
    check(
        &["storage: {files: [{path: /etc/kubernetes/manifests/own.yaml}]}"],
        &finding(AGENTS[0], "3:26", "$.storage.files.0.path"),
    );
    check(
        &["storage: {links: [{path: /etc/basalt/pods/x, target: /etc/y}]}"],
        &finding(AGENTS[1], "3:26", "$.storage.links.0.path"),
    );
    check(&["storage: {directories: [{path: /etc/kubernetes/manifests, mode: 0700}]}"], "");
    check(&["storage: {files: [{path: /etc/basalt/podsy}]}"], "");
}

#[test]
fn an_addition_says_what_it_is_made_of() {
    let read = |text: &str| Addition::read(&extra(text), Some(&lab()), &[]).0.unwrap();
    let file = |name: &str| {
        read(&format!("storage: {{files: [{{path: /etc/x, contents: {{local: files/{name}}}}}]}}"))
    };
    let (one, two) = (file("crictl.yaml"), file("90-nic-rings.rules"));
    assert_eq!(one.local_paths().collect::<Vec<_>>(), ["files/crictl.yaml"]);
    assert_ne!(one.text(), two.text());
    let tree = read("storage: {trees: [{local: files, path: /etc/own}]}");
    assert_eq!(tree.local_paths().collect::<Vec<_>>(), ["files"]);
}
