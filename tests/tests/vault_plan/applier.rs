//! The certificate with which an agent applies the operator bundle: the user of its own node, in the group that may apply.

use std::process::Command;

use serde_json::json;

use crate::setup::{Setup, request, text};

const SECTIONS: &str = "
kubernetes:
  roles: [controller]
  ca: lab-vault
  identity:
    vault: {mount: pki/kubernetes}
bundle:
  roles: [controller]
  reference: registry.lab.example/hello@sha256:0df48fafe8077448f0d8a202c1c2afb448b02d8821a59dabc7af7f55977dc6ca
  public_key: |
    -----BEGIN PUBLIC KEY-----
    -----END PUBLIC KEY-----
";

#[test]
fn agents_get_the_user_of_their_node_and_the_group_that_applies() {
    let Some(setup) = Setup::new() else { return };
    let cluster = std::fs::read_to_string(&setup.cluster).unwrap();
    std::fs::write(&setup.cluster, cluster + SECTIONS).unwrap();
    let applied = setup.xtask(&["apply", "--yes", "--make-root"]);
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");
    let again = setup.xtask(&["plan"]);
    assert_eq!((again.status.code(), text(&again.stdout).as_str()), (Some(0), ""), "{again:?}");

    let token = setup.log_in("n1");
    let sign = |role: &str, common_name: &str, names: &[&str]| {
        let (csr, _) = request(common_name, names);
        let body = json!({
            "csr": csr,
            "common_name": common_name,
            "exclude_cn_from_sans": true,
            "ttl": "168h",
            // Whatever a request says, the group is that of the role.
            "organization": "system:masters",
        });
        let path = format!("pki/kubernetes/sign/{role}");
        setup.vault.call("POST", &path, Some(&token), Some(&body)).unwrap()
    };
    for (role, user, group) in [
        ("bundle-applier", "basalt:agent:n1", "basalt:bundle-appliers"),
        ("kubelet-client", "system:node:n1", "system:nodes"),
    ] {
        let signed = sign(role, user, &[]).success().unwrap();
        let file = setup.folder.path().join("signed.pem");
        std::fs::write(&file, signed["data"]["certificate"].as_str().unwrap()).unwrap();
        let mut shown = Command::new("openssl");
        shown.args([
            "x509",
            "-noout",
            "-subject",
            "-ext",
            "extendedKeyUsage,subjectAltName",
            "-nameopt",
            "RFC2253",
            "-in",
        ]);
        let shown = text(&shown.arg(&file).output().unwrap().stdout);
        assert!(
            shown.contains(&format!("O={group}")) && shown.contains(&format!("CN={user}")),
            "{shown}"
        );
        assert!(!shown.contains("masters"), "{shown}");
        assert!(shown.contains("TLS Web Client Authentication"), "{shown}");
        assert!(!shown.contains("Server") && !shown.contains("DNS:"), "{shown}");
    }
    for (role, user) in [
        ("bundle-applier", "basalt:agent:n2"),
        ("bundle-applier", "basalt:agent:"),
        ("bundle-applier", "system:node:n1"),
        ("bundle-applier", "n1"),
        ("bundle-applier", "kubernetes-admin"),
        ("kubelet-client", "basalt:agent:n1"),
        ("kubelet-client", "system:node:n2"),
    ] {
        let refused = sign(role, user, &[]);
        assert_eq!(refused.status, 400, "{role} {user}: {refused:?}");
    }
    let named = sign("bundle-applier", "basalt:agent:n1", &["n1"]);
    assert_eq!(named.status, 400, "it is known by no name of a host: {named:?}");
}
