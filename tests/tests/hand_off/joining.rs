//! Everything that keeps a node out, then the way in, life with and without the API server, and the way out.

use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use e2e::command::run;
use e2e::control_plane::{Answer, Authority, ControlPlane};
use e2e::hand_off::prober::Prober;
use e2e::hand_off::{Yard, expired, is_ready};

use crate::node::{READY_LIMIT, Running, boot, certificates, check_probes, plane, tree};

#[test]
fn a_node_joins_a_cluster_and_its_pods_do_not_notice() {
    let Some(yard) = Yard::new() else { return };
    let switch = Yard::switch().unwrap();
    let mut plane = plane(&yard, &switch);
    let running = boot(tree(&yard, &plane, "automatic"), &switch);
    let containers = running.containers();
    // Pause and container of three pods.
    assert_eq!(containers.len(), 6, "{containers:?}");
    let prober = Prober::start(&switch, &yard).unwrap();
    let is_untouched = || {
        assert_eq!(running.containers(), containers);
        assert_eq!(running.stage(), "standalone");
        let drop_in = running.path("/etc/kubernetes/kubelet.conf.d/20-joined.conf");
        assert!(!drop_in.exists());
    };

    // What is closed before the kubelet is touched, each by its name.
    running.wait_for_reason(
        "client certificate: /var/lib/basalt/certificates/kubelet-client/combined.pem is missing",
    );
    running.put_certificates(&certificates(plane.authority(), "n2"));
    running.wait_for_reason("it names `system:node:n2` instead of `system:node:n1`");
    let stranger = Authority::new("stranger").unwrap();
    running.put_certificates(&certificates(&stranger, "n1"));
    running.wait_for_reason("API server: it answers 401");
    is_untouched();
    // It hangs, then it is gone; it would know the node.
    plane.pause_api().unwrap();
    running.put_certificates(&certificates(plane.authority(), "n1"));
    let is_other = |row: &serde_json::Value| {
        let reason = row["reason"].as_str().unwrap_or_default();
        reason.contains("API server: ") && !reason.contains("401")
    };
    running.wait("an API server that hangs", |node| Some(node.status()).filter(is_other));
    plane.kill_api();
    running.wait_for_reason("API server: ");
    is_untouched();
    plane.stand_in(&[Answer { path: "/readyz", status: 200, body: "ok" }], 500).unwrap();
    running.wait_for_reason("API server: it answers 500");
    let old = "{\"major\": \"1\", \"minor\": \"30\", \"gitVersion\": \"v1.30.4\", \"gitCommit\": \"\", \"gitTreeState\": \"\", \"buildDate\": \"\", \"goVersion\": \"\", \"compiler\": \"\", \"platform\": \"\"}";
    let review = "{\"apiVersion\": \"authentication.k8s.io/v1\", \"kind\": \"SelfSubjectReview\", \"metadata\": {}, \"status\": {\"userInfo\": {\"username\": \"system:node:n1\", \"groups\": [\"system:nodes\"]}}}";
    let missing = "{\"apiVersion\": \"v1\", \"kind\": \"Status\", \"status\": \"Failure\", \"reason\": \"NotFound\", \"message\": \"not found\", \"code\": 404}";
    let answers = [
        Answer { path: "/readyz", status: 200, body: "ok" },
        Answer { path: "/version", status: 200, body: old },
        Answer {
            path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            status: 200,
            body: review,
        },
        Answer { path: "/api/v1/nodes/n1", status: 404, body: missing },
    ];
    plane.stand_in(&answers, 500).unwrap();
    running
        .wait_for_reason("versions: the kubelet (v1.36.3) is newer than the API server (v1.30.4)");
    is_untouched();

    // A kubelet that does not start in its new form: back, and the evidence is kept.
    let squat = [
        "systemd-run",
        "--unit=squatter",
        "--socket-property=ListenStream=192.0.2.11:10250",
        "true",
    ];
    running.machine.output(&squat).unwrap();
    plane.start_api_again().unwrap();
    running.wait_for_stage("proving");
    running.wait_for_stage("standalone");
    is_untouched();
    let row = running.wait_for_reason("has not proved itself");
    assert_eq!(row["state"], "error", "{row}");
    assert_eq!(running.record()["failed"]["times"], 1);
    running.machine.output(&["systemctl", "stop", "squatter.socket"]).unwrap();

    // Nothing is in the way any more. Somebody who asks does not wait for the next try.
    let start = Instant::now();
    let plan = running.machine.run(&["basalt-agent", "plan"]).unwrap();
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    running.machine.output(&["systemd-run", "--unit=join", "basalt-agent", "join"]).unwrap();
    running.wait_for_stage("proving");
    let switched = Instant::now();
    running.wait("the node to be ready", |_| is_ready(&plane).then_some(()));
    let ready = switched.elapsed();
    running.wait_for_stage("joined");
    eprintln!(
        "switched {} ms after the order, ready {} ms later, committed {} ms after the order",
        (switched - start).as_millis(),
        ready.as_millis(),
        start.elapsed().as_millis(),
    );
    assert_eq!(running.containers(), containers);
    check_probes(&prober);
    assert!(ready < READY_LIMIT, "{ready:?}");
    eprintln!("{plan}");

    after(&running, &mut plane);
    drop(prober);

    // Off for longer than its certificates live, and on again with the API server away: the pods serve.
    running.put_certificates(&expired(plane.authority()).unwrap());
    plane.kill_api();
    let tree = running.machine.cut();
    let running = boot(tree, &switch);
    assert_eq!(running.stage(), "joined");
    plane.start_api_again().unwrap();
    running.wait_for_reason("it answers 401");
    assert!(running.asks());
    // Whoever renews certificates does so, and the node comes back by itself.
    let containers = running.containers();
    running.put_certificates(&certificates(plane.authority(), "n1"));
    running.wait("a lease of this boot", |_| (lease_age(&plane)? < 10).then_some(()));
    running.wait("the node to be ready", |_| is_ready(&plane).then_some(()));
    assert_eq!(running.containers(), containers);

    // Out again.
    let containers = running.containers();
    let output =
        running.machine.output(&["basalt-agent", "leave", "--timeout-seconds", "50"]).unwrap();
    assert!(output.contains("kubectl delete node n1"), "{output}");
    assert_eq!((running.stage().as_str(), running.containers()), ("standalone", containers));
    assert!(running.asks());
}

