//! What Podman's files become, judged by the kubelet's own file source; and the command line that makes it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use basalt_model::report::Report;
use basalt_model::yaml::{self, Yaml, parse};
use basalt_static_pods::import::{Reference, Source, Unread, import};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use e2e::peers::peer;
use e2e::programs::xtask;
use serde_json::{Value, json};

/// The files that the import's own tests are about.
fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../static-pods/tests/import")
}

/// Every manifest of every case, by its path.
fn manifests() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for case in ["host", "units", "compose", "project"] {
        for entry in fs::read_dir(cases().join(case).join("expected/pods")).unwrap() {
            let path = entry.unwrap().path();
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

#[test]
fn the_kubelet_takes_what_is_made() {
    let Some(kubelet) = peer("kubelet-file") else { return };
    let manifests = manifests();
    assert!(manifests.len() >= 10, "{}", manifests.len());
    let mut process = Command::new(&kubelet.program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    for (_, text) in &manifests {
        let file = json!({"name": "pod.yaml", "bytes": BASE64_STANDARD.encode(text)});
        writeln!(input, "{}", json!([file])).unwrap();
    }
    drop(input);
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), manifests.len());
    for ((file, _), answer) in manifests.iter().zip(answers) {
        // A folder with one file: nothing refused, nothing dropped, the pod admitted.
        assert_eq!(answer, json!([{}]), "{file}");
    }
}

/// Podman's own generator turns quadlets into units that run podman. What those become is what the quadlets become.
#[test]
fn quadlets_mean_what_podman_makes_of_them() {
    let Some(quadlet) = peer("quadlet") else { return };
    let files = cases().join("host/files");
    let output = Command::new(&quadlet.program)
        .args(["-dryrun", "-no-kmsg-log"])
        .env("QUADLET_UNIT_DIRS", &files)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let generated = String::from_utf8(output.stdout).unwrap();
    // Each unit begins with a line with its name.
    let units: Vec<(String, String)> = generated
        .split("\n---")
        .filter_map(|text| text.trim_start_matches("---").split_once("---\n"))
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect();
    let of_podman = containers(&units);
    let mut quadlets = Vec::new();
    for folder in [files.clone(), files.join("haproxy.container.d")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let text = fs::read_to_string(&path).unwrap();
                quadlets.push((path.display().to_string(), text));
            }
        }
    }
    let of_ours = containers(&quadlets);
    assert!(of_ours.len() >= 7, "{of_ours:#?}");
    for (name, container) in &of_ours {
        assert_eq!(Some(container), of_podman.get(name), "{name}");
    }
    assert_eq!(of_ours.len(), of_podman.len());
}

/// The containers of all pods by name, without what has another name on purpose: podman calls pods, containers and
/// volumes `systemd-NAME` where a file does not name them.
fn containers(files: &[(String, String)]) -> BTreeMap<String, Value> {
    let sources: Vec<Source<'_>> = files.iter().map(|(name, text)| Source { name, text }).collect();
    let root = cases().join("host/system");
    let mut read = |reference: Reference<'_>| {
        let path = root.join(reference.path.trim_start_matches('/'));
        fs::read_to_string(path).map_err(Unread::from)
    };
    let imported = import(&sources, &mut read);
    let mut found = BTreeMap::new();
    for pod in imported.pods {
        let tree = parse(pod.manifest.as_bytes(), &mut Report::new(&pod.name)).unwrap();
        let manifest = json(&tree.first.unwrap());
        let spec = &manifest["spec"];
        for container in spec["containers"].as_array().unwrap() {
            let mut container = container.clone();
            let name =
                container["name"].as_str().unwrap().trim_start_matches("systemd-").to_owned();
            container["name"] = name.as_str().into();
            for mount in container["volumeMounts"].as_array_mut().into_iter().flatten() {
                mount.as_object_mut().unwrap().remove("name");
            }
            // Options come in another order than keys.
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.sort_by_key(|mount| mount["mountPath"].to_string());
            }
            container["restartPolicy"] = spec["restartPolicy"].clone();
            container["grace"] = spec["terminationGracePeriodSeconds"].clone();
            container["pid"] = spec["hostPID"].clone();
            container["aliases"] = spec["hostAliases"].clone();
            container["dns"] = spec["dnsConfig"].clone();
            found.insert(name, container);
        }
    }
    let text = serde_json::to_string(&found).unwrap().replace("systemd-", "");
    serde_json::from_str(&text).unwrap()
}

