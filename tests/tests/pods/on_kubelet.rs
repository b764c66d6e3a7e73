//! Rendered pods on the real kubelet and containerd: haproxy with people's own pod behind it, and how haproxy ends when
//! the kubelet stops it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use basalt_model::node::{HealthCheck, Node, OwnPod, OwnPodFile, ProxyMode, Server};
use basalt_static_pods::{StaticPod, render};
use e2e::images::{self, PodImage, Recipe};
use e2e::namespaces::Machine;
use e2e::needs::lab_or_skip;
use e2e::peers::peer;
use e2e::pod_host::{MANIFESTS, PodHost};
use e2e::tree::Tree;
use e2e::wait::until;

use crate::haproxy::loopback;
use crate::lab;

const LIMIT: Duration = Duration::from_secs(90);
const PORT: u16 = 8080;
const WEB_PORT: u16 = 8099;

/// A web server for what is in its folder of config files, as somebody would write it.
fn web(image: &PodImage) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: kube-system}}
spec:
  hostNetwork: true
  priority: 2000001000
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: {}
    imagePullPolicy: Never
    command: [httpd, -f, -p, \"127.0.0.1:{WEB_PORT}\", -h, /etc/basalt/pods/web]
    ports: [{{containerPort: {WEB_PORT}, hostPort: {WEB_PORT}, hostIP: 127.0.0.1}}]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {{drop: [ALL]}}
    readinessProbe:
      httpGet: {{host: 127.0.0.1, port: {WEB_PORT}, path: /index.html}}
    volumeMounts: [{{name: config, mountPath: /etc/basalt/pods/web, readOnly: true}}]
  volumes: [{{name: config, hostPath: {{path: /etc/basalt/pods/web, type: Directory}}}}]
",
        image.reference()
    )
}

/// The lab's node with these two pods alone.
fn node(haproxy_image: &PodImage, web_image: &PodImage) -> Node {
    let mut node = lab("n1");
    (node.keepalived, node.vault_agent) = (None, None);
    let haproxy = node.haproxy.as_mut().unwrap();
    haproxy.image = haproxy_image.reference().parse().unwrap();
    (haproxy.max_connections, haproxy.drain_seconds) = (100, 20);
    haproxy.frontends.truncate(1);
    let frontend = &mut haproxy.frontends[0];
    (frontend.mode, frontend.check) = (ProxyMode::Tcp, HealthCheck::connect());
    frontend.binds = vec![loopback(PORT)];
    frontend.servers = vec![Server::new("web".parse().unwrap(), loopback(WEB_PORT))];
    node.pods = vec![OwnPod {
        name: "web".parse().unwrap(),
        source: "pods/web.yaml".parse().unwrap(),
        manifest: web(web_image),
        files: vec![OwnPodFile {
            name: "index.html".parse().unwrap(),
            contents: "carried".to_owned(),
            mode: "0644".parse().unwrap(),
        }],
        capabilities: Vec::new(),
        is_privileged: false,
    }];
    node
}

/// As the agent does: config files first, then the manifest, whole.
fn put(machine: &Machine, pod: &StaticPod) {
    for file in &pod.files {
        let path = machine.root().join(file.path.as_str().trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &file.contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).unwrap();
    }
    let folder = machine.root().join(MANIFESTS.trim_start_matches('/'));
    let beside = folder.join(format!(".{}.yaml", pod.name));
    fs::write(&beside, &pod.manifest).unwrap();
    fs::rename(beside, folder.join(format!("{}.yaml", pod.name))).unwrap();
}

#[test]
fn a_stopped_haproxy_lets_downloads_end() {
    if !lab_or_skip() {
        return;
    }
    let (Some(haproxy), Some(busybox), Some(_)) = (peer("haproxy"), peer("busybox"), peer("curl"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (Some(host), Some(tree)) = (PodHost::new(folder.path()), Tree::debian()) else { return };
    let make = |recipe: Recipe<'_>| images::make(&recipe, &busybox, folder.path()).unwrap();
    let haproxy = make(Recipe {
        name: "haproxy",
        tag: "2.6",
        programs: &[&haproxy],
        applets: &["sh", "rm", "sleep"],
        entrypoint: &["haproxy"],
    });
    let web = make(Recipe::of_busybox("web", "1", &["httpd"], &["httpd"]));
    host.equip(&tree, "n1", "127.0.0.1").unwrap();
    let machine = Machine::boot(tree).unwrap();
    host.start_containerd(&machine, &[&haproxy, &web]).unwrap();
    let pods = render(&node(&haproxy, &web)).unwrap();
    pods.iter().for_each(|pod| put(&machine, pod));
    host.start_kubelet(&machine).unwrap();

    let big = machine.root().join("etc/basalt/pods/web/big");
    fs::write(big, vec![b'x'; 60_000_000]).unwrap();
    let url = |path: &str| format!("http://127.0.0.1:{PORT}/{path}");
    let ask = || machine.output(&["curl", "-fsS", "--max-time", "5", &url("index.html")]);
    let found = until("haproxy and what is behind it", LIMIT, || ask().ok());
    let found = found.unwrap_or_else(|error| {
        let look = "journalctl --no-pager -n40 -u kubelet; tail -n20 /var/log/pods/*/*/*.log";
        let seen = machine.run(&["sh", "-c", look]).unwrap();
        panic!("{error}\n{}", String::from_utf8_lossy(&seen.stdout));
    });
    assert_eq!(found, "carried");

    // Some seconds of download, more than all buffers on the way hold.
    let download = format!(
        "curl -fsS --limit-rate 8M --max-time 60 -o /dev/null -w '%{{size_download}}' {} > /srv/size 2>/srv/error; echo $? > /srv/code",
        url("big")
    );
    machine.output(&["systemd-run", "--unit=download", "sh", "-c", &download]).unwrap();
    let at_haproxy = || {
        let seen = machine.output(&["ss", "-Htn", "state", "established"]).ok()?;
        seen.contains(&format!(":{PORT}")).then_some(())
    };
    until("the download to begin", LIMIT, at_haproxy).unwrap();
    fs::remove_file(machine.root().join("etc/kubernetes/manifests/haproxy.yaml")).unwrap();
    until("closed ports", LIMIT, || ask().is_err().then_some(())).unwrap();
    let code = machine.root().join("srv/code");
    assert!(!code.exists(), "the download was over too soon to show anything");
    until("the end of the download", LIMIT, || code.exists().then_some(())).unwrap();
    let read = |name: &str| fs::read_to_string(machine.root().join("srv").join(name)).unwrap();
    assert_eq!((read("code").trim(), read("size").trim()), ("0", "60000000"), "{}", read("error"));
    let gone = || {
        let listed = machine.output(&["ctr", "-n", "k8s.io", "tasks", "list", "-q"]).ok()?;
        (listed.lines().count() == 2).then_some(())
    };
    until("the end of the container", LIMIT, gone).unwrap();
}
