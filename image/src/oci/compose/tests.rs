use std::io::Read;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::oci::archive::{ArchiveError, archive};
use crate::oci::entry::{Entry, Source};

struct Folder {
    _guard: tempfile::TempDir,
    path: Utf8PathBuf,
}

impl Folder {
    fn new() -> Self {
        let guard = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
        Self { _guard: guard, path }
    }
}

fn file(path: &str, text: &str) -> Entry {
    Entry::file(path, 0o644, Source::Bytes(text.as_bytes().to_vec()))
}

fn component(name: &str, entries: Vec<Entry>) -> Component {
    Component { name: name.into(), entries }
}

fn spec(base: Base, components: Vec<Component>) -> Spec {
    Spec {
        base,
        architecture: Architecture::Amd64,
        title: "lab".into(),
        version: "42.1".into(),
        reference: "lab:42.1".into(),
        created: 1_700_000_000,
        mtime: 0,
        labels: BTreeMap::from([("dev.basalt.cluster".to_owned(), "lab".to_owned())]),
        components,
    }
}

/// A base as a distribution would have it: two layers, a link, and files.
fn base_components() -> Vec<Component> {
    let entries =
        vec![file("usr/bin/bash", "bash"), Entry::symlink("usr/lib/modules", "../share/m")];
    vec![component("os", entries), component("conf", vec![file("etc/hosts", "hosts")])]
}

fn our_components() -> Vec<Component> {
    let agent = vec![file("usr/bin/agent", "agent"), file("etc/agent.toml", "a = 1")];
    vec![component("kubelet", vec![file("usr/bin/kubelet", "kubelet")]), component("agent", agent)]
}

/// Composes [`base_components`] into `folder` and gives it as a base.
fn base_in(folder: &Utf8Path) -> Base {
    compose(&spec(Base::Scratch, base_components()), folder).unwrap();
    Base::Layout { folder: folder.to_owned(), reference: None }
}

fn read_json(path: &Utf8Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn blob_path(layout: &Utf8Path, digest: &Value) -> Utf8PathBuf {
    layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/"))
}

/// The manifest and config of a layout's only image.
fn documents(layout: &Utf8Path) -> (Value, Value) {
    let index = read_json(&layout.join("index.json"));
    let manifest = read_json(&blob_path(layout, &index["manifests"][0]["digest"]));
    let config = read_json(&blob_path(layout, &manifest["config"]["digest"]));
    (manifest, config)
}

/// Replaces the documents of a layout's only image, as a publisher of another image would write them.
fn rewrite(layout: &Utf8Path, mut manifest: Value, config: &Value) {
    let put = |document: &Value| {
        let bytes = document.to_string().into_bytes();
        let digest = json!(Digest::of(&bytes));
        fs::write(blob_path(layout, &digest), &bytes).unwrap();
        (digest, json!(bytes.len()))
    };
    (manifest["config"]["digest"], manifest["config"]["size"]) = put(config);
    let mut index = read_json(&layout.join("index.json"));
    (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = put(&manifest);
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
}

/// Every file below a folder with its content.
fn content(folder: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        match path.is_dir() {
            true => files.extend(content(&path)),
            false => drop(files.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    files
}

/// The same with paths relative to the folder, to compare two of them.
fn relative_content(folder: &Utf8Path) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
    let strip = |path: Utf8PathBuf| path.strip_prefix(folder).unwrap().to_owned();
    content(folder).into_iter().map(|(path, bytes)| (strip(path), bytes)).collect()
}

#[track_caller]
fn check_error(spec: &Spec, folder: &Utf8Path, expected: &str) {
    let error = compose(spec, folder).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    assert_eq!(text, expected);
}

#[test]
fn derives_from_a_base() {
    let folder = Folder::new();
    let base = base_in(&folder.path.join("base"));
    let out = folder.path.join("out");
    let composed = compose(&spec(base.clone(), our_components()), &out).unwrap();
    let names = base.open(Architecture::Amd64).unwrap().names().unwrap();
    assert!(names.get("usr/bin/bash").is_some() && names.get("usr/bin/agent").is_none());
    assert_eq!(names, composed.base_names);

    let (base_manifest, base_config) = documents(&folder.path.join("base"));
    let (manifest, config) = documents(&out);
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers[..2], base_manifest["layers"].as_array().unwrap()[..]);
    assert_eq!(layers.len(), 4);
    let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(diff_ids[..2], base_config["rootfs"]["diff_ids"].as_array().unwrap()[..]);
    assert_eq!(diff_ids[3], json!(composed.layers[1].diff_id));
    assert_eq!(config["history"].as_array().unwrap().len(), 4);
    assert_eq!(config["created"], "2023-11-14T22:13:20Z");
    assert_eq!(config["config"]["Labels"]["dev.basalt.components"], "kubelet,agent");
    assert_eq!(config["config"]["Labels"]["dev.basalt.cluster"], "lab");
    let index = read_json(&folder.path.join("base/index.json"));
    let annotation = &manifest["annotations"]["org.opencontainers.image.base.digest"];
    assert_eq!(*annotation, index["manifests"][0]["digest"]);

    // Every blob has the digest that it is named by, and there is no other.
    let mut named: Vec<Value> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    named.extend([json!(composed.manifest), json!(composed.config)]);
    let mut found = Vec::new();
    for (path, bytes) in content(&out.join("blobs")) {
        assert_eq!(Digest::of(&bytes).hex(), path.file_name().unwrap());
        found.push(json!(Digest::of(&bytes)));
    }
    named.sort_by_key(Value::to_string);
    found.sort_by_key(Value::to_string);
    assert_eq!(named, found);

    // Parents that the base has are not in our layers.
    let layer = fs::read(blob_path(&out, &layers[2]["digest"])).unwrap();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&layer[..]));
    let paths: Vec<String> = tar
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(paths, ["usr/bin/kubelet"]);
}

