//! The bundle `hello` as real programs see it: a registry takes it, oras and Flux's library pull it, cosign and
//! containers/image (the library under skopeo, podman and rpm-ostree) hold its signatures against a key.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "bundle/elsewhere.rs"]
mod elsewhere;
#[path = "bundle/fields.rs"]
mod fields;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use basalt_image::io::digest::Digest;
use basalt_image::oci::Architecture;
use basalt_image::pause::pause;
use e2e::checkout;
use e2e::peers::{Peer, peer};
use e2e::programs::xtask;
use serde_json::{Value, json};

/// `lab:lab-password`, as `htpasswd -B` writes it.
const PASSWORDS: &str = "lab:$2b$05$abcdefghijklmnopqrstuuL/Ej5MNdcjasz4Sr7bjTMIxZn.WGpgG\n";

fn hello() -> PathBuf {
    checkout::root().join("tests/bundles/hello")
}

/// A folder in which `hello` is built, signed, pushed and pulled.
struct Desk {
    xtask: PathBuf,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Option<Self> {
        Some(Self { xtask: xtask()?, folder: tempfile::tempdir().unwrap() })
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.xtask);
        command.args(["--quiet", "bundle"]).args(arguments).env("HOME", self.folder.path());
        command.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME");
        command.output().unwrap()
    }

    /// Runs a verb that has to end well, and gives what it prints.
    #[track_caller]
    fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs a verb that has to fail, and gives what it says.
    #[track_caller]
    fn bad(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Builds `hello`; gives its digest.
    fn build(&self, name: &str) -> String {
        let hello = hello().display().to_string();
        self.good(&["build", &hello, "--output", &self.path(name)])
    }

    /// Makes a key pair and gives the paths of its halves.
    fn key(&self, name: &str) -> (String, String) {
        let path = self.path(name);
        self.good(&["key", &path]);
        (path.clone(), format!("{path}.pub"))
    }
}

#[test]
fn hello_is_clean_and_the_same_every_time() {
    let Some(desk) = Desk::new() else { return };
    assert_eq!(desk.good(&["lint", &hello().display().to_string()]), "");
    let digest = desk.build("a");
    assert_eq!(desk.build("b"), digest);
    assert_eq!(desk.build("c.tar"), digest);
    for name in ["a", "c.tar"] {
        assert_eq!(desk.good(&["lint", &desk.path(name)]), "");
    }
    let list = |name: &str| -> BTreeSet<(String, Vec<u8>)> {
        let blobs = Path::new(&desk.path(name)).join("blobs/sha256");
        let entries = fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()))
            .collect()
    };
    assert_eq!(list("a"), list("b"));
    let same = desk.run(&["diff", &desk.path("a"), &desk.path("c.tar")]);
    assert_eq!((same.status.code(), &same.stdout[..]), (Some(0), &b""[..]));
}

#[test]
fn the_operator_is_the_pause_program() {
    let digest = pause(Architecture::Amd64).unwrap().manifest;
    let text = fs::read_to_string(hello().join("30-operator/deployment.yaml")).unwrap();
    assert!(text.contains(&format!("hello-operator@{digest}")), "{digest}");
}

/// A copy of `hello` with one file changed.
fn altered(desk: &Desk, name: &str, file: &str, change: impl Fn(&str) -> String) -> String {
    let copy = desk.path(name);
    let output = Command::new("cp").arg("-r").arg(hello()).arg(&copy).output().unwrap();
    assert!(output.status.success());
    let path = Path::new(&copy).join(file);
    let text = fs::read_to_string(&path).unwrap();
    let new = change(&text);
    assert_ne!(new, text);
    fs::write(path, new).unwrap();
    copy
}