/// What we print is plain enough to be told apart by its quotes.
fn json(yaml: &Yaml) -> Value {
    match &yaml.resolved().value {
        yaml::Value::Scalar(scalar) => scalar.text.as_str().into(),
        yaml::Value::List(items) => items.iter().map(json).collect(),
        yaml::Value::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.as_scalar().unwrap().text.clone(), json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        yaml::Value::Alias(_) => Value::Null,
    }
}

/// A folder with files to import.
struct Bench {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Option<Bench> {
        let program = xtask()?;
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Some(Bench { program, folder })
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], status: i32) -> (String, String) {
        let Output { status: ended, stdout, stderr } = Command::new(&self.program)
            .current_dir(self.folder.path())
            .args(["pods", "import"])
            .args(arguments)
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        assert_eq!(ended.code(), Some(status), "{stdout}\n{stderr}");
        (stdout, stderr)
    }

    fn exists(&self, path: &str) -> bool {
        self.folder.path().join(path).exists()
    }

    /// What was written to `out` passes the linter of the same program.
    #[track_caller]
    fn lint_what_was_written(&self) {
        let lint = Command::new(&self.program)
            .current_dir(self.folder.path())
            .args(["pods", "lint", "out/pods"])
            .output()
            .unwrap();
        assert!(lint.status.success(), "{lint:?}");
    }
}

const DIGEST: &str = "sha256:0df48fafe8077448f0d8a202c1c2afb448b02d8821a59dabc7af7f55977dc6ca";

fn quadlet(more: &str) -> String {
    format!(
        "[Container]\nImage=registry.lab.example/web@{DIGEST}\nNetwork=host\n{more}\n[Service]\nRestart=always\n"
    )
}

#[test]
fn a_stream_and_a_report() {
    let quadlet = quadlet("");
    let Some(bench) = Bench::new(&[("web.container", &quadlet)]) else { return };
    let (out, report) = bench.run(&["web.container", "--role", "controller"], 0);
    assert!(out.starts_with("# cluster-pods.yaml\npods:\n- name: web\n"), "{out}");
    assert!(out.contains("---\n# pods/web.yaml\napiVersion: v1\nkind: Pod\n"), "{out}");
    assert_eq!(report, "1 pod: 3 settings carried, 0 changed, 0 lost, 0 broken\n");
    let (_, report) = bench.run(&["web.container", "--verbose"], 0);
    assert!(report.contains("web.container:3:1: carried: Container.Network: "), "{report}");
}

#[test]
fn a_folder_of_files_that_stays_as_it_is_without_force() {
    let quadlet = quadlet("EnvironmentFile=/etc/web.env\n");
    let files = [
        ("in/web.container", quadlet.as_str()),
        ("in/web.container.d/10.conf", "[Container]\nStopTimeout=3\n"),
        ("in/README", "no unit"),
        ("in/cron.service", "[Service]\nExecStart=/usr/sbin/cron\n"),
        ("root/etc/web.env", "COLOR=blue\n"),
    ];
    let Some(bench) = Bench::new(&files) else { return };
    let (report, rest) = bench.run(&["in", "--root", "root", "-o", "out"], 0);
    assert!(report.contains("1 pod: "), "{report}");
    assert_eq!(rest, "passed over: in/README\npassed over: in/cron.service\n");
    let manifest = fs::read_to_string(bench.folder.path().join("out/pods/web.yaml")).unwrap();
    assert!(manifest.contains("value: blue"), "{manifest}");
    assert!(manifest.contains("terminationGracePeriodSeconds: 3"), "{manifest}");
    assert!(bench.exists("out/cluster-pods.yaml"));
    let (_, error) = bench.run(&["in", "--root", "root", "-o", "out"], 1);
    assert!(error.contains("exists, and nothing was written"), "{error}");
    bench.run(&["in", "--root", "root", "-o", "out", "--force"], 0);
    bench.lint_what_was_written();
}

/// A folder with a compose file, and that file alone, are both what `docker compose` itself would run there.
#[test]
fn a_compose_project_with_its_override() {
    let image =
        format!("image: registry.lab.example/web@{DIGEST}, network_mode: host, restart: always");
    let compose =
        format!("services: {{web: {{{image}, extends: {{file: base/web.yaml, service: web}}}}}}\n");
    let files = [
        ("in/base/web.yaml", "services: {web: {command: [base], environment: {COLOR: blue}}}\n"),
        ("in/compose.yaml", compose.as_str()),
        ("in/compose.override.yaml", "services: {web: {environment: [COLOR=red]}}\n"),
        ("in/docker-compose.prod.yml", "services: {web: {environment: [COLOR=green]}}\n"),
    ];
    let Some(bench) = Bench::new(&files) else { return };
    let (whole, report) = bench.run(&["in"], 0);
    assert!(whole.contains("value: red") && whole.contains("- base"), "{whole}");
    assert!(report.starts_with("passed over: in/docker-compose.prod.yml\n1 pod: "), "{report}");
    let (alone, _) = bench.run(&["in/compose.yaml"], 0);
    assert_eq!(alone, whole);
    let (named, report) =
        bench.run(&["in/compose.yaml", "in/docker-compose.prod.yml", "--verbose"], 0);
    assert!(named.contains("value: green"), "{named}");
    let replaced = "in/base/web.yaml:1:49: carried: services.web.environment.COLOR: a later file";
    assert!(report.contains(replaced), "{report}");
}

