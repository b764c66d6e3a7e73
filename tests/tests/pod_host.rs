//! The lab's kubelet and containerd: a static pod starts and serves, and goes when its manifest goes.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::Duration;

use e2e::images::{self, Recipe};
use e2e::namespaces::Machine;
use e2e::peers::peer;
use e2e::pod_host::{MANIFESTS, PodHost};
use e2e::tree::Tree;
use e2e::wait::until;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_static_pod_starts_serves_and_goes() {
    let Some(tree) = Tree::debian() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (Some(host), Some(busybox)) = (PodHost::new(folder.path()), peer("busybox")) else {
        return;
    };
    let recipe = Recipe::of_busybox(
        "web",
        "1",
        &["sh", "httpd"],
        &["/usr/bin/httpd", "-f", "-p", "127.0.0.1:8099", "-h", "/etc"],
    );
    let web = images::make(&recipe, &busybox, folder.path()).unwrap();
    host.equip(&tree, "n1", "127.0.0.1").unwrap();
    let machine = Machine::boot(tree).unwrap();
    host.start_containerd(&machine, &[&web]).unwrap();
    host.start_kubelet(&machine).unwrap();

    let manifest = format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: kube-system}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
    - name: web
      image: {}
      imagePullPolicy: Never
",
        web.reference()
    );
    let folder = machine.root().join(MANIFESTS.trim_start_matches('/'));
    fs::write(folder.join(".web.yaml"), manifest).unwrap();
    fs::rename(folder.join(".web.yaml"), folder.join("web.yaml")).unwrap();
    let get = || machine.output(&["curl", "-fsS", "http://127.0.0.1:8099/passwd"]);
    if let Err(error) = until("the pod to serve", LIMIT, || get().ok()) {
        let journal = machine.run(&["journalctl", "--no-pager", "-n80", "-u", "kubelet"]).unwrap();
        panic!("{error}\n{}", String::from_utf8_lossy(&journal.stdout));
    }
    fs::remove_file(folder.join("web.yaml")).unwrap();
    until("the pod to go", LIMIT, || get().is_err().then_some(())).unwrap();
}