#[test]
fn what_changed_is_named_and_what_is_wrong_is_not_built() {
    let Some(desk) = Desk::new() else { return };
    let hello = hello().display().to_string();
    let new = altered(&desk, "new", "30-operator/deployment.yaml", |text| {
        text.replace("replicas: 1", "replicas: 2")
    });
    let differs = desk.run(&["diff", &hello, &new]);
    assert_eq!(differs.status.code(), Some(1));
    let expected = "~ apps/v1 Deployment hello/operator\n    spec.replicas\n";
    assert_eq!(String::from_utf8(differs.stdout).unwrap(), expected);
    assert_eq!(desk.run(&["diff", &hello, &desk.path("nothing")]).status.code(), Some(2));

    let bad = altered(&desk, "bad", "30-operator/deployment.yaml", |text| {
        let (name, _) = text.split_once("@sha256:").unwrap();
        format!("{name}:latest\n")
    });
    let output = desk.run(&["lint", &bad, "--output", "sarif"]);
    assert_eq!(output.status.code(), Some(1));
    let sarif: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "image");
    let said = desk.bad(&["build", &bad, "--output", &desk.path("out")]);
    assert!(said.contains("is not an image by digest"), "{said}");
    assert!(!Path::new(&desk.path("out")).exists());
}

#[test]
fn only_the_key_that_signed_counts() {
    let Some(desk) = Desk::new() else { return };
    let digest = desk.build("layout");
    let (key, public) = desk.key("one");
    let (_, other) = desk.key("other");
    let layout = desk.path("layout");
    let said = desk.bad(&["verify", &layout, "--key", &public]);
    assert!(said.contains("is not signed"), "{said}");
    desk.good(&["sign", &layout, "registry.example/hello:1", "--key", &key]);
    assert_eq!(desk.good(&["verify", &layout, "--key", &public]), digest);
    assert_eq!(desk.good(&["verify", &layout, "--key", &other, "--key", &public]), digest);
    let said = desk.bad(&["verify", &layout, "--key", &other]);
    assert!(said.contains("by another key"), "{said}");
    assert!(desk.bad(&["key", &key]).contains("exists"), "a key is never replaced");

    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    fs::set_permissions(&key, mode(0o644)).unwrap();
    let said = desk.bad(&["sign", &layout, "registry.example/hello:1", "--key", &key]);
    assert!(said.contains("chmod 600"), "{said}");

    // The index of another bundle, under the digest of the old one.
    let manifest = Path::new(&layout).join("blobs/sha256").join(&digest["sha256:".len()..]);
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let index = manifest["layers"][1]["digest"].as_str().unwrap().to_owned();
    let index = Path::new(&layout).join("blobs/sha256").join(&index["sha256:".len()..]);
    let text = fs::read_to_string(&index).unwrap();
    fs::write(&index, text.replace("\"generation\": 1", "\"generation\": 9")).unwrap();
    let said = desk.bad(&["verify", &layout, "--key", &public]);
    assert!(said.contains("is damaged"), "{said}");
}

/// A registry that wants a password.
struct Registry {
    real: e2e::registry::Registry,
    port: u16,
}

impl Registry {
    fn start(program: &Peer) -> Self {
        let real = e2e::registry::Registry::start(program, Some(PASSWORDS)).unwrap();
        let port = real.address().port();
        let auth = base64_of(b"lab:lab-password");
        let auths = json!({"auths": {format!("localhost:{port}"): {"auth": auth}}});
        fs::create_dir(real.folder().join(".docker")).unwrap();
        fs::write(real.folder().join(".docker/config.json"), auths.to_string()).unwrap();
        Self { real, port }
    }

    fn path(&self, name: &str) -> String {
        self.real.folder().join(name).display().to_string()
    }

    fn authority(&self) -> String {
        self.real.authority_file().display().to_string()
    }

    fn reference(&self, rest: &str) -> String {
        format!("localhost:{}/{rest}", self.port)
    }

