//! `build-image`: one `cluster.yaml` becomes everything its machines need, and the lab's is written down.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use e2e::dist::{Artefact, Dist, build_image};
use e2e::peers::peer;
use e2e::{checkout, programs};

/// Kinds whose files are text and the same on every machine: they stand in the repository, beside the cluster.
const GOLDEN_KINDS: [&str; 7] =
    ["node", "butane", "ignition", "static-pod", "pod-config", "ipxe", "pxe-ignition"];

/// What the lab's `cluster.yaml` names.
const LAB_FILES: [&str; 7] = [
    "butane/all.bu",
    "butane/n3.bu",
    "files/crictl.yaml",
    "files/90-nic-rings.rules",
    "haproxy/operators.acl",
    "pods/exporter.conf",
    "pods/exporter.yaml",
];

/// A finished build of a cluster in a folder of its own.
struct Build {
    folder: tempfile::TempDir,
    xtask: PathBuf,
    agent: PathBuf,
}

impl Build {
    /// `None` when our own programs are not built; that has been said.
    fn new() -> Option<Build> {
        let (xtask, agent) = (programs::xtask()?, programs::agent()?);
        Some(Build { folder: tempfile::tempdir().expect("a temporary folder"), xtask, agent })
    }

    fn dist(&self) -> PathBuf {
        self.folder.path().join("dist")
    }

    fn run(&self, cluster: &Path, more: &[&str]) -> Output {
        build_image(&self.xtask, &self.agent, cluster, &self.dist(), more)
    }

    #[track_caller]
    fn lab(&self) -> Dist {
        let output = self.run(&lab(), &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Dist::open(&self.dist())
    }

    /// A copy of the lab that a test may change.
    fn copy_of_lab(&self, change: impl Fn(&str) -> String) -> PathBuf {
        let folder = self.folder.path().join("cluster");
        let _ = fs::remove_dir_all(&folder);
        for file in LAB_FILES {
            let target = folder.join(file);
            fs::create_dir_all(target.parent().expect("a file has a folder"))
                .expect("a temporary folder");
            fs::copy(checkout::cluster("lab").join(file), target)
                .expect("the lab's files can be read");
        }
        let text = fs::read_to_string(lab()).expect("the lab can be read");
        let changed = change(&text);
        fs::write(folder.join("cluster.yaml"), changed).expect("a temporary folder");
        folder.join("cluster.yaml")
    }
}

fn lab() -> PathBuf {
    checkout::cluster("lab").join("cluster.yaml")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn lab_artefacts_are_the_ones_written_down() {
    let Some(build) = Build::new() else { return };
    let dist = build.lab();
    let golden = checkout::cluster("lab").join("dist");
    let mut expected = Vec::new();
    for row in
        dist.manifest.artefacts.iter().filter(|row| GOLDEN_KINDS.contains(&row.kind.as_str()))
    {
        let text = fs::read_to_string(dist.folder.join(&row.path)).unwrap();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            // A new artefact may want a new folder, which expect-test does not make.
            fs::create_dir_all(golden.join(&row.path).parent().unwrap()).unwrap();
        }
        expect_test::expect_file![golden.join(&row.path)].assert_eq(&text);
        expected.push(row.path.clone());
    }
    let mut written: Vec<String> =
        Dist { folder: golden, manifest: dist.manifest }.files().into_keys().collect();
    written.retain(|path| path != "image.txt");
    expected.sort();
    assert_eq!(written, expected, "a file stands in the repository that is no longer made");
}

#[test]
fn every_file_is_listed_with_its_digest() {
    let Some(build) = Build::new() else { return };
    let dist = build.lab();
    let mut files = dist.files();
    files.remove("manifest.json").expect("the manifest is a file itself");
    let listed: BTreeMap<String, (String, u64)> = dist
        .manifest
        .artefacts
        .iter()
        .map(|row| (row.path.clone(), (row.sha256.clone(), row.size)))
        .collect();
    assert_eq!(listed, files);
    assert_eq!(dist.manifest.schema, 1);
    for kind in ["node", "ignition", "butane", "pxe-ignition"] {
        let nodes: Vec<Option<&str>> = dist.of_kind(kind).map(|row| row.node.as_deref()).collect();
        assert_eq!(nodes, [Some("n1"), Some("n2"), Some("n3")], "{kind}");
    }
    let digests: Vec<&Artefact> =
        dist.manifest.artefacts.iter().filter(|row| row.digest.is_some()).collect();
    let kinds: Vec<&str> = digests.iter().map(|row| row.kind.as_str()).collect();
    assert_eq!(kinds, ["oci-archive", "oci-layout"]);
    assert_eq!(digests[0].digest, digests[1].digest);
}

#[test]
fn skopeo_finds_the_digest_that_the_manifest_names() {
    let Some(build) = Build::new() else { return };
    let Some(skopeo) = peer("skopeo") else { return };
    let dist = build.lab();
    for (kind, transport) in [("oci-layout", "oci"), ("oci-archive", "oci-archive")] {
        let row = dist.of_kind(kind).next().unwrap();
        let file = dist.folder.join(&row.path);
        let place = if kind == "oci-layout" { file.parent().unwrap().to_path_buf() } else { file };
        let output = std::process::Command::new(&skopeo.program)
            .args([
                "inspect",
                "--format",
                "{{.Digest}} {{index .Labels \"org.opencontainers.image.version\"}}",
            ])
            .arg(format!("{transport}:{}", place.display()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let expected = format!("{} 1", row.digest.as_ref().unwrap());
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), expected);
    }
}

#[test]
fn every_config_passes_the_validator_of_ignition() {
    let Some(build) = Build::new() else { return };
    let Some(validate) = peer("ignition-validate") else { return };
    let dist = build.lab();
    for kind in ["ignition", "pxe-ignition"] {
        for row in dist.of_kind(kind) {
            let output = std::process::Command::new(&validate.program)
                .arg(dist.folder.join(&row.path))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}: {}", row.path, stderr(&output));
            assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{}: a warning", row.path);
            assert_eq!(stderr(&output), "", "{}: a warning", row.path);
        }
    }
}

