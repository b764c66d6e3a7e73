//! The way out: the cluster's pods end first, as far as the cluster lets them, and those of the node stay.

use std::time::{Duration, Instant};

use e2e::control_plane::ControlPlane;
use e2e::hand_off::{Yard, is_ready};

use crate::node::{Running, boot, certificates, plane, tree};

/// Pods of the cluster beside those of the node: one that may not be disrupted yet, and one of every node.
fn guests(image: &str) -> String {
    let pod = |name: &str, port: u16| {
        format!(
            "metadata: {{labels: {{app: {name}}}}}
    spec:
      hostNetwork: true
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: web, image: \"{image}\", imagePullPolicy: Never, command: [httpd, -f, -p, \"127.0.0.1:{port}\"]}}
"
        )
    };
    let workload = |kind: &str, name: &str, port: u16| {
        format!(
            "apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, namespace: guests}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    {}---
",
            pod(name, port)
        )
    };
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: guests}}
---
{}{}apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: one, namespace: guests}}
spec: {{maxUnavailable: 0, selector: {{matchLabels: {{app: one}}}}}}
",
        workload("Deployment", "one", 8097),
        workload("DaemonSet", "each", 8098),
    )
}

/// The pods of this name that run on the node, by what the cluster says.
fn running_pods(plane: &ControlPlane<'_>, app: &str) -> usize {
    let label = format!("app={app}");
    let arguments = ["get", "pods", "-n", "guests", "-l", &label, "-o", "json"];
    let list: serde_json::Value =
        serde_json::from_str(&plane.kubectl(&arguments).unwrap()).unwrap();
    let pods = list["items"].as_array().unwrap().iter();
    let is_here = |pod: &&serde_json::Value| {
        pod["spec"]["nodeName"] == "n1" && pod["status"]["phase"] == "Running"
    };
    pods.filter(is_here).count()
}

fn join(running: &Running, plane: &ControlPlane<'_>) {
    running.machine.output(&["basalt-agent", "join"]).unwrap();
    running.wait_for_stage("joined");
    running.wait("the node to be ready", |_| is_ready(plane).then_some(()));
}

#[test]
fn a_node_that_leaves_is_emptied_first() {
    let Some(yard) = Yard::new() else { return };
    let switch = Yard::switch().unwrap();
    let mut plane = plane(&yard, &switch);
    let running = boot(tree(&yard, &plane, "manual"), &switch);
    running.put_certificates(&certificates(plane.authority(), "n1"));
    running.wait_for_reason("it joins by hand");
    let own = running.containers();
    join(&running, &plane);
    plane.apply(&guests(&yard.web())).unwrap();
    for app in ["one", "each"] {
        running.wait("a pod of the cluster", |_| (running_pods(&plane, app) == 1).then_some(()));
    }
    assert!(running.containers().len() > own.len() && running.containers().is_superset(&own));

    // A disruption budget holds it back, and it is named; without it, the pod ends.
    running.machine.output(&["systemd-run", "--unit=leave", "basalt-agent", "leave"]).unwrap();
    running.wait_for_stage("draining");
    running.wait_for_reason("pod guests/one-");
    assert_eq!(running_pods(&plane, "one"), 1);
    plane.kubectl(&["delete", "poddisruptionbudget", "-n", "guests", "one"]).unwrap();
    running.wait_for_stage("standalone");
    // Nobody placed another one on a node that is closed; the others ended with the kubelet's time in the cluster.
    assert_eq!(running_pods(&plane, "one"), 0);
    let path = "jsonpath={.spec.unschedulable}";
    assert_eq!(plane.kubectl(&["get", "node", "n1", "-o", path]).unwrap(), "true");
    running.wait("the pods of the cluster to end", |node| (node.containers() == own).then_some(()));
    assert!(running.asks());

    // Who comes back is open for pods again, also when nobody has deleted the node meanwhile.
    join(&running, &plane);
    assert_eq!(plane.kubectl(&["get", "node", "n1", "-o", path]).unwrap(), "");

    // Nobody answers: it waits for as long as it may, and goes; a person does the rest.
    plane.kill_api();
    let start = Instant::now();
    let output =
        running.machine.output(&["basalt-agent", "leave", "--timeout-seconds", "100"]).unwrap();
    assert!(output.contains("kubectl delete node n1"), "{output}");
    assert_eq!(running.stage(), "standalone");
    assert!(start.elapsed() >= Duration::from_secs(20), "{:?}", start.elapsed());
    running.wait("the pods of the node alone", |node| (node.containers() == own).then_some(()));
    assert!(running.asks());
}
