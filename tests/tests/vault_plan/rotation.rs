//! One authority takes the place of another.

use std::time::Duration;

use basalt_model::node::{MountReport, NodeReport};
use serde_json::{Value as Json, json};

use crate::setup::{Setup, text};

const MOUNT: &str = "pki/lab";

/// What nodes say, written with their own tokens.
fn report(setup: &Setup, node: &str, token: &str, trusts: &[&str], leaves: &[&str]) {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let said = MountReport { trusts: texts(trusts), leaves: texts(leaves) };
    let report = NodeReport { mounts: [(MOUNT.to_owned(), said)].into(), at: 1_795_280_478 };
    let path = format!("basalt/data/lab/nodes/{node}");
    let body = json!({"data": report});
    let answer = setup.vault.call("POST", &path, Some(token), Some(&body)).unwrap();
    answer.success().unwrap();
}

/// SHA-256 of the default issuer and of the others, as OpenBao's certificates have it.
fn fingerprints(setup: &Setup, mount: &str) -> (String, Vec<String>) {
    let list =
        setup.vault.call("LIST", &format!("{mount}/issuers"), Some(setup.vault.root_token()), None);
    let list = list.unwrap().success().unwrap()["data"].clone();
    let (mut default, mut others) = (String::new(), Vec::new());
    for (id, info) in list["key_info"].as_object().unwrap() {
        let issuer = setup.vault.read(&format!("{mount}/issuer/{id}")).unwrap();
        let fingerprint = fingerprint(&issuer["data"]["certificate"]);
        match info["is_default"].as_bool().unwrap() {
            true => default = fingerprint,
            false => others.push(fingerprint),
        }
    }
    (default, others)
}

fn fingerprint(pem: &Json) -> String {
    use base64::Engine;
    use sha2::Digest;
    let pem = pem.as_str().unwrap();
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    sha2::Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn rotate(setup: &Setup, mount: &str, step: &str) -> (Option<i32>, String, String) {
    let step = if step.is_empty() { vec![] } else { vec!["--yes", "--step", step] };
    let output = setup.xtask(&[["rotate-ca", mount].as_slice(), &step].concat());
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn each_step_waits_for_the_fleet() {
    let Some(setup) = Setup::applied() else { return };
    let nodes = ["n1", "n2", "n3"];
    let tokens = nodes.map(|node| setup.log_in(node));
    let all = |trusts: &[&str], leaves: &[&str], of: &[usize]| {
        for &index in of {
            report(&setup, nodes[index], &tokens[index], trusts, leaves);
        }
    };
    assert_eq!(rotate(&setup, MOUNT, "").0, Some(0));
    let (old, others) = fingerprints(&setup, MOUNT);
    assert!(others.is_empty());
    let early = rotate(&setup, MOUNT, "drop");
    assert_eq!(early.0, Some(1));
    assert!(early.2.contains("this is not the time for `drop`"), "{early:?}");

    // Issuers are told apart by their age in seconds.
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(rotate(&setup, MOUNT, "add").0, Some(0));
    let (default, others) = fingerprints(&setup, MOUNT);
    assert_eq!(default, old);
    let new = others[0].clone();
    let (status, shown, _) = rotate(&setup, MOUNT, "");
    assert_eq!(status, Some(3));
    assert!(shown.contains("n2    -       -     never"), "{shown}");

    all(&[&old], &[&old], &[0, 1]);
    all(&[&old, &new], &[&old], &[0]);
    let (status, shown, said) = rotate(&setup, MOUNT, "switch");
    assert_eq!(status, Some(1));
    assert!(shown.contains("n1    current, new  current"), "{shown}");
    assert_eq!(
        said,
        "error: `n2` does not trust the new authority yet\n\
         error: `n3` has never reported; is its agent running, and may it write to Vault?\n"
    );
    assert_eq!(fingerprints(&setup, MOUNT).0, old);
    all(&[&old, &new], &[&old], &[1, 2]);
    assert_eq!(rotate(&setup, MOUNT, "switch").0, Some(0));
    assert_eq!(fingerprints(&setup, MOUNT), (new.clone(), vec![old.clone()]));

    all(&[&old, &new], &[&new], &[0, 2]);
    let (status, _, said) = rotate(&setup, MOUNT, "drop");
    assert_eq!(status, Some(1));
    assert_eq!(said, "error: `n2` still uses a certificate of the old authority\n");
    assert_eq!(fingerprints(&setup, MOUNT).1, std::slice::from_ref(&old));
    all(&[&old, &new], &[&new], &[1]);
    assert_eq!(rotate(&setup, MOUNT, "drop").0, Some(0));
    assert_eq!(fingerprints(&setup, MOUNT), (new, vec![]));
    let keys = setup.vault.call("LIST", "pki/lab/keys", Some(setup.vault.root_token()), None);
    assert_eq!(keys.unwrap().body["data"]["keys"].as_array().unwrap().len(), 1);
    assert_eq!(rotate(&setup, MOUNT, "").0, Some(0));
    // Nodes still get what they need.
    assert_eq!(setup.sign(&tokens[0], "n1", &["n1"]).0, 200);
    assert_eq!(setup.xtask(&["plan"]).status.code(), Some(0));
}

/// The authority of identities is trusted by Vault itself: the roles that nodes log in with have to know the new one.
#[test]
fn identities_of_both_authorities_log_in_meanwhile() {
    let Some(setup) = Setup::applied() else { return };
    let mount = "pki/lab-identities";
    let role = "basalt-lab-nodes-controller";
    let before = setup.identity("n1");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(rotate(&setup, mount, "add").0, Some(0));
    let (status, _, said) = rotate(&setup, mount, "switch");
    assert_eq!(status, Some(1));
    assert!(
        said.contains("does not know the new authority; run `cargo xtask vault apply`"),
        "{said}"
    );
    let plan = setup.xtask(&["plan"]);
    let plan = text(&plan.stdout);
    let change = plan.lines().find_map(|line| line.trim().strip_prefix("certificate: sha256 "));
    let (old, new) = change.unwrap().split_once(" -> sha256 ").unwrap();
    assert!(new.starts_with(&format!("{old}, ")), "{plan}");
    assert_eq!(setup.xtask(&["apply", "--yes"]).status.code(), Some(0));
    assert_eq!(rotate(&setup, mount, "switch").0, Some(0));
    let after = setup.identity("n1");
    for identity in [&before, &after] {
        assert_eq!(setup.vault.log_in("cert", role, identity).unwrap().status, 200);
    }
    let nobody = rotate(&setup, "pki/other", "");
    assert_eq!(nobody.0, Some(1));
    assert!(nobody.2.contains("the cluster has pki/lab, pki/lab-identities"), "{nobody:?}");
}
