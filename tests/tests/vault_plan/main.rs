//! `cargo xtask vault` against the real OpenBao: what it sets up is what nodes need, and no more than that.
//!
//! [`setup`] is a Vault with the lab's cluster for it and what a node does at its first login.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

mod applier;
mod authority_change;
mod failures;
mod kubelets;
mod least_right;
mod neighbours;
mod rotation;
mod sealed;
mod setup;
mod wrapped;

use serde_json::json;

use crate::setup::{Setup, text};

#[test]
fn a_plan_is_empty_once_it_was_applied() {
    let Some(setup) = Setup::new() else { return };
    let plan = setup.xtask(&["plan"]);
    assert_eq!(plan.status.code(), Some(3), "{plan:?}");
    let shown = text(&plan.stdout);
    for line in [
        "+ pki/lab: pki",
        "+ pki/lab-identities: pki",
        "+ basalt: kv version 2",
        "+ secret: kv version 2",
        "+ auth/approle: approle",
        "+ auth/cert: cert",
        "+ pki/lab: an issuer, the root `lab pki/lab root`",
        "+ pki/lab/roles/node",
        "    (after the accessor of `auth/cert`)",
        "+ policy basalt-lab-nodes-controller",
        "+ auth/approle/role/basalt-lab-n3",
        "+ auth/cert/certs/basalt-lab-nodes-controller",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    // Nobody can be asked, so nothing is done.
    let asked = setup.xtask(&["apply"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("give `--yes`"), "{asked:?}");
    assert_eq!(text(&setup.xtask(&["plan"]).stdout), shown);

    let without_root = setup.xtask(&["apply", "--yes"]);
    assert_eq!(without_root.status.code(), Some(1), "{without_root:?}");
    let said = text(&without_root.stderr);
    assert!(said.contains("`pki/lab` has no issuer"), "{said}");
    assert!(said.contains("waits for an issuer of `pki/lab-identities`"), "{said}");
    let apply = setup.xtask(&["apply", "--yes", "--make-root"]);
    assert_eq!(apply.status.code(), Some(0), "{apply:?}");

    let again = setup.xtask(&["plan"]);
    assert_eq!((again.status.code(), text(&again.stdout).as_str()), (Some(0), ""), "{again:?}");
    let document = setup.xtask(&["plan", "--output", "json"]);
    let document: serde_json::Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!(document["changes"], json!([]));
}

#[test]
fn what_others_changed_is_shown_and_set_right_and_nothing_else() {
    let Some(setup) = Setup::applied() else { return };
    let vault = &setup.vault;
    vault.write("pki/lab/roles/own", &json!({"allow_any_name": true})).unwrap();
    vault
        .write(
            "sys/policies/acl/own",
            &json!({"policy": "path \"a\" { capabilities = [\"read\"] }"}),
        )
        .unwrap();
    let mut role = vault.read("pki/lab/roles/node").unwrap()["data"].clone();
    role["allow_any_name"] = json!(true);
    role["cn_validations"] = json!(["disabled"]);
    vault.write("pki/lab/roles/node", &role).unwrap();
    vault.write("auth/approle/role/basalt-lab-n1", &json!({"secret_id_num_uses": 0})).unwrap();
    vault.write("auth/approle/role/basalt-lab-n9", &json!({})).unwrap();
    let policy = vault.read("sys/policies/acl/basalt-lab-enrolment").unwrap();
    let policy = policy["data"]["policy"].as_str().unwrap().to_owned();
    let (not_after, revoke) =
        ("    \"not_after\" = []\n", "revoke-self\" {\n  capabilities = [\"update\"]");
    assert!(policy.contains(not_after) && policy.contains(revoke), "{policy}");
    let other = policy.replace(not_after, "").replace(revoke, &revoke.replace("update", "sudo"));
    vault.write("sys/policies/acl/basalt-lab-enrolment", &json!({"policy": other})).unwrap();

    let plan = setup.xtask(&["plan"]);
    assert_eq!(plan.status.code(), Some(3), "{plan:?}");
    let expected = "\
~ pki/lab/roles/node
    allow_any_name: true -> false
    cn_validations: [\"disabled\"] -> [\"hostname\"]
~ policy basalt-lab-enrolment
        capabilities = [\"update\"]
        denied_parameters = {
    +     \"not_after\" = []
          \"not_before\" = []
        }
    ...

      path \"auth/token/revoke-self\" {
    -   capabilities = [\"sudo\"]
    +   capabilities = [\"update\"]
      }
~ auth/approle/role/basalt-lab-n1
    secret_id_num_uses: 0 -> 1
note: `auth/approle/role/basalt-lab-n9` belongs to no node of the cluster any more; delete it
";
    assert_eq!(text(&plan.stdout), expected);
    let apply = setup.xtask(&["apply", "--yes"]);
    assert_eq!(apply.status.code(), Some(0), "{apply:?}");
    assert_eq!(setup.xtask(&["plan"]).status.code(), Some(0));
    assert_eq!(vault.read("pki/lab/roles/own").unwrap()["data"]["allow_any_name"], true);
    assert!(vault.read("sys/policies/acl/own").is_ok());
    assert!(vault.read("auth/approle/role/basalt-lab-n9").is_ok());
}

#[test]
fn a_mount_of_somebody_else_is_left_alone() {
    let Some(setup) = Setup::new() else { return };
    let vault = &setup.vault;
    vault.write("sys/mounts/pki/lab", &json!({"type": "transit"})).unwrap();
    vault.write("sys/mounts/secret", &json!({"type": "kv", "options": {"version": "1"}})).unwrap();
    for verb in [["plan"].as_slice(), &["apply", "--yes", "--make-root"]] {
        let output = setup.xtask(verb);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("`pki/lab` is a mount of the type `transit`"), "{said}");
        assert!(said.contains("`secret` is a `kv` mount of version 1"), "{said}");
    }
    let mounts = vault.read("sys/auth").unwrap();
    assert_eq!(mounts["data"]["approle/"], json!(null));
}