#[test]
fn an_ostree_base_stays_bootable() {
    let folder = Folder::new();
    let base = base_in(&folder.path.join("base"));
    let (mut manifest, mut config) = documents(&folder.path.join("base"));
    let last = config["rootfs"]["diff_ids"][1].clone();
    let labels = &mut config["config"]["Labels"];
    labels["ostree.final-diffid"] = last.clone();
    labels["ostree.commit"] = json!("abc");
    labels["containers.bootc"] = json!("1");
    config["history"] = json!([]);
    config["x-unknown"] = json!({"b": 1, "a": [2]});
    manifest["annotations"]["ostree.linux"] = json!("6.1");
    manifest["layers"][0]["annotations"]["ostree.components"] = json!("glibc");
    rewrite(&folder.path.join("base"), manifest.clone(), &config);

    let out = folder.path.join("out");
    let composed = compose(&spec(base.clone(), our_components()), &out).unwrap();
    assert!(composed.is_bootable);
    assert_eq!(composed.base_layers, 2);
    let (ours, our_config) = documents(&out);
    assert_eq!(our_config["config"]["Labels"]["ostree.final-diffid"], last);
    assert_eq!(our_config["config"]["Labels"]["ostree.commit"], "abc");
    assert_eq!(our_config["x-unknown"].to_string(), r#"{"b":1,"a":[2]}"#);
    assert_eq!(our_config["history"].as_array().unwrap().len(), 4);
    assert_eq!(ours["layers"][0], manifest["layers"][0]);
    assert_eq!(ours["annotations"]["ostree.linux"], "6.1");

    config["config"]["Labels"].as_object_mut().unwrap().shift_remove("containers.bootc");
    rewrite(&folder.path.join("base"), manifest, &config);
    check_error(
        &spec(base, our_components()),
        &out,
        "cannot use the base image: the base is an ostree image without a label `ostree.bootable` or \
         `containers.bootc`, so nodes refuse it",
    );
}

#[test]
fn rules_see_the_base_and_are_all_told_at_once() {
    let folder = Folder::new();
    let base = base_in(&folder.path.join("base"));
    let entries = vec![file("usr/lib/modules/x", ""), file("usr/bin", ""), file("opt/x", "")];
    check_error(
        &spec(base, vec![component("bad", entries)]),
        &folder.path.join("out"),
        "component `bad`: `opt/x`: not below usr/bin, usr/lib, usr/libexec, usr/share or etc; opt leads into var, \
         which nodes never get by an update; CNI plugins go to usr/libexec/cni\n\
         component `bad`: `usr/bin`: not below usr/bin, usr/lib, usr/libexec, usr/share or etc; choose a path below \
         one of them\n\
         component `bad`: `usr/lib/modules/x`: `usr/lib/modules` is a symbolic link of the base, and this would \
         replace it by a directory; use the path the link leads to",
    );
    assert!(!folder.path.join("out").exists());
}

#[test]
fn a_damaged_base_leaves_everything_as_it_was() {
    let folder = Folder::new();
    let base_folder = folder.path.join("base");
    let base = base_in(&base_folder);
    let out = folder.path.join("out");
    compose(&spec(base.clone(), our_components()), &out).unwrap();
    let before = content(&out);

    let (manifest, _) = documents(&base_folder);
    let digest = &manifest["layers"][1]["digest"];
    let blob = blob_path(&base_folder, digest);
    let good = fs::read(&blob).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        // A new file, since the old one is shared with `out` by hard link.
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, &bad).unwrap();
        let size = bad.len();
        check_error(
            &spec(base.clone(), our_components()),
            &out,
            &format!(
                "cannot use the base image: the blob `{blob}` is damaged: it has {size} bytes and the digest {}, but \
                 {size} bytes and {} are expected",
                Digest::of(&bad),
                digest.as_str().unwrap(),
            ),
        );
        assert_eq!(content(&out), before);
    }
    fs::remove_file(&blob).unwrap();
    let error = compose(&spec(base, our_components()), &out).unwrap_err();
    let error = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(error, format!("cannot copy `{blob}`"));
    let names: Vec<String> = folder
        .path
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_owned())
        .collect();
    assert_eq!(names.len(), 2, "nothing half-written is left: {names:?}");
}