    /// A program in Go that knows the registry's certificate and password.
    fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("SSL_CERT_FILE", self.authority()).env("HOME", self.real.folder());
        command.env("DOCKER_CONFIG", self.path(".docker"));
        command.env_remove("XDG_RUNTIME_DIR").env_remove("REGISTRY_AUTH_FILE");
        command
    }

    fn push(&self, desk: &Desk, layout: &str, reference: &str, more: &[&str]) -> Output {
        let (authority, auth) = (self.authority(), self.path(".docker/config.json"));
        let options = ["--certificate-authority", &authority, "--authfile", &auth];
        desk.run(&[&["push", layout, reference][..], &options, more].concat())
    }

    #[track_caller]
    fn pushed(&self, desk: &Desk, layout: &str, reference: &str) -> String {
        let output = self.push(desk, layout, reference, &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The files below a folder and what is in them.
fn tree(folder: &Path) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// What is in `hello`, less what is not applied.
fn objects() -> BTreeSet<(String, String)> {
    tree(&hello()).into_iter().filter(|(name, _)| name != "bundle.yaml").collect()
}

#[test]
fn a_registry_takes_it_and_others_pull_it() {
    let (Some(desk), Some(program)) = (Desk::new(), peer("registry")) else { return };
    let registry = Registry::start(&program);
    let digest = desk.build("layout");
    let layout = desk.path("layout");
    let reference = registry.reference("team/hello:1");
    let said = String::from_utf8(registry.push(&desk, &layout, &reference, &[]).stderr).unwrap();
    assert!(said.contains("is not signed"), "{said}");
    let (key, _) = desk.key("key");
    desk.good(&["sign", &layout, &reference, "--key", &key]);
    let pinned = registry.pushed(&desk, &layout, &reference);
    assert_eq!(pinned, registry.reference(&format!("team/hello@{digest}")));
    // Again changes nothing.
    assert_eq!(registry.pushed(&desk, &layout, &reference), pinned);

    // Who does not trust the registry, or is not trusted by it, gets nothing through.
    let said = desk.bad(&["push", &layout, &reference]);
    assert!(said.contains("no answer from the registry"), "{said}");
    let authority = registry.authority();
    let said = desk.bad(&["push", &layout, &reference, "--certificate-authority", &authority]);
    assert!(said.contains("401") && said.contains("podman login"), "{said}");
    assert!(!said.contains("lab-password"));

    if let Some(oras) = peer("oras") {
        let folder = desk.path("oras");
        let mut pull = registry.client(&oras.program);
        pull.args(["pull", &pinned, "--output", &folder, "--plain-http=false"]);
        succeeds(pull.args(["--ca-file", &authority]));
        let index = fs::read(Path::new(&folder).join("index.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&index).unwrap()["generation"], 1);
        let unpacked = desk.path("unpacked");
        fs::create_dir(&unpacked).unwrap();
        let archive = Path::new(&folder).join("bundle.tar.gz");
        succeeds(Command::new("tar").args(["-xzf"]).arg(archive).args(["-C", &unpacked]));
        assert_eq!(tree(Path::new(&unpacked)), objects());
    }
    if let Some(flux) = peer("flux-oci") {
        let folder = desk.path("flux");
        fs::create_dir(&folder).unwrap();
        let said = succeeds(registry.client(&flux.program).args([&pinned, &folder]));
        assert!(said.contains("revision generation-1"), "{said}");
        assert!(said.contains(&digest), "{said}");
        assert_eq!(tree(Path::new(&folder)), objects());
    }
}

/// A policy.json that accepts what `key` signed.
fn policy(key: &str, identity: &str) -> Value {
    let trusted = json!([{
        "type": "sigstoreSigned",
        "keyPath": key,
        "signedIdentity": {"type": identity},
    }]);
    json!({"default": [{"type": "reject"}], "transports": {"docker": {"": trusted}}})
}

#[test]
fn others_hold_its_signatures_against_the_key() {
    let (Some(desk), Some(program)) = (Desk::new(), peer("registry")) else { return };
    let registry = Registry::start(&program);
    desk.build("layout");
    let layout = desk.path("layout");
    let signed = registry.reference("team/hello:1");
    let unsigned = registry.reference("team/unsigned:1");
    let output = registry.push(&desk, &layout, &unsigned, &["--unsigned"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (key, public) = desk.key("key");
    let (other_key, other) = desk.key("other");
    desk.good(&["sign", &layout, &signed, "--key", &key]);
    let pinned = registry.pushed(&desk, &layout, &signed);

    if let Some(cosign) = peer("cosign") {
        let verify = |key: &str, reference: &str| {
            let mut command = registry.client(&cosign.program);
            command.args(["verify", "--key", key, "--insecure-ignore-tlog=true"]);
            command.args(["--private-infrastructure=true", reference]);
            command
        };
        let both = ["--new-bundle-format=true", "--new-bundle-format=false"];
        for form in both {
            succeeds(verify(&public, &pinned).arg(form));
            fails(verify(&other, &pinned).arg(form));
            fails(verify(&public, &unsigned).arg(form));
        }
    }
    if let Some(reader) = peer("containers-image") {
        let registries = desk.path("registries.d");
        fs::create_dir(&registries).unwrap();
        let attached = "default-docker: {use-sigstore-attachments: true}\n";
        fs::write(Path::new(&registries).join("lab.yaml"), attached).unwrap();
        let certificates = desk.path("certificates");
        fs::create_dir(&certificates).unwrap();
        fs::copy(registry.authority(), Path::new(&certificates).join("ca.crt")).unwrap();
        let copy = |key: &str, identity: &str, reference: &str| {
            let file = desk.path("policy.json");
            fs::write(&file, policy(key, identity).to_string()).unwrap();
            let target = desk.path(&Digest::of(reference.as_bytes()).hex());
            let mut command = registry.client(&reader.program);
            command.args([&file, &registries, &certificates, &format!("//{reference}"), &target]);
            command
        };
        succeeds(&mut copy(&public, "matchRepoDigestOrExact", &signed));
        succeeds(&mut copy(&public, "matchRepository", &pinned));
        fails(&mut copy(&other, "matchRepository", &pinned));
        let said = fails(&mut copy(&public, "matchRepository", &unsigned));
        assert!(said.contains("signature"), "{said}");
    }

    // A second key's signatures come beside those of the first.
    desk.build("layout");
    desk.good(&["sign", &layout, &signed, "--key", &other_key]);
    registry.pushed(&desk, &layout, &signed);
    if let Some(cosign) = peer("cosign") {
        for key in [&public, &other] {
            let mut verify = registry.client(&cosign.program);
            verify.args(["verify", "--key", key, "--insecure-ignore-tlog=true"]);
            succeeds(verify.args(["--private-infrastructure=true", &pinned]));
        }
    }
}

/// Kinds that no one applies: what servers answer, what is asked at a part of an object, and lists.
fn is_object(kind: &str) -> bool {
    let is_answer = kind.ends_with("List") || kind.ends_with("Options") || kind == "WatchEvent";
    let parts = [
        "APIGroup",
        "APIVersions",
        "ConversionReview",
        "Eviction",
        "PodStatusResult",
        "RangeAllocation",
        "Scale",
        "SerializedReference",
        "Status",
        "TokenRequest",
    ];
    !is_answer && !parts.contains(&kind)
}

#[test]
fn the_kinds_are_those_of_kubernetes() {
    let Some(peer) = peer("kube-kinds") else { return };
    let known = succeeds(&mut Command::new(&peer.program));
    let known: BTreeSet<(&str, &str)> =
        known.lines().filter_map(|line| line.split_once(' ')).collect();
    let table = fs::read_to_string(checkout::root().join("xtask/src/bundle/kinds.txt")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').collect())
        .collect();
    let newest: BTreeSet<(&str, &str)> =
        rows.iter().filter(|row| row[5] == "1.36").map(|row| (row[0], row[1])).collect();
    let unknown: Vec<_> = newest.difference(&known).collect();
    assert!(unknown.is_empty(), "in the table and not in Kubernetes: {unknown:?}");
    // Types of versions that are tried out stay in the library when no server has them any more.
    let is_stable = |version: &str| !version.contains("alpha") && !version.contains("beta");
    let groups: BTreeSet<&str> =
        newest.iter().map(|(version, _)| *version).filter(|version| is_stable(version)).collect();
    let missing: Vec<_> = known
        .iter()
        .filter(|(version, kind)| groups.contains(version) && is_object(kind))
        .filter(|row| !newest.contains(row))
        .collect();
    assert!(missing.is_empty(), "in Kubernetes and not in the table: {missing:?}");
}