/// A `.env` says which files are the project; the files of configs are written beside the manifests.
#[test]
fn a_compose_project_by_its_env() {
    let image =
        format!("image: registry.lab.example/web@{DIGEST}, network_mode: host, restart: always");
    let compose = format!(
        "services: {{web: {{{image}, configs: [site]}}, tool: {{{image}, profiles: [tools]}}}}\nconfigs: {{site: {{file: site.conf}}}}\n"
    );
    let files = [
        ("in/.env", "COMPOSE_FILE=compose.yaml:deploy/prod.yaml\nCOMPOSE_PROFILES=tools\n"),
        ("in/compose.yaml", compose.as_str()),
        ("in/compose.override.yaml", "services: {web: {command: [override]}}\n"),
        ("in/deploy/prod.yaml", "services: {web: {command: [prod]}}\n"),
        ("in/site.conf", "listen 80;\n"),
    ];
    let Some(bench) = Bench::new(&files) else { return };
    let (whole, report) = bench.run(&["in"], 0);
    assert!(whole.contains("- prod") && !whole.contains("- override"), "{whole}");
    assert!(whole.contains("# pods/tool.yaml"), "{whole}");
    let text = "---\n# pods/web/site, as a text\n\"listen 80;\\n\"\n";
    assert!(whole.contains(text), "{whole}");
    let rest = "passed over: in/compose.override.yaml\n2 pods: ";
    assert!(report.starts_with(rest), "{report}");
    let (alone, _) = bench.run(&["in/compose.yaml"], 0);
    assert_eq!(alone, whole);
    // Whoever names files is taken at their word.
    let (named, report) = bench.run(&["in/compose.yaml", "in/compose.override.yaml"], 0);
    assert!(named.contains("- override") && !named.contains("- prod"), "{named}");
    assert!(report.contains("in/.env:1:1: lost: COMPOSE_FILE: other files"), "{report}");

    bench.run(&["in", "-o", "out"], 0);
    let read = |path: &str| fs::read_to_string(bench.folder.path().join(path)).unwrap();
    assert_eq!(read("out/pods/web/site"), "listen 80;\n");
    assert!(read("out/cluster-pods.yaml").contains("source: pods/web/site\n"));
    bench.lint_what_was_written();
    fs::remove_file(bench.folder.path().join("in/deploy/prod.yaml")).unwrap();
    let (_, error) = bench.run(&["in"], 1);
    let expected = "cannot read `in/deploy/prod.yaml`, which `COMPOSE_FILE` in `in/.env` names";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn how_it_ends() {
    let (lost, broken) = (quadlet("PidsLimit=5"), quadlet("PublishPort=80:81\nUser=web"));
    let files = [
        ("lost.container", lost.as_str()),
        ("broken.container", broken.as_str()),
        ("wrong.container", "[Container]\nImgae=a\n"),
    ];
    let Some(bench) = Bench::new(&files) else { return };
    bench.run(&["lost.container"], 0);
    let (out, _) = bench.run(&["lost.container", "--strict"], 1);
    assert!(out.contains("kind: Pod"), "{out}");
    bench.run(&["broken.container"], 1);
    let (report, _) = bench.run(&["wrong.container", "lost.container", "-o", "out"], 1);
    assert!(report.contains("wrong.container:2:1: error: Container.Imgae: "), "{report}");
    assert!(report.contains("did you mean `Image`?"), "{report}");
    assert!(!bench.exists("out"), "something was written");
    let (_, error) = bench.run(&["absent.container"], 1);
    assert!(error.contains("cannot look at `absent.container`"), "{error}");
    bench.run(&["--force", "lost.container"], 2);
    let (report, _) = bench.run(&["lost.container", "--report", "json", "-o", "out"], 0);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["pods"], serde_json::json!(["lost"]));
    let note = &report["notes"][0];
    assert_eq!((&note["fate"], &note["line"]), (&"lost".into(), &4.into()));
}
