//! Certificates of kubelets: a node may be its own kubelet, and nobody else of the cluster.

use std::process::Command;

use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;

use crate::setup::{Setup, text};

const SECTION: &str = "kubernetes:
  roles: [controller]
  ca: lab-vault
  identity:
    vault: {mount: pki/kubernetes}
";

/// A request by somebody who would like to be everybody's master.
fn request(common_name: &str, names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut wanted = CertificateParams::new(names).unwrap();
    wanted.distinguished_name.push(DnType::CommonName, common_name);
    wanted.distinguished_name.push(DnType::OrganizationName, "system:masters");
    wanted.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

#[test]
fn a_node_is_its_own_kubelet_alone() {
    let Some(setup) = Setup::with(SECTION) else { return };
    assert_eq!(setup.xtask(&["plan"]).status.code(), Some(3));
    let apply = setup.xtask(&["apply", "--yes", "--make-root"]);
    assert_eq!(apply.status.code(), Some(0), "{apply:?}");
    assert_eq!(setup.xtask(&["plan"]).status.code(), Some(0), "what was made is what is wanted");
    let token = setup.log_in("n1");
    let sign = |role: &str, common_name: &str, names: &[&str]| {
        let body = json!({"csr": request(common_name, names), "common_name": common_name, "exclude_cn_from_sans": true});
        let path = format!("pki/kubernetes/sign/{role}");
        setup.vault.call("POST", &path, Some(&token), Some(&body)).unwrap()
    };
    let own: &[&str] = &["n1", "192.0.2.11"];
    for (role, names) in [("kubelet-client", &[] as &[&str]), ("kubelet-serving", own)] {
        let signed = sign(role, "system:node:n1", names).success().unwrap();
        let pem = signed["data"]["certificate"].as_str().unwrap();
        let file = setup.folder.path().join("signed.pem");
        std::fs::write(&file, pem).unwrap();
        let show = ["-noout", "-subject", "-nameopt", "RFC2253", "-ext", "extendedKeyUsage", "-in"];
        let shown = Command::new("openssl").arg("x509").args(show).arg(&file).output().unwrap();
        let shown = text(&shown.stdout);
        assert!(shown.contains("subject=CN=system:node:n1,O=system:nodes\n"), "{shown}");
        let may_be = |who: &str| shown.contains(&format!("TLS Web {who} Authentication"));
        let is_client = role == "kubelet-client";
        assert_eq!((may_be("Client"), may_be("Server")), (is_client, !is_client), "{shown}");
    }
    for (role, common_name, names) in [
        ("kubelet-client", "system:node:n2", &[] as &[&str]),
        ("kubelet-client", "system:node:n1.n2", &[]),
        ("kubelet-client", "x.system:node:n1", &[]),
        ("kubelet-client", "n1", &[]),
        ("kubelet-client", "kubernetes-admin", &[]),
        ("kubelet-client", "system:kube-scheduler", &[]),
        ("kubelet-client", "system:node:n1", &["n2"]),
        ("kubelet-client", "system:node:n1", &["192.0.2.11"]),
        ("kubelet-serving", "system:node:n2", &["n2"]),
        ("kubelet-serving", "system:node:n1", &["n2"]),
        ("kubelet-serving", "system:node:n1", &["kubernetes"]),
    ] {
        let answer = sign(role, common_name, names);
        assert_eq!(answer.status, 400, "{role} {common_name} {names:?}: {}", answer.body["errors"]);
    }
    // Vault has no limit on addresses, OpenBao has.
    if setup.vault.program().name == "bao" {
        assert_eq!(sign("kubelet-serving", "system:node:n1", &["203.0.113.7"]).status, 400);
    }
    assert_eq!(setup.sign(&token, "system:node:n1", &[]).0, 400, "by the role of everything else");
}
