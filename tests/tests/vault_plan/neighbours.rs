//! Two clusters in one Vault: neither may be taken for the other.

use std::process::Output;

use serde_json::json;

use crate::setup::{Setup, text, token_of};

/// The lab's file with changes, beside it.
fn another(setup: &Setup, changes: &[(&str, &str)]) -> String {
    let mut cluster = std::fs::read_to_string(&setup.cluster).unwrap();
    for (from, to) in changes {
        assert!(cluster.contains(from), "{from}");
        cluster = cluster.replace(from, to);
    }
    let file = setup.folder.path().join("another.yaml");
    std::fs::write(&file, cluster).unwrap();
    file.to_str().unwrap().to_owned()
}

const NAME: (&str, &str) = ("name: lab\n", "name: other\n");
const IDENTITIES: (&str, &str) = ("mount: pki/lab-identities", "mount: pki/other-identities");
const CERTIFICATES: (&str, &str) = ("mount: pki/lab\n", "mount: pki/other\n");

#[test]
fn a_node_is_no_node_of_another_cluster() {
    let Some(setup) = Setup::applied() else { return };
    let run = |verb: &[&str], changes: &[(&str, &str)]| -> Output {
        setup.xtask_for(&another(&setup, changes), verb)
    };
    let apply = ["apply", "--yes", "--make-root"].as_slice();

    // Its identities would be signed by the lab's authority, with the names that the lab's nodes have.
    for verb in [["plan"].as_slice(), apply] {
        let refused = run(verb, &[NAME]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = text(&refused.stderr);
        assert!(
            said.contains("`pki/lab-identities` signs the identities of the cluster `lab` too, and `auth/cert/certs/basalt-lab-nodes-controller` takes `n1`, `n2`, `n3`"),
            "{said}"
        );
        assert!(said.contains("`vault.auth.node.pki.mount`"), "{said}");
    }
    let policies =
        setup.vault.call("LIST", "sys/policies/acl", Some(setup.vault.root_token()), None);
    let policies = policies.unwrap().success().unwrap()["data"]["keys"].to_string();
    assert!(!policies.contains("basalt-other"), "{policies}");

    // Nodes of other names: said, and not refused. So is a PKI role that both use.
    let renamed = [
        NAME,
        ("name: n1\n", "name: m1\n"),
        ("name: n2\n", "name: m2\n"),
        ("name: n3\n", "name: m3\n"),
    ];
    let plan = run(&["plan"], &renamed);
    assert_eq!(plan.status.code(), Some(3), "{plan:?}");
    let shown = text(&plan.stdout);
    assert!(
        shown.contains("note: `pki/lab-identities` signs the identities of the cluster `lab` too"),
        "{shown}"
    );
    assert!(shown.contains("note: `pki/lab/roles/node` is used by the cluster `lab` too (policy `basalt-lab-nodes-controller`)"), "{shown}");

    // The lab's own names.
    let same_names =
        [NAME, ("    node:\n      pki:", "    node:\n      prefix: basalt-lab\n      pki:")];
    let refused = run(&["plan"], &same_names);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(
        said.contains("the policy `basalt-lab-enrolment` is that of the cluster `lab`"),
        "{said}"
    );

    // A cluster of the same name, elsewhere.
    let namesake = &renamed[1..];
    let plan = run(&["plan"], namesake);
    assert_eq!(plan.status.code(), Some(3), "{plan:?}");
    let shown = text(&plan.stdout);
    assert!(shown.contains("is another cluster called `lab` too?"), "{shown}");

    // Each with mounts of its own, in the same methods.
    let own = [NAME, IDENTITIES, CERTIFICATES];
    let applied = run(apply, &own);
    assert_eq!(applied.status.code(), Some(0), "{applied:?}");
    for again in [run(&["plan"], &own), setup.xtask(&["plan"])] {
        assert_eq!((again.status.code(), text(&again.stdout).as_str()), (Some(0), ""), "{again:?}");
    }
    let identity = setup.identity("n1");
    let log_in = |role: &str| setup.vault.log_in("cert", role, &identity).unwrap();
    token_of(&log_in("basalt-lab-nodes-controller").success().unwrap());
    assert_eq!(log_in("basalt-other-nodes-controller").status, 400);

    // What the other cluster had before it was told apart is found from both sides, and lets `n1` in.
    let path = "auth/cert/certs/basalt-other-nodes-controller";
    let mut role = setup.vault.read(path).unwrap()["data"].clone();
    let trusted = setup.vault.read("auth/cert/certs/basalt-lab-nodes-controller").unwrap();
    role["certificate"] = trusted["data"]["certificate"].clone();
    setup.vault.write(path, &role).unwrap();
    token_of(&log_in("basalt-other-nodes-controller").success().unwrap());
    let refused = setup.xtask(&["plan"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = text(&refused.stderr);
    assert!(said.contains("signs the identities of the cluster `other` too"), "{said}");
    // Its remedy: `apply` of the cluster that has a mount of its own.
    assert_eq!(run(apply, &own).status.code(), Some(0));
    assert_eq!(setup.xtask(&["plan"]).status.code(), Some(0));
}

#[test]
fn what_is_left_of_a_cluster_is_not_that_of_its_neighbour() {
    let Some(setup) = Setup::applied() else { return };
    let role = |name: &str, policies: &[&str]| {
        let path = format!("auth/approle/role/{name}");
        setup.vault.write(&path, &json!({"token_policies": policies})).unwrap();
    };
    role("basalt-lab-2-n1", &["basalt-lab-2-enrolment"]);
    role("basalt-lab-n9", &["basalt-lab-enrolment"]);
    let plan = setup.xtask(&["plan"]);
    let expected = "note: `auth/approle/role/basalt-lab-n9` belongs to no node of the cluster any more; delete it\n";
    assert_eq!((plan.status.code(), text(&plan.stdout).as_str()), (Some(0), expected), "{plan:?}");
}
