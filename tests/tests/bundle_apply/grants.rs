//! Rights: an administrator of the cluster gives what `cargo xtask bundle rbac` prints, and agents have nothing else.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::control_plane::ControlPlane;
use e2e::wait::until;

use crate::bench::{Lab, PATIENCE};
use crate::bundles::{Recipe, config_map, hello};

/// Somebody who administers the cluster.
pub(crate) struct Grants {
    xtask: PathBuf,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    file: PathBuf,
    given: RefCell<Given>,
}

#[derive(Default)]
struct Given {
    /// Bundles that rights were given for.
    bundles: Vec<PathBuf>,
    /// As it was applied.
    text: String,
}

impl Grants {
    pub(crate) fn new(xtask: PathBuf, kubectl: PathBuf, plane: &ControlPlane<'_>) -> Grants {
        Grants {
            xtask,
            kubectl,
            kubeconfig: plane.admin_kubeconfig(),
            file: plane.folder().join("rights.yaml"),
            given: RefCell::default(),
        }
    }

    /// Gives the rights for one more bundle. For what is no bundle there are none to give.
    pub(crate) fn add(&self, bundle: &Path) {
        let mut given = self.given.borrow_mut();
        let mut bundles = given.bundles.clone();
        bundles.push(bundle.to_owned());
        let printed = Command::new(&self.xtask)
            .args(["--quiet", "bundle", "rbac"])
            .args(&bundles)
            .output()
            .unwrap();
        if !printed.status.success() {
            return;
        }
        given.bundles = bundles;
        let text = String::from_utf8(printed.stdout).unwrap();
        if given.text == text {
            return;
        }
        fs::write(&self.file, &text).unwrap();
        let applied = Command::new(&self.kubectl)
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .args(["apply", "--server-side", "-f"])
            .arg(&self.file)
            .output()
            .unwrap();
        assert!(applied.status.success(), "{applied:?}");
        given.text = text;
    }
}

/// A role that gives others the right to read Secrets.
const READER: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: hello}
rules: [{apiGroups: [\"\"], resources: [secrets], verbs: [get]}]
";

#[test]
fn a_right_that_is_missing_is_named_with_what_to_do() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let refused = |text: &str| {
        let picture = n1.wait_for(text, |picture| {
            picture["state"] == "refused" && picture["problems"].to_string().contains(text)
        });
        let hint = picture["problems"][0]["hint"].as_str().unwrap_or_default();
        assert!(hint.contains("cargo xtask bundle rbac"), "{picture}");
        assert!(n1.status().contains("cargo xtask bundle rbac"), "{}", n1.status());
    };
    let first = lab.signer.sign(1, &hello());
    let baked = n1.bake(&first);
    n1.ask(1, &first, |_| {});
    let _service = n1.start();
    refused("cannot get resource \\\"configmaps\\\"");
    assert_eq!(lab.writes(), [] as [String; 0]);
    lab.grants().add(&baked);
    n1.wait_for_commit(&first);

    // A kind that was not there before, and a role that gives away what the agent does not have.
    let pod = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: limits, namespace: hello}\nspec: {limits: []}\n";
    let mut node_generation = 1;
    for (path, object, text) in [
        ("40-maps/limits.yaml", pod, "cannot list resource \\\"limitranges\\\""),
        ("10-access/reader.yaml", READER, "cannot list resource \\\"roles\\\""),
    ] {
        node_generation += 1;
        let writes = lab.writes().len();
        let next = lab.signer.sign(node_generation, &hello().with(path, object));
        let baked = n1.bake(&next);
        n1.ask(node_generation, &next, |_| {});
        refused(text);
        assert_eq!(lab.writes()[writes..], [] as [String; 0], "what is committed stays as it is");
        lab.plane.kubectl(&["delete", "configmap", "map-1", "-n", "hello"]).unwrap();
        until("what is committed to be kept up", PATIENCE, || {
            lab.names("configmaps").contains(&"map-1".to_owned()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", n1.status()));
        lab.grants().add(&baked);
        n1.wait_for_commit(&next);
    }

    // The right to write roles is not the right to give everything away.
    let greedy = READER.replace("[get]", "[get, delete]");
    let recipe: Recipe = hello().with("10-access/reader.yaml", &greedy);
    let next = lab.signer.sign(9, &recipe.with("40-maps/new.yaml", &config_map("new", "one")));
    let baked = n1.bake(&next);
    n1.ask(9, &next, |_| {});
    refused("attempting to grant RBAC permissions not currently held");
    assert!(!lab.names("configmaps").contains(&"new".to_owned()));
    lab.grants().add(&baked);
    n1.wait_for_commit(&next);
}

#[test]
fn agents_may_do_nothing_else() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let first = lab.signer.sign(1, &hello());
    n1.want(1, &first);
    let service = n1.start();
    // kubectl asks about kinds that there are.
    n1.wait_for_commit(&first);
    drop(service);
    let may = |question: &[&str]| {
        let who = ["--as=basalt:agent:n1", "--as-group=basalt:bundle-appliers"];
        // It exits with 1 for no.
        let answer = lab.plane.kubectl(&[&["auth", "can-i"], question, &who].concat());
        answer.is_ok_and(|said| said.trim() == "yes")
    };
    for question in [
        ["patch", "deployments.apps", "-n", "hello"].as_slice(),
        &["delete", "greetings.hello.example", "-n", "hello"],
        &["patch", "namespaces/hello"],
        &["patch", "customresourcedefinitions.apiextensions.k8s.io/greetings.hello.example"],
        &["update", "leases.coordination.k8s.io/basalt-bundle", "-n", "kube-system"],
    ] {
        assert!(may(question), "{question:?}");
    }
    for question in [
        ["patch", "deployments.apps", "-n", "default"].as_slice(),
        &["list", "configmaps", "-n", "default"],
        &["get", "secrets", "-n", "hello"],
        &["patch", "secrets", "-n", "kube-system"],
        &["update", "configmaps/extension-apiserver-authentication", "-n", "kube-system"],
        &["delete", "configmaps/basalt-bundle", "-n", "kube-system"],
        &["update", "leases.coordination.k8s.io/kube-scheduler", "-n", "kube-system"],
        &["delete", "namespaces/hello"],
        &["patch", "namespaces/default"],
        &["patch", "customresourcedefinitions.apiextensions.k8s.io/others.hello.example"],
        &["delete", "customresourcedefinitions.apiextensions.k8s.io/greetings.hello.example"],
        &["create", "clusterrolebindings.rbac.authorization.k8s.io"],
        &["escalate", "clusterroles.rbac.authorization.k8s.io"],
        &["create", "pods", "--subresource=exec", "-n", "hello"],
        &["impersonate", "users"],
    ] {
        assert!(!may(question), "{question:?}");
    }
}
