//! The secret of a first login.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::setup::{Setup, request, text, token_in};

#[test]
fn a_secret_works_once_and_for_its_node_alone() {
    let Some(setup) = Setup::applied() else { return };
    let vault = &setup.vault;
    let token = setup.wrap("n1");
    let file = setup.folder.path().join("n1.ign");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let seen = vault.call("POST", "sys/wrapping/lookup", None, Some(&json!({"token": token})));
    let seen = seen.unwrap().success().unwrap();
    assert_eq!(seen["data"]["creation_path"], "auth/approle/role/basalt-lab-n1/secret-id");
    assert_eq!(seen["data"]["creation_ttl"], 7200);

    let unwrap = || vault.call("POST", "sys/wrapping/unwrap", Some(&token), None).unwrap();
    let secret_id = unwrap().success().unwrap()["data"]["secret_id"].clone();
    assert_eq!(unwrap().status, 400);
    let log_in = |role_id: &str| {
        let body = json!({"role_id": role_id, "secret_id": secret_id});
        vault.call("POST", "auth/approle/login", None, Some(&body)).unwrap()
    };
    // Not as another node, also not after that as the right one: it would be used up if it had been looked at.
    assert_eq!(log_in("basalt-lab-n2").status, 400);
    let login = log_in("basalt-lab-n1").success().unwrap();
    assert_eq!(log_in("basalt-lab-n1").status, 400);

    let token = login["auth"]["client_token"].as_str().unwrap();
    let sign = |path: &str, name: &str, names: &[&str]| {
        let body = json!({"csr": request(name, names).0, "common_name": name});
        vault.call("POST", path, Some(token), Some(&body)).unwrap().status
    };
    let identities = "pki/lab-identities/sign/node";
    assert_eq!(sign(identities, "n2", &[]), 400);
    assert_eq!(sign(identities, "n1", &["n2"]), 400);
    assert_eq!(sign(identities, "N2", &[]), 400);
    assert_eq!(sign("pki/lab/sign/node", "n1", &[]), 403);
    assert_eq!(sign(identities, "n1", &[]), 200);
    let secret = vault.call("GET", "secret/data/lab/app", Some(token), None).unwrap();
    assert_eq!(secret.status, 403);
}

/// Two nodes that log in for the first time at once are still two.
#[test]
fn first_logins_at_once_stay_apart() {
    let Some(setup) = Setup::applied() else { return };
    let tokens = [setup.enrol("n1"), setup.enrol("n2")];
    for (token, (own, other)) in tokens.iter().zip([("n1", "n2"), ("n2", "n1")]) {
        let sign = |name: &str| {
            let body = json!({"csr": request(name, &[]).0, "common_name": name});
            let path = "pki/lab-identities/sign/node";
            setup.vault.call("POST", path, Some(token), Some(&body)).unwrap().status
        };
        assert_eq!((sign(other), sign(own)), (400, 200));
    }
}

