//! A cluster that is not ours: the kubelet asks it for a certificate by a bootstrap token, and the real controllers of the
//! cluster approve and sign.

use std::time::Instant;

use e2e::control_plane::{ControlPlane, Wishes};
use e2e::hand_off::prober::Prober;
use e2e::hand_off::{Identity, Yard, is_ready};

use crate::node::{READY_LIMIT, boot, check_probes};

const TOKEN_FILE: &str = "/var/lib/basalt/enrolment/bootstrap-token";
/// Those of the documentation of Kubernetes.
const TOKEN: (&str, &str) = ("07401b", "f395accd246ae52d");
const WRONG_TOKEN: &str = "07401b.0000000000000000";

/// The token as a cluster keeps it.
fn secret() -> String {
    let (id, secret) = TOKEN;
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: bootstrap-token-{id}, namespace: kube-system}}
type: bootstrap.kubernetes.io/token
stringData: {{token-id: {id}, token-secret: {secret}, usage-bootstrap-authentication: \"true\"}}
"
    )
}

/// The users who asked for certificates that were approved and signed.
fn signed(plane: &ControlPlane<'_>) -> Vec<String> {
    let path = "jsonpath={range .items[*]}{.spec.username} {.spec.signerName} {.status.conditions[*].type} {.status.certificate}{\"\\n\"}{end}";
    let listed = plane.kubectl(&["get", "certificatesigningrequests", "-o", path]).unwrap();
    let rows = listed.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let is_signed = |row: &Vec<&str>| {
        row[1..3] == ["kubernetes.io/kube-apiserver-client-kubelet", "Approved"]
            && row.get(3).is_some_and(|certificate| !certificate.is_empty())
    };
    rows.filter(is_signed).map(|row| row[0].to_owned()).collect()
}

#[test]
fn a_node_joins_by_a_bootstrap_token() {
    let Some(yard) = Yard::new() else { return };
    let switch = Yard::switch().unwrap();
    let mut plane = yard.plane(&switch, Wishes { signs: true, ..Wishes::default() }).unwrap();
    plane.apply(&secret()).unwrap();
    let cluster = yard.cluster(&plane, "automatic", Identity::Bootstrap(TOKEN_FILE));
    let running = boot(yard.tree(&yard.node_of(&cluster).unwrap()).unwrap(), &switch);
    let containers = running.containers();
    let prober = Prober::start(&switch, &yard).unwrap();

    running.wait_for_reason("bootstrap token: the secret file");
    // One that the cluster does not know shows only when the kubelet has asked.
    running.put_secret(TOKEN_FILE, WRONG_TOKEN);
    running.wait_for_stage("proving");
    running.wait_for_stage("standalone");
    running.wait_for_reason("has not proved itself");
    assert_eq!((running.containers(), signed(&plane)), (containers.clone(), Vec::new()));

    let (id, secret) = TOKEN;
    running.put_secret(TOKEN_FILE, &format!("{id}.{secret}\n"));
    running.machine.output(&["systemd-run", "--unit=join", "basalt-agent", "join"]).unwrap();
    running.wait_for_stage("proving");
    let switched = Instant::now();
    running.wait("the node to be ready", |_| is_ready(&plane).then_some(()));
    let ready = switched.elapsed();
    running.wait_for_stage("joined");
    eprintln!("ready {} ms after the switch", ready.as_millis());
    assert!(ready < READY_LIMIT, "{ready:?}");
    assert_eq!(signed(&plane), [format!("system:bootstrap:{id}")]);
    assert_eq!(running.containers(), containers);
    check_probes(&prober);
    drop(prober);

    // Off and on again, with the token gone at both ends: the certificate is enough.
    let secret = format!("bootstrap-token-{id}");
    plane.kubectl(&["delete", "secret", "-n", "kube-system", &secret]).unwrap();
    std::fs::remove_file(running.path(TOKEN_FILE)).unwrap();
    plane.kill_api();
    let running = boot(running.machine.cut(), &switch);
    assert_eq!(running.stage(), "joined");
    let containers = running.containers();
    plane.start_api_again().unwrap();
    running.wait("a node that lives", |_| {
        (is_ready(&plane) && crate::joining::lease_age(&plane)? < 10).then_some(())
    });
    running.wait("a good status", |node| (node.status()["state"] == "ok").then_some(()));
    assert_eq!(running.containers(), containers);
}