#[test]
fn a_second_run_does_no_work() {
    let Some(build) = Build::new() else { return };
    let first = build.lab();
    let stamp =
        |dist: &Dist| fs::metadata(dist.folder.join("manifest.json")).unwrap().modified().unwrap();
    let written = stamp(&first);
    let output = build.run(&lab(), &["--output", "json"]);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["changed"], false);
    assert!(!stderr(&output).contains("compiling"), "{}", stderr(&output));
    assert_eq!(stamp(&Dist::open(&build.dist())), written);
    // A file that was damaged is no "nothing changed".
    fs::write(first.file("ignition", Some("n2")), "{}").unwrap();
    let output = build.run(&lab(), &["--output", "json"]);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["changed"], true, "{}", stderr(&output));
    assert_eq!(Dist::open(&build.dist()).manifest, first.manifest);
}

#[test]
fn a_change_of_anything_that_nodes_are_made_from_compiles_them_again() {
    let Some(build) = Build::new() else { return };
    let cluster = build.copy_of_lab(str::to_owned);
    let folder = cluster.parent().unwrap();
    let changed = |more: &[&str]| {
        let output = build.run(&cluster, more);
        assert!(output.status.success(), "{}", stderr(&output));
        (stderr(&output).contains("compiling"), stdout_of(&output).contains("written"))
    };
    assert_eq!(changed(&[]), (true, true));
    assert_eq!(changed(&[]), (false, false));
    // A local file of a Butane file; the lab's is in the config of n3.
    let append = |file: &str, text: &str| {
        let old = fs::read_to_string(folder.join(file)).unwrap();
        fs::write(folder.join(file), old + text).unwrap();
    };
    append("files/90-nic-rings.rules", "# changed\n");
    assert_eq!(changed(&[]), (true, true));
    assert_eq!(changed(&[]), (false, false));
    // What nodes carry as text.
    for file in ["haproxy/operators.acl", "pods/exporter.yaml", "pods/exporter.conf"] {
        append(file, "# changed\n");
        assert_eq!((changed(&[]), changed(&[])), ((true, true), (false, false)), "{file}");
    }
    // A comment makes nothing different; it is looked at once.
    append("butane/all.bu", "# changed\n");
    assert_eq!(changed(&[]), (true, false));
    assert_eq!(changed(&[]), (false, false));
    assert_eq!(changed(&["--force"]), (true, true));
}

