//! Who is told of a new certificate besides haproxy: units of the real systemd over the bus, keepalived in the real
//! containerd, pods that nobody knows how to tell.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::Output;

use basalt_model::node::{CertificateLayout, Node, Reload};
use e2e::pod_change::{Parts, PodNode, Wanted};
use e2e::vault_server::Authority;
use e2e::{checkout, programs};
use serde_json::{Value as Json, json};

const CERTIFICATE: &str = "ingress";

/// A unit that notes its reloads, one that knows no reload, one whose reload fails, and one that nobody started.
const UNITS: [(&str, &str); 4] = [
    ("reloads", "ExecStart=/bin/sleep infinity\nExecReload=/bin/touch /run/reloaded\n"),
    ("restarts", "ExecStart=/bin/sleep infinity\n"),
    ("refuses", "ExecStart=/bin/sleep infinity\nExecReload=/bin/false\n"),
    ("stands", "ExecStart=/bin/sleep infinity\n"),
];

fn activate(node: &PodNode) -> Output {
    node.machine.run(&["basalt-agent", "activate", CERTIFICATE, "--output=json"]).unwrap()
}

#[test]
fn units_and_pods_are_told() {
    let Some(agent) = programs::agent() else { return };
    let Some(parts) = Parts::find() else { return };
    let wanted = Wanted { keepalived: Some(0), ..Wanted::first() };
    let node = PodNode::start(parts, &agent, &wanted).unwrap();
    let units = node.machine.root().join("etc/systemd/system");
    for (name, service) in UNITS {
        fs::write(units.join(format!("{name}.service")), format!("[Service]\n{service}")).unwrap();
    }
    node.machine.output(&["systemctl", "daemon-reload"]).unwrap();
    for name in ["reloads.service", "restarts.service", "refuses.service"] {
        node.machine.output(&["systemctl", "start", name]).unwrap();
    }

    let lab = checkout::root().join("static-pods/tests/lab/n1.json");
    let lab = Node::from_json("n1.json", &fs::read_to_string(lab).unwrap()).unwrap();
    let mut generation = wanted.generation;
    let mut tell = |reload: Vec<Reload>| {
        let mut next = node.node(&wanted).unwrap();
        generation += 1;
        next.generation = generation;
        let mut vault = lab.vault.clone().unwrap();
        let certificate = &mut vault.certificates[0];
        certificate.layouts = vec![CertificateLayout::Combined];
        certificate.reload = reload;
        let folder =
            node.machine.root().join(certificate.directory.as_str().trim_start_matches('/'));
        next.vault = Some(vault);
        node.commit_and_stop(&next).unwrap();
        fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new("Lab PKI").unwrap();
        let (chain, key) = authority.issue(&["ingress.lab.example".to_owned()]).unwrap();
        fs::write(folder.join("combined.pem"), format!("{chain}{key}")).unwrap();
        fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        activate(&node)
    };
    let unit = |name: &str| Reload::Unit(format!("{name}.service").parse().unwrap());
    let pod = |name: &str| Reload::Pod(name.parse().unwrap());
    let restarted = node.machine.main_pid("restarts.service").unwrap().unwrap();
    let reloaded = node.machine.main_pid("reloads.service").unwrap().unwrap();

    let output = tell(vec![unit("reloads"), unit("restarts"), unit("stands"), unit("kubelet")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let done: Json = serde_json::from_slice(&output.stdout).unwrap();
    let ways: Vec<(&str, &str)> = (done["told"].as_array().unwrap().iter())
        .map(|it| (it["consumer"].as_str().unwrap(), it["way"].as_str().unwrap()))
        .collect();
    let expected = [
        ("unit reloads.service", "reload"),
        ("unit restarts.service", "restart"),
        ("unit kubelet.service", "rereads by itself"),
    ];
    assert_eq!(ways, expected, "{done}");
    assert_eq!(done["skipped"][0]["what"], "unit stands.service", "{done}");
    assert!(node.machine.root().join("run/reloaded").exists());
    assert_eq!(node.machine.main_pid("reloads.service").unwrap(), Some(reloaded));
    let now = node.machine.main_pid("restarts.service").unwrap().unwrap();
    assert_ne!(now, restarted);
    assert_eq!(node.machine.property("stands.service", "ActiveState").unwrap(), "inactive");

    for (name, reason) in [
        ("refuses", "systemd's job ReloadUnit ended with `failed`"),
        ("gone", "systemd has no unit file of this name"),
    ] {
        let output = tell(vec![unit(name)]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("unit {name}.service")) && said.contains(reason), "{said}");
    }

    // haproxy serves it in no frontend here and is told nevertheless, since the certificate says so.
    let keepalived = node.uid("keepalived");
    let output = tell(vec![pod("keepalived"), pod("haproxy"), pod("registry")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let done: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["told"][0]["consumer"], "pod keepalived", "{done}");
    assert_eq!(done["told"][0]["way"], "reload", "{done}");
    assert_eq!(done["told"][1]["consumer"], "pod haproxy", "{done}");
    assert_eq!(done["told"][1]["way"], "reload", "its runtime API knows no such file: {done}");
    assert_eq!(done["skipped"][0]["what"], "pod registry", "{done}");
    assert_eq!(done["restart_pods"], json!([]), "{done}");
    assert_eq!(node.uid("keepalived"), keepalived);
}