#[test]
fn whoever_makes_secrets_needs_no_more_right_than_that() {
    let Some(setup) = Setup::applied() else { return };
    let policies = json!({"policies": ["basalt-lab-wrap"], "no_default_policy": true});
    let made = setup.vault.write("auth/token/create", &policies).unwrap();
    let token = made["auth"]["client_token"].as_str().unwrap();
    let file = setup.folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let wrap = |node: &str| {
        let token = file.to_str().unwrap();
        let command = ["wrap", node, "--output", "-", "--token-file", token];
        setup.command(&command).output().unwrap()
    };
    let wrapped = wrap("n3");
    assert_eq!(wrapped.status.code(), Some(0), "{}", text(&wrapped.stderr));
    assert!(!token_in(&wrapped.stdout).is_empty());
    // Without a wrapping, the secret would lie open.
    let path = "auth/approle/role/basalt-lab-n3/secret-id";
    let open = setup.vault.call("POST", path, Some(token), Some(&json!({}))).unwrap();
    assert_eq!(open.status, 403, "{:?}", open.body["errors"]);

    // What belongs into the file of a node that runs, and nothing else.
    let bare = setup.folder.path().join("n3.token");
    let ask = ["wrap", "n3", "--bare", "--output", bare.to_str().unwrap(), "--token-file"];
    let output = setup.command(&[ask.as_slice(), &[file.to_str().unwrap()]].concat()).output();
    assert_eq!(output.unwrap().status.code(), Some(0));
    assert_eq!(bare.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&bare).unwrap();
    let unwrapped = setup.vault.call("POST", "sys/wrapping/unwrap", Some(token.trim()), None);
    assert!(unwrapped.unwrap().success().unwrap()["data"]["secret_id"].is_string());

    let nobody = wrap("n9");
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("there is no node `n9`; the nodes are n1, n2, n3"));
    let there = setup.folder.path().join("there");
    std::fs::write(&there, "kept").unwrap();
    let kept = setup.xtask(&["wrap", "n1", "--output", there.to_str().unwrap()]);
    assert_eq!(kept.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "kept");
}

/// A secret that is made and cannot be handed over is lost, and looks like a stolen one.
#[test]
fn nothing_is_wrapped_that_cannot_be_written() {
    let Some(setup) = Setup::applied() else { return };
    let wrapped = || {
        let requests = setup.vault.requests().unwrap();
        requests.iter().filter(|request| request.path.ends_with("/secret-id")).count()
    };
    let folder = setup.folder.path().join("closed");
    std::fs::create_dir(&folder).unwrap();
    let refuse = |file: &std::path::Path, expected: &str| {
        let refused = setup.xtask(&["wrap", "n1", "--force", "--output", file.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(text(&refused.stderr).contains(expected), "{refused:?}");
    };
    refuse(&folder, "is a folder; name a file in it");
    refuse(&folder.join("missing/n1.ign"), "cannot write `");
    // Nobody may write there, not even root.
    refuse(std::path::Path::new("/proc/self/n1.ign"), "cannot write `/proc/self/n1.ign`");
    assert_eq!(wrapped(), 0);

    let file = folder.join("n1.ign");
    let made = setup.xtask(&["wrap", "n1", "--output", file.to_str().unwrap()]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert_eq!(wrapped(), 1);
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    assert_eq!(names, [file]);
}

#[test]
fn a_secret_goes_into_a_finished_build() {
    let Some(setup) = Setup::applied() else { return };
    let dist = setup.folder.path().join("dist");
    let config =
        json!({"ignition": {"version": "3.3.0"}, "storage": {"files": [{"path": "/etc/a"}]}});
    let row = |path: &str, kind: &str| json!({"path": path, "kind": kind, "node": "n1", "sha256": "0", "size": 0});
    let paths = ["nodes/n1/config.ign", "pxe/ignition/n1.ign"];
    for path in paths {
        let path = dist.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, config.to_string()).unwrap();
    }
    let rows = [row(paths[0], "ignition"), row(paths[1], "pxe-ignition")];
    let manifest = json!({"schema": 1, "inputs": "x", "artefacts": rows});
    std::fs::write(dist.join("manifest.json"), manifest.to_string()).unwrap();

    let into = |node: &str| setup.xtask(&["wrap", node, "--into", dist.to_str().unwrap()]);
    let mut before = String::new();
    for _ in 0..2 {
        let output = into("n1");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let tokens = paths.map(|path| {
            let path = dist.join(path);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            token_in(&std::fs::read(path).unwrap())
        });
        assert_eq!(tokens[0], tokens[1]);
        assert_ne!(tokens[0], before);
        before.clone_from(&tokens[0]);
    }
    let manifest = std::fs::read(dist.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let size = dist.join(paths[0]).metadata().unwrap().len();
    assert_eq!(manifest["artefacts"][0]["size"], size);
    let missing = into("n2");
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("has no Ignition config of `n2`"), "{missing:?}");
}