/// Seconds since the kubelet last spoke to the API server, by the API server's lease.
pub(crate) fn lease_age(plane: &ControlPlane<'_>) -> Option<u64> {
    let path = "jsonpath={.spec.renewTime}";
    let renewed =
        plane.kubectl(&["get", "lease", "-n", "kube-node-lease", "n1", "-o", path]).ok()?;
    let seconds = run(Command::new("date").args(["+%s", "-d", &renewed])).ok()?;
    let renewed: u64 = seconds.trim().parse().ok()?;
    Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs().saturating_sub(renewed))
}

/// Both certificates are renewed twenty times: each handshake shows the new one, the API server knows each, and the node
/// stays ready with its containers and its kubelet.
fn rotations(running: &Running, plane: &ControlPlane<'_>) {
    let kubelet = running.machine.main_pid("kubelet.service").unwrap();
    for _ in 0..20 {
        let pairs = certificates(plane.authority(), "n1");
        running.put_certificates(&pairs);
        let (_, serving) = &pairs[1];
        let body = serving.split("-----BEGIN CERTIFICATE-----").nth(1).unwrap();
        let body = body.split("-----END").next().unwrap().trim();
        let show = [
            "curl",
            "-sk",
            "-o",
            "/dev/null",
            "-w",
            "%{certs}",
            "https://192.0.2.11:10250/healthz",
        ];
        running.wait("a handshake with the new certificate", |node| {
            node.machine.output(&show).ok().filter(|shown| shown.contains(body))
        });
        assert!(is_ready(plane));
    }
    assert_eq!(running.machine.main_pid("kubelet.service").unwrap(), kubelet);
}

/// What holds once a node has joined.
fn after(running: &Running, plane: &mut ControlPlane<'_>) {
    // The cluster shows the node's pods, with its label.
    let pods = plane.kubectl(&["get", "pods", "-n", "kube-system", "-o", "name"]).unwrap();
    assert_eq!(
        pods.trim().lines().collect::<Vec<_>>(),
        ["pod/haproxy-n1", "pod/keepalived-n1", "pod/web-n1"]
    );
    let label = plane.kubectl(&["get", "node", "-l", "lab.example/rack=r1", "-o", "name"]).unwrap();
    assert_eq!(label.trim(), "node/n1");
    // The API server reaches the kubelet with verified certificates; nobody else gets in.
    running
        .wait("the log of a pod", |_| plane.kubectl(&["logs", "-n", "kube-system", "web-n1"]).ok());
    let code =
        ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "https://192.0.2.11:10250/pods"];
    assert_eq!(running.machine.output(&code).unwrap(), "401");
    let read_only =
        running.machine.run(&["curl", "-sf", "--max-time", "2", "http://192.0.2.11:10255/pods"]);
    assert!(!read_only.unwrap().status.success());
    running.wait("a good status", |node| (node.status()["state"] == "ok").then_some(()));

    rotations(running, plane);

    // The API server away: the status still speaks, and the pods serve.
    plane.kill_api();
    let row = running.status();
    assert_eq!((&row["seen"], &row["state"]), (&"joined".into(), &"ok".into()), "{row}");
    assert!(running.asks());
    plane.start_api_again().unwrap();

    // Somebody changes the kubelet's configuration: it is named, and put right.
    let before = running.containers();
    let path = running.path("/etc/kubernetes/kubelet.conf.d/20-joined.conf");
    let wanted = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, wanted.replace("\"readOnlyPort\": 0", "\"readOnlyPort\": 10255"))
        .unwrap();
    running.wait("the file to be put right", |_| {
        (std::fs::read_to_string(&path).unwrap() == wanted).then_some(())
    });
    running.wait_for_stage("joined");
    let journal = running
        .machine
        .output(&["journalctl", "--no-pager", "-o", "cat", "-u", "basalt-agent"])
        .unwrap();
    assert!(journal.contains("20-joined.conf was changed"), "{journal}");
    assert_eq!(running.containers(), before);
}