#[test]
fn bases_that_cannot_be_read_are_named() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Value, &mut Value), expected: &str) {
        let folder = Folder::new();
        let base_folder = folder.path.join("base");
        let base = base_in(&base_folder);
        let (mut manifest, mut config) = documents(&base_folder);
        let first = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
        let diff_id = config["rootfs"]["diff_ids"][0].as_str().unwrap().to_owned();
        change(&mut manifest, &mut config);
        rewrite(&base_folder, manifest, &config);
        let expected = expected
            .replace("FIRST", &first)
            .replace("BLOB", blob_path(&base_folder, &json!(first)).as_str())
            .replace("DIFF_ID", &diff_id);
        let out = folder.path.join("out");
        check_error(
            &spec(base, our_components()),
            &out,
            &format!("cannot use the base image: {expected}"),
        );
    }
    check(
        |manifest, _| {
            manifest["layers"][0]["mediaType"] =
                json!("application/vnd.oci.image.layer.v1.tar+zstd")
        },
        "the base's layer FIRST has the media type application/vnd.oci.image.layer.v1.tar+zstd, which cannot be read",
    );
    check(
        |manifest, _| {
            manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar")
        },
        "the blob `BLOB` is not a readable layer: failed to read entire block",
    );
    check(
        |_, config| config["rootfs"]["diff_ids"][0] = json!(Digest::of(b"")),
        "the blob `BLOB` holds a layer with the diff id DIFF_ID, but the config says \
         sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
    check(
        |_, config| config["architecture"] = json!("arm64"),
        "the base is for linux/arm64, but linux/amd64 is wanted",
    );
    check(
        |_, config| config["rootfs"]["diff_ids"] = json!([Digest::of(b"")]),
        "the base has 2 layers but 1 diff ids",
    );
    check(
        |manifest, _| manifest["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json"),
        "the base's config has the media type application/vnd.oci.empty.v1+json, not \
         application/vnd.oci.image.config.v1+json",
    );
}

#[test]
fn a_failed_layer_leaves_the_old_image() {
    let folder = Folder::new();
    let out = folder.path.join("out");
    compose(&spec(Base::Scratch, our_components()), &out).unwrap();
    let before = content(&out);
    let mut components = our_components();
    let wrong = Digest::of(b"other");
    components[1].entries[0] =
        Entry::pinned_file("usr/bin/agent", 0o755, Source::Bytes(b"agent".to_vec()), wrong);
    check_error(
        &spec(Base::Scratch, components),
        &out,
        &format!(
            "component `agent`: `usr/bin/agent` has the digest {}, but {wrong} is expected",
            Digest::of(b"agent")
        ),
    );
    assert_eq!(content(&out), before);
}