fn stdout_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_builds_give_the_same_bytes() {
    let (Some(one), Some(two)) = (Build::new(), Build::new()) else { return };
    assert_eq!(one.lab().files(), two.lab().files());
}

#[test]
fn a_change_of_one_node_leaves_the_image_alone() {
    let Some(build) = Build::new() else { return };
    let before = build.lab();
    let cluster = build.copy_of_lab(|text| text.replace("generation: 1", "generation: 2"));
    let output = build.run(&cluster, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("keeping the image"), "{}", stderr(&output));
    let after = Dist::open(&build.dist());
    let digest = |dist: &Dist| dist.of_kind("oci-layout").next().unwrap().digest.clone();
    assert_eq!(digest(&before), digest(&after));
    assert_ne!(before.manifest, after.manifest);
}

/// A cluster that cannot be built: exit code 1, the finding, and what was there stays.
#[track_caller]
fn refused(change: impl Fn(&str) -> String, expected: &[&str]) {
    let Some(build) = Build::new() else { return };
    let before = build.lab().files();
    let cluster = build.copy_of_lab(change);
    let output = build.run(&cluster, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    for text in expected {
        assert!(stderr(&output).contains(text), "`{text}` is not in:\n{}", stderr(&output));
    }
    assert_eq!(Dist::open(&build.dist()).files(), before);
    let beside: Vec<_> = fs::read_dir(build.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(beside.len(), 2, "nothing is left beside the result: {beside:?}");
}

#[test]
fn bad_clusters_are_refused_and_lose_nothing() {
    refused(
        |text| {
            text.replace("virtual_router_id: 52", "virtual_router_id: 51")
                .replace("ca: lab-vault", "ca: nobody")
        },
        &["VRID `51` is already used", "there is no trust anchor `nobody`", "cluster.yaml:"],
    );
    refused(
        |text| {
            text.replace("base: scratch", "base: registry.lab.example/fcos@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
        },
        &["cluster.yaml:", "image.base", "skopeo copy"],
    );
    refused(
        |text| text.replace("base: scratch", "base: oci:nowhere"),
        &["cluster.yaml:", "image.base", "nowhere"],
    );
    refused(
        |text| text.replace("source: files/crictl.yaml", "source: files/gone"),
        &["image.files[0].source", "files/gone"],
    );
    refused(
        |text| text.replace("path: etc/crictl.yaml", "path: var/lib/crictl.yaml"),
        &["var/lib/crictl.yaml"],
    );
    refused(
        |text| text.replace("butane: [butane/all.bu]", "butane: [butane/gone.bu]"),
        &["cluster.yaml:", "butane/gone.bu"],
    );
    // Each of these is found by another stage.
    refused(
        |text| {
            text.replace("generation: 1\n", "generation: x\n")
                .replace("- name: n3\n    role: controller", "- name: n3\n    role: controler")
                .replace("butane: [butane/all.bu]", "butane: [butane/gone.bu]")
                .replace("source: files/crictl.yaml", "source: files/gone")
        },
        &["generation: a whole number", "no role `controler`", "butane/gone.bu", "files/gone"],
    );
}

#[test]
fn a_bad_folder_hides_nothing_of_a_bad_cluster() {
    let Some(build) = Build::new() else { return };
    fs::write(build.dist(), "a file").unwrap();
    let cluster = build.copy_of_lab(|text| text.replace("ca: lab-vault", "ca: nobody"));
    let output = build.run(&cluster, &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    for text in ["there is no trust anchor `nobody`", "is not a folder"] {
        assert!(stderr(&output).contains(text), "`{text}` is not in:\n{}", stderr(&output));
    }
}

#[test]
fn misspelt_keys_in_butane_files_are_refused() {
    let Some(build) = Build::new() else { return };
    let cluster = build.copy_of_lab(str::to_owned);
    let file = cluster.parent().unwrap().join("butane/all.bu");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "x-own: {}\n").unwrap();
    let output = build.run(&cluster, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("a config has no `x-own`"), "{text}");
    assert_eq!(text.matches("x-own`").count(), 1, "once, and not for every node: {text}");
    assert!(!build.dist().exists());
}

#[test]
fn preloaded_archives_are_archives() {
    refused(
        |text| {
            format!(
                "{text}  preload:\n    - reference: registry.lab.example/basalt/a:1@sha256:{}\n      \
                 archive: files/crictl.yaml\n      sha256: ad526395cca4db1e3ea166ddabbba23707829b104215d122f05f8e582cef9050\n",
                "0".repeat(64)
            )
        },
        &["image.preload[0].archive", "files/crictl.yaml` is not an image archive"],
    );
}

#[test]
fn an_image_that_no_node_can_run_is_warned_of() {
    const NO_SYSTEM: &str = "an image made from `scratch` has no operating system";
    const NO_KUBELET: &str = "the image has no `usr/bin/kubelet`";
    let Some(build) = Build::new() else { return };
    for round in ["new", "with nothing changed", "with nothing changed twice"] {
        let text = stderr(&build.run(&lab(), &[]));
        assert!(text.contains(NO_SYSTEM) && text.contains(NO_KUBELET), "{round}: {text}");
    }
    let next = build.copy_of_lab(|text| text.replace("generation: 1", "generation: 2"));
    let text = stderr(&build.run(&next, &[]));
    assert!(text.contains("keeping the image") && text.contains(NO_KUBELET), "{text}");
    // A base, but none that a node boots: our own image.
    let base = build.folder.path().join("cluster/base");
    let on_base = |text: &str| text.replace("base: scratch", "base: oci:base");
    let cluster = build.copy_of_lab(on_base);
    fs::rename(build.dist().join("image"), &base).unwrap();
    let text = stderr(&build.run(&cluster, &[]));
    assert!(text.contains("warning: image.base: nodes are to run"), "{text}");
    assert!(text.contains("no label `ostree.final-diffid`"), "{text}");
    // A blob of the base is missing.
    let blobs = base.join("blobs/sha256");
    let largest = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    let largest = largest.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    fs::remove_file(largest).unwrap();
    let output = build.run(&cluster, &["--force"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("fetch the image again"), "{}", stderr(&output));
    // Without a reference nothing is promised; with a kubelet there is one.
    let cluster = build.copy_of_lab(|text| {
        text.replace("  reference: registry.lab.example/basalt/lab:stable\n", "")
    });
    let text = stderr(&build.run(&cluster, &[]));
    assert!(!text.contains("warning"), "{text}");
    let cluster =
        build.copy_of_lab(|text| text.replace("path: etc/crictl.yaml", "path: usr/bin/kubelet"));
    let text = stderr(&build.run(&cluster, &[]));
    assert!(text.contains(NO_SYSTEM) && !text.contains(NO_KUBELET), "{text}");
    assert!(Dist::open(&build.dist()).manifest.checked.is_some());
}

#[test]
fn a_folder_of_somebody_else_is_not_replaced() {
    let Some(build) = Build::new() else { return };
    fs::create_dir(build.dist()).unwrap();
    fs::write(build.dist().join("thesis.tex"), "ten years of work").unwrap();
    let output = build.run(&lab(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("was not written by this command"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(build.dist().join("thesis.tex")).unwrap(), "ten years of work");
}

#[test]
fn what_other_people_put_into_the_result_stays() {
    let Some(build) = Build::new() else { return };
    build.lab();
    let (dist, kernel) = (build.dist(), build.dist().join("pxe/fcos/kernel"));
    fs::create_dir(dist.join("pxe/fcos")).unwrap();
    fs::write(&kernel, "linux").unwrap();
    fs::write(dist.join("notes.txt"), "mine").unwrap();
    std::os::unix::fs::symlink("notes.txt", dist.join("link")).unwrap();
    let next = |number: u32| {
        build.copy_of_lab(|text| text.replace("generation: 1", &format!("generation: {number}")))
    };
    for (number, more) in [(2, &[][..]), (3, &["--force"][..])] {
        let output = build.run(&next(number), more);
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(&kernel).unwrap(), "linux");
        assert_eq!(fs::read_to_string(dist.join("link")).unwrap(), "mine");
        assert!(fs::symlink_metadata(dist.join("link")).unwrap().is_symlink());
        let listed = Dist::open(&dist).manifest.artefacts;
        assert!(listed.iter().all(|row| row.path != "notes.txt"), "it is not ours to list");
    }
    // A machine is added whose files would stand where somebody has something.
    fs::write(dist.join("nodes/n4"), "mine").unwrap();
    let cluster = build.copy_of_lab(|text| text.replace("name: n3", "name: n4"));
    let output = build.run(&cluster, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nodes/n4` was not written by this command"));
    assert_eq!(fs::read_to_string(dist.join("nodes/n4")).unwrap(), "mine");
    let output = build.run(&cluster, &["--force"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(dist.join("nodes/n4/node.json").is_file() && kernel.is_file());
}

#[test]
fn what_the_build_is_made_from_is_never_replaced() {
    let Some(build) = Build::new() else { return };
    let cluster = build.copy_of_lab(str::to_owned);
    let folder = cluster.parent().unwrap();
    let agents = build.folder.path().join("agents");
    fs::create_dir(&agents).unwrap();
    fs::copy(&build.agent, agents.join("basalt-agent")).unwrap();
    for (dist, agent) in [
        (folder.to_path_buf(), &build.agent),
        (folder.join("butane"), &build.agent),
        // Of the cluster's file, and of a Butane file that takes `files/90-nic-rings.rules`.
        (folder.join("files"), &build.agent),
        (agents.clone(), &agents.join("basalt-agent")),
        (build.folder.path().to_path_buf(), &build.agent),
    ] {
        let output = build_image(&build.xtask, agent, &cluster, &dist, &["--force"]);
        assert_eq!(output.status.code(), Some(1), "{}", dist.display());
        let text = stderr(&output);
        assert!(text.contains("is what this build is made from"), "{}: {text}", dist.display());
    }
    for file in [
        "cluster.yaml",
        "butane/all.bu",
        "files/crictl.yaml",
        "pods/exporter.yaml",
        "haproxy/operators.acl",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    assert!(agents.join("basalt-agent").is_file());
}

#[test]
fn only_an_agent_is_baked_in() {
    let Some(build) = Build::new() else { return };
    for (program, message) in [
        (Path::new("/bin/true"), "is not a basalt-agent of version"),
        (&build.xtask, "is not a basalt-agent of version"),
        (&lab(), "is not a Linux program"),
    ] {
        let output = build_image(&build.xtask, program, &lab(), &build.dist(), &[]);
        assert_eq!(output.status.code(), Some(1), "{}", program.display());
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
        assert!(!build.dist().exists());
    }
}

#[test]
fn what_a_killed_build_left_is_removed_by_the_next() {
    let Some(build) = Build::new() else { return };
    let left = build.folder.path().join(".dist.basalt-killed");
    fs::create_dir_all(left.join("image/blobs")).unwrap();
    build.lab();
    assert!(!left.exists());
}

/// The image's labels and the paths of each layer, without what changes with the compiler.
fn listing(dist: &Dist) -> String {
    let layout = dist.folder.join("image");
    let json = |path: PathBuf| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let blob = |digest: &serde_json::Value| {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        layout.join("blobs/sha256").join(hex)
    };
    let manifest = json(blob(&json(layout.join("index.json"))["manifests"][0]["digest"]));
    let config = json(blob(&manifest["config"]["digest"]));
    let mut text = String::new();
    for (label, value) in config["config"]["Labels"].as_object().unwrap() {
        let value =
            if label == "dev.basalt.inputs" { "(a digest)" } else { value.as_str().unwrap() };
        text.push_str(&format!("label {label}={value}\n"));
    }
    for (layer, history) in
        manifest["layers"].as_array().unwrap().iter().zip(config["history"].as_array().unwrap())
    {
        text.push_str(&format!("\nlayer {}\n", history["created_by"].as_str().unwrap()));
        let stream = flate2::read::GzDecoder::new(fs::File::open(blob(&layer["digest"])).unwrap());
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries().unwrap() {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let target =
                entry.link_name().unwrap().map(|target| format!(" -> {}", target.display()));
            let header = entry.header();
            let (mode, owner) =
                (header.mode().unwrap(), (header.uid().unwrap(), header.gid().unwrap()));
            assert_eq!(owner, (0, 0), "{path}");
            text.push_str(&format!("{mode:04o} {path}{}\n", target.unwrap_or_default()));
        }
    }
    text
}

#[test]
fn the_image_of_the_lab_holds_what_is_written_down() {
    let Some(build) = Build::new() else { return };
    let golden = checkout::cluster("lab").join("dist/image.txt");
    expect_test::expect_file![golden].assert_eq(&listing(&build.lab()));
}
