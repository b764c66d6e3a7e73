//! The agent's own way to the API servers: a kubeconfig that it makes, and a certificate that is renewed while it works.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use basalt_model::node::{BUNDLE_APPLIERS_GROUP, BUNDLE_KUBECONFIG_PATH, Kubernetes, Node, Vault};
use e2e::control_plane::Subject;
use e2e::wait::until;
use serde_json::{Value, json};

use crate::bench::{Lab, Machine, PATIENCE};
use crate::bundles::hello;

const PAIR: &str = "/var/lib/basalt/certificates/bundle-applier/combined.pem";
const USER: &str = "basalt:agent:n1";

/// What a node knows of the cluster that it joins, and of a Vault that is away.
fn joining(lab: &Lab, node: &mut Node) {
    let kubernetes = json!({
        // The first is away.
        "servers": ["127.0.0.1:1", lab.plane.address()],
        "server_name": "kubernetes.default.svc",
        "local_port": 7445,
        "ca": "cluster",
        "client_ca": "cluster",
        "cluster_domain": "cluster.local",
        "cluster_dns": [],
        "labels": {},
        "taints": [],
        "identity": "vault",
        "hand_off": "manual",
        "deadline_seconds": 120,
        "drain_seconds": 300,
    });
    let certificate = json!({
        "name": "bundle-applier",
        "pki_mount": null,
        "pki_role": "bundle-applier",
        "common_name": USER,
        "subject_alternative_names": [],
        "key": "ecdsa-p256",
        "usages": ["client"],
        "ttl_hours": 168,
        "survive_outage_hours": 84,
        "activation": null,
        "directory": "/var/lib/basalt/certificates/bundle-applier",
        "layouts": ["combined"],
        "owner": "root",
        "group": "root",
        "mode": "0600",
        "reload": [],
        "prove": [],
    });
    let vault = json!({
        "addresses": ["https://127.0.0.1:1"],
        "ca": "cluster",
        "auth": {"token": {"token_file": "/var/lib/basalt/token"}},
        "pki_mount": "pki",
        "pki_role": "node",
        "certificates": [certificate],
    });
    node.kubernetes = Some(serde_json::from_value::<Kubernetes>(kubernetes).unwrap());
    node.vault = Some(serde_json::from_value::<Vault>(vault).unwrap());
    let ca = fs::read_to_string(lab.plane.ca_file()).unwrap();
    node.trust_anchors.insert("cluster".parse().unwrap(), ca);
    node.bundle.as_mut().unwrap().kubeconfig = None;
}

/// What the engine does with a certificate that Vault has signed.
fn certify(lab: &Lab, machine: &Machine) {
    let subject = Subject::user(USER).of(BUNDLE_APPLIERS_GROUP);
    machine.write(PAIR, &lab.plane.authority().issue_to(&subject).unwrap().combined());
}

#[test]
fn an_agent_makes_its_own_way_and_takes_every_new_certificate() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    fs::remove_file(n1.path(BUNDLE_KUBECONFIG_PATH)).unwrap();
    n1.write("/etc/basalt/trust/cluster.pem", &fs::read_to_string(lab.plane.ca_file()).unwrap());
    let first = lab.signer.sign(1, &hello());
    lab.grants().add(&n1.bake(&first));
    n1.ask(1, &first, |node| joining(&lab, node));
    let _service = n1.start();
    let picture = n1.wait_for("the certificate to be missed", |picture| {
        picture["away"].as_str().is_some_and(|it| it.contains(PAIR))
    });
    assert!(picture["away_hint"].as_str().unwrap().contains("basalt-agent certs"), "{picture}");

    certify(&lab, &n1);
    n1.wait_for_commit(&first);
    let path = n1.path(BUNDLE_KUBECONFIG_PATH);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let kubeconfig: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(
        kubeconfig["users"][0]["user"],
        json!({"client-certificate": PAIR, "client-key": PAIR})
    );
    assert_eq!(kubeconfig["clusters"].as_array().unwrap().len(), 2);

    // Each renewed certificate is the one that the API server sees from then on.
    for round in 1..=3 {
        assert_eq!(lab.credentials_of(USER).len(), round, "one certificate each");
        certify(&lab, &n1);
        until("the new certificate to be seen", PATIENCE, || {
            (lab.credentials_of(USER).len() == round + 1).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", n1.status()));
    }
    n1.wait_for_commit(&first);
}