#[test]
fn only_layouts_and_empty_folders_are_replaced() {
    let folder = Folder::new();
    let out = folder.path.join("home");
    fs::create_dir(&out).unwrap();
    let spec = spec(Base::Scratch, our_components());
    compose(&spec, &out).unwrap();
    compose(&spec, &out).unwrap();
    fs::remove_file(out.join("oci-layout")).unwrap();
    check_error(
        &spec,
        &out,
        &format!("`{out}` is not empty and not an OCI layout, so it is not replaced"),
    );
    check_error(
        &spec,
        &out.join("index.json"),
        &format!("`{out}/index.json` is not empty and not an OCI layout, so it is not replaced"),
    );
}

#[test]
fn values_are_checked() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Spec), expected: &str) {
        let mut spec = spec(Base::Scratch, our_components());
        change(&mut spec);
        let folder = Folder::new();
        check_error(&spec, &folder.path.join("out"), expected);
    }
    let reference = "which is not a reference name (letters and digits, joined by `-`, `.`, `_`, `:`, `@`, `/` or `+`)";
    for bad in ["", "a b", "-a", "a:", "a//b", "ä"] {
        check(
            |spec| spec.reference = bad.into(),
            &format!("the reference is `{bad}`, {reference}"),
        );
    }
    check(|spec| spec.title = "a\nb".into(), "the title is `a\nb`, which is not a line of text");
    check(|spec| spec.version = String::new(), "the version is ``, which is not a line of text");
    check(
        |spec| spec.created = u64::MAX,
        "the creation time is `18446744073709551615`, which is not a time before the year 10000",
    );
    check(
        |spec| spec.mtime = u64::MAX,
        "the time of files is `18446744073709551615`, which is not a time that a tar header can state",
    );
    for key in ["ostree.final-diffid", "containers.bootc", document::VERSION, ""] {
        check(
            |spec| drop(spec.labels.insert(key.into(), "x".into())),
            &format!("a label is `{key}`, which is not a label that may be set (`dev.basalt.…`)"),
        );
    }
}

#[test]
fn archives_are_sorted_checked_and_the_same() {
    let folder = Folder::new();
    let out = folder.path.join("out");
    compose(&spec(Base::Scratch, our_components()), &out).unwrap();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    archive(&out, &mut one).unwrap();
    archive(&out, &mut two).unwrap();
    assert!(one == two);

    let mut found = BTreeMap::new();
    let mut paths = Vec::new();
    let mut tar = tar::Archive::new(&one[..]);
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        paths.push(path.clone());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if entry.header().entry_type().is_file() {
            found.insert(Utf8PathBuf::from(path), bytes);
        }
    }
    assert_eq!(found, relative_content(&out));
    assert!(paths.is_sorted());

    let blobs = out.join("blobs/sha256");
    let blob = blobs.read_dir_utf8().unwrap().next().unwrap().unwrap().into_path();
    fs::write(&blob, "damage").unwrap();
    let error = archive(&out, io::sink()).unwrap_err();
    let found = Digest::of(b"damage");
    assert_eq!(
        error.to_string(),
        format!("the blob `{blob}` is damaged: it has the digest {found}")
    );
    fs::write(blobs.join("stranger"), "").unwrap();
    assert!(matches!(archive(&out, io::sink()), Err(ArchiveError::Stranger { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Neither the order of entries, nor where the folder is, nor when it is made, nor what was there changes a byte.
    #[test]
    fn two_builds_give_the_same_bytes(
        names in proptest::collection::btree_map("[a-z]{1,8}", "[a-z]{0,50}", 1..8)
            .prop_map(|names| names.into_iter().collect::<Vec<_>>()),
        seed in any::<prop::sample::Index>(),
    ) {
        let folder = Folder::new();
        let base = base_in(&folder.path.join("base"));
        let entries: Vec<Entry> = names.iter().map(|(n, text)| file(&format!("etc/c/{n}"), text)).collect();
        let mut shuffled = entries.clone();
        let middle = seed.index(entries.len());
        shuffled.rotate_left(middle);
        shuffled.reverse();
        let one = compose(&spec(base.clone(), vec![component("c", entries)]), &folder.path.join("one"));
        let two = compose(&spec(base, vec![component("c", shuffled)]), &folder.path.join("two/deeper"));
        prop_assert_eq!(one.unwrap(), two.unwrap());
        prop_assert_eq!(
            relative_content(&folder.path.join("one")),
            relative_content(&folder.path.join("two/deeper"))
        );
    }
}
