//! The lab's cluster is as careful as one that nodes really join, and tests can do to it what happens to those.

use std::time::Duration;

use e2e::control_plane::{Answer, ControlPlane, Programs, Site, Subject, Wishes};
use e2e::wait::until;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_cluster_knows_users_by_their_certificates_alone() {
    let Some(programs) = Programs::find() else { return };
    let plane = ControlPlane::start(&programs, Site::Loopback, Wishes::default()).unwrap();
    let who = |name: &str, subject: &Subject<'_>| {
        let kubeconfig = plane.kubeconfig(name, subject).unwrap();
        plane.kubectl_with(&kubeconfig, &["auth", "whoami", "-o", "jsonpath={.status.userInfo}"])
    };
    let node = Subject::user("system:node:n1").of("system:nodes");
    let seen = who("n1", &node).unwrap();
    assert!(seen.contains("system:node:n1") && seen.contains("system:nodes"), "{seen}");
    let ask = |kubeconfig: &str, arguments: &[&str]| {
        plane.kubectl_with(&plane.folder().join(kubeconfig), arguments)
    };
    // The Node authoriser and NodeRestriction: its own node object, and no other.
    let own = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n";
    let others = "apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n";
    for (manifest, is_allowed) in [(own, true), (others, false)] {
        let file = plane.folder().join("node.yaml");
        std::fs::write(&file, manifest).unwrap();
        let made = ask("n1.conf", &["create", "-f", &file.display().to_string()]);
        assert_eq!(made.is_ok(), is_allowed, "{made:?}");
    }
    ask("n1.conf", &["get", "--raw", "/api/v1/nodes/n1"]).unwrap();
    // A certificate of somebody else's authority is nobody's.
    let strange = e2e::control_plane::Authority::new("somebody").unwrap();
    let pair = strange.issue_to(&Subject::user("kubernetes-admin").of("system:masters")).unwrap();
    std::fs::write(plane.folder().join("n1.pem"), pair.combined()).unwrap();
    let refused = ask("n1.conf", &["get", "--raw", "/api/v1/nodes/n1"]).unwrap_err().to_string();
    assert!(refused.contains("Unauthorized") || refused.contains("logged in"), "{refused}");
    // The controllers work: they make what every namespace has.
    until("the controllers", LIMIT, || {
        plane.kubectl(&["get", "serviceaccount", "default"]).ok()?;
        plane.kubectl(&["get", "configmap", "kube-root-ca.crt"]).ok()
    })
    .unwrap();
}

#[test]
fn a_cluster_can_hang_fail_and_come_back() {
    let Some(programs) = Programs::find() else { return };
    let wishes = Wishes { api_alone: true, ..Wishes::default() };
    let mut plane = ControlPlane::start(&programs, Site::Loopback, wishes).unwrap();
    plane.kubectl(&["create", "namespace", "kept"]).unwrap();
    let ask = |plane: &ControlPlane<'_>| {
        plane.kubectl(&["get", "namespace", "kept", "--request-timeout=2s"])
    };
    ask(&plane).unwrap();
    plane.pause_api().unwrap();
    ask(&plane).unwrap_err();
    plane.resume_api().unwrap();
    plane.wait_until_ready().unwrap();
    ask(&plane).unwrap();

    let answers = [Answer { path: "/version", status: 200, body: "{\"minor\": \"30\"}" }];
    plane.stand_in(&answers, 500).unwrap();
    assert!(plane.kubectl(&["get", "--raw", "/version"]).unwrap().contains("30"));
    ask(&plane).unwrap_err();

    plane.kill_api();
    ask(&plane).unwrap_err();
    plane.start_api_again().unwrap();
    ask(&plane).unwrap();
}
