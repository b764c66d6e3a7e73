//! What a node may do, proved with its own tokens.

use basalt_model::node::{MountReport, NodeReport};
use serde_json::json;

use crate::setup::{Setup, request, token_of};

#[test]
fn a_node_gets_its_own_names_and_secrets_and_no_others() {
    let Some(setup) = Setup::applied() else { return };
    let identity = setup.identity("n1");
    let login = setup.vault.log_in("cert", "basalt-lab-nodes-controller", &identity).unwrap();
    let token = token_of(&login.success().unwrap());
    let dashboard = "dashboard.lab.example";
    let signed = |common_name: &str, names: &[&str]| setup.sign(&token, common_name, names);

    assert_eq!(signed(dashboard, &[dashboard, "n1", "192.0.2.11", "2001:db8:2::11"]).0, 200);
    assert_eq!(signed("n1", &["n1"]).0, 200);
    for (common_name, names) in [
        ("n2", ["n2"].as_slice()),
        (dashboard, &[dashboard, "n2"]),
        ("system:node:n2", &[]),
        ("foo:bar", &[]),
        ("www.lab.example", &[]),
        ("a.dashboard.lab.example", &[]),
        ("*.lab.example", &[]),
        ("localhost", &["localhost"]),
        ("", &[dashboard]),
    ] {
        let (status, errors) = signed(common_name, names);
        assert_eq!(status, 400, "{common_name} {names:?}: {errors}");
    }
    // Vault has no limit on addresses, OpenBao has.
    if setup.vault.program().name == "bao" {
        let (status, errors) = signed(dashboard, &[dashboard, "203.0.113.7"]);
        assert_eq!(status, 400, "{errors}");
    }

    let call = |method: &str, path: &str, body: Option<serde_json::Value>| {
        setup.vault.call(method, path, Some(&token), body.as_ref()).unwrap()
    };
    // Vault takes a date before the longest life that a role gives.
    for mount in ["pki/lab", "pki/lab-identities"] {
        for date in ["not_after", "not_before"] {
            let csr = request("n1", &[]).0;
            let body = json!({"csr": csr, "common_name": "n1", date: "2036-01-01T00:00:00Z"});
            let path = format!("{mount}/sign/node");
            assert_eq!(call("POST", &path, Some(body)).status, 403, "{path} {date}");
        }
    }
    let secret = call("GET", "secret/data/lab/app", None);
    assert_eq!(secret.body["data"]["data"]["password"], "correct horse");
    let report =
        NodeReport { mounts: [("pki/lab".to_owned(), MountReport::default())].into(), at: 1 };
    let report = json!({"data": report});
    // The second time it is another version of the same.
    for _ in 0..2 {
        assert_eq!(call("POST", "basalt/data/lab/nodes/n1", Some(report.clone())).status, 200);
    }
    for (method, path, body) in [
        ("GET", "secret/data/other", None),
        ("GET", "secret/metadata/lab/app", None),
        ("POST", "secret/data/lab/app", Some(json!({"data": {"password": "x"}}))),
        ("POST", "basalt/data/lab/nodes/n2", Some(report.clone())),
        ("POST", "basalt/data/other/nodes/n1", Some(report)),
        ("POST", "pki/lab/issue/node", Some(json!({"common_name": "n1"}))),
        ("POST", "pki/lab/sign-verbatim/node", Some(json!({"csr": request("n1", &[]).0}))),
        ("POST", "auth/approle/role/basalt-lab-n2/secret-id", Some(json!({}))),
        ("GET", "auth/cert/certs/basalt-lab-nodes-controller", None),
        ("POST", "pki/lab/roles/node", Some(json!({"allow_any_name": true}))),
        ("GET", "sys/mounts", None),
        ("POST", "auth/token/create", Some(json!({}))),
    ] {
        assert_eq!(call(method, path, body).status, 403, "{method} {path}");
    }
    assert_eq!(call("GET", "auth/token/lookup-self", None).status, 200);
    // A token from a certificate is bound to it: it is renewed over a connection that shows the same.
    let renew_self = "auth/token/renew-self";
    assert_eq!(call("POST", renew_self, Some(json!({}))).status, 400);
    let renewed =
        setup.vault.call_as(&identity, "POST", renew_self, Some(&token), Some(&json!({})));
    assert_eq!(renewed.unwrap().status, 200);
    // An identity is renewed with itself, and only for the same node.
    let renew = |name: &str| {
        let body = json!({"csr": request(name, &[]).0, "common_name": name});
        call("POST", "pki/lab-identities/sign/node", Some(body)).status
    };
    assert_eq!((renew("n1"), renew("n2")), (200, 400));
    assert_eq!(call("POST", "auth/token/revoke-self", Some(json!({}))).status, 204);
}

/// A certificate that was signed for a service is no identity.
#[test]
fn only_identities_log_in() {
    let Some(setup) = Setup::applied() else { return };
    let token = setup.log_in("n1");
    let (csr, key) = request("n1", &["n1"]);
    let body = json!({"csr": csr, "common_name": "n1"});
    let signed = setup.vault.call("POST", "pki/lab/sign/node", Some(&token), Some(&body)).unwrap();
    let service = signed.success().unwrap()["data"]["certificate"].as_str().unwrap().to_owned();
    let role = "basalt-lab-nodes-controller";
    let refused = setup.vault.log_in("cert", role, &format!("{service}\n{key}")).unwrap();
    assert!([400, 403].contains(&refused.status), "{refused:?}");
}
