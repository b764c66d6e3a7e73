//! A node that logs in with the token of a Kubernetes service account. OpenBao asks the real API server whose it is.

use std::time::Duration;

use basalt_model::node::VaultAuth;
use e2e::control_plane::{ControlPlane, Programs, Site, Wishes};
use e2e::vault_node::{VaultNode, made};
use e2e::wait::until;
use serde_json::json;

const LOGIN: &str = "auth/kubernetes/login";
const TOKEN_FILE: &str = "/var/lib/basalt/account/token";
const AUDIENCE: &str = "vault";

/// The accounts of nodes, and the one as which OpenBao asks.
const ACCOUNTS: &str = "apiVersion: v1
kind: ServiceAccount
metadata: {name: basalt, namespace: kube-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: kube-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reviewer, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
subjects: [{kind: ServiceAccount, name: reviewer, namespace: kube-system}]
";

/// A token of an account, for Vault or for the API server itself.
fn token(plane: &ControlPlane<'_>, account: &str, audience: Option<&str>) -> String {
    let audience = audience.map(|it| format!("--audience={it}"));
    let ask = ["create", "token", account, "--namespace=kube-system"].into_iter();
    let ask: Vec<&str> = ask.chain(audience.as_deref()).collect();
    plane.kubectl(&ask).unwrap().trim().to_owned()
}

fn set_up(node: &VaultNode, plane: &ControlPlane<'_>) {
    plane.apply(ACCOUNTS).unwrap();
    let write = |path: &str, body| made(node.vault.write(path, &body));
    write("sys/auth/kubernetes", json!({"type": "kubernetes"}));
    let config = json!({
        "kubernetes_host": plane.url(),
        "kubernetes_ca_cert": plane.authority().pem(),
        "token_reviewer_jwt": token(plane, "reviewer", None),
        "disable_local_ca_jwt": true,
    });
    write("auth/kubernetes/config", config);
    let role = json!({
        "bound_service_account_names": "basalt",
        "bound_service_account_namespaces": "kube-system",
        "audience": AUDIENCE,
        "token_policies": "node",
        "token_ttl": "1h",
    });
    write("auth/kubernetes/role/node", role);
}

#[test]
fn a_service_account_logs_in() {
    let Some(programs) = Programs::find() else { return };
    let Some(mut node) = VaultNode::new() else { return };
    let wishes = Wishes { api_alone: true, ..Wishes::default() };
    let plane = ControlPlane::start(&programs, Site::Loopback, wishes).unwrap();
    set_up(&node, &plane);
    node.write(TOKEN_FILE, &token(&plane, "stranger", Some(AUDIENCE)), 0o600);
    let jwt = VaultAuth::Jwt {
        mount: "kubernetes".to_owned(),
        role: "node".to_owned(),
        token_file: TOKEN_FILE.parse().unwrap(),
    };
    let mut before = None;
    node.want_vault(|vault| before = Some(std::mem::replace(&mut vault.auth, jwt)));
    let Some(VaultAuth::AppRole { secret_id_file, .. }) = before else { panic!("{before:?}") };
    std::fs::remove_file(node.path(secret_id_file.as_str())).unwrap();
    let service = node.start();
    let refused = node.wait_for_item(("vault", "session"), "a refusal", |item| {
        item["reason"].as_str().is_some_and(|it| it.contains("service account name not authorized"))
    });
    assert_eq!(refused["state"], "error", "{refused:#}");
    assert_eq!(node.count(LOGIN, 200), 0);

    // The right one is taken at the next login, without a restart.
    let right = token(&plane, "basalt", Some(AUDIENCE));
    node.write(TOKEN_FILE, &right, 0o600);
    node.wait_for_new("ingress", "");
    assert_eq!(node.count(LOGIN, 200), 1);
    let log = service.kill();
    assert!(!log.contains(&right), "a token is in the log");

    // An account that is gone is nobody, however long its tokens would live. The API server takes a token for good for ten
    // seconds after it has looked at it.
    plane.kubectl(&["delete", "serviceaccount", "basalt", "--namespace=kube-system"]).unwrap();
    let log_in = || {
        let body = json!({"role": "node", "jwt": right});
        let answer = node.vault.call("POST", LOGIN, None, Some(&body)).ok()?;
        (answer.status != 200).then_some(())
    };
    until("the end of the account", Duration::from_secs(60), log_in).unwrap();
    let logins = node.count(LOGIN, 200);
    let _service = node.start();
    let refused = node.wait_for_item(("vault", "session"), "a refusal", |item| {
        item["reason"].as_str().is_some_and(|it| it.contains(LOGIN))
    });
    assert_eq!(refused["state"], "error", "{refused:#}");
    assert_eq!(node.count(LOGIN, 200), logins);
}
