//! Images that real tools read: skopeo takes the layout and the archive, umoci unpacks them and makes a base.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panic, as tests do")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use basalt_image::io::atomic::{PlaceError, replace_file};
use basalt_image::io::digest::Digest;
use basalt_image::oci::{
    Architecture, Base, Component, Composed, Entry, EntryKind, Source, Spec, archive, compose,
};
use camino::{Utf8Path, Utf8PathBuf};
use e2e::peers::{Peer, peer};
use serde_json::Value;

const REFERENCE: &str = "lab:42.1";

struct Folder {
    _guard: tempfile::TempDir,
    path: Utf8PathBuf,
}

fn folder() -> Folder {
    let guard = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(guard.path().to_owned()).unwrap();
    Folder { _guard: guard, path }
}

fn spec(base: Base, components: Vec<Component>) -> Spec {
    Spec {
        base,
        architecture: Architecture::Amd64,
        title: "lab".into(),
        version: "42.1".into(),
        reference: REFERENCE.into(),
        created: 1_700_000_000,
        mtime: 0,
        labels: BTreeMap::from([("dev.basalt.cluster".to_owned(), "lab".to_owned())]),
        components,
    }
}

/// Components with all kinds of entries: a large file from the disk, setuid, links, an own mode, long and odd names.
fn components(folder: &Utf8Path) -> Vec<Component> {
    let program = folder.join("program");
    let noise = (0..2_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
    fs::write(&program, noise.collect::<Vec<u8>>()).unwrap();
    let bytes = |text: &str| Source::Bytes(text.as_bytes().to_vec());
    let units = "usr/lib/systemd/system";
    vec![
        Component {
            name: "programs".into(),
            entries: vec![
                Entry::file("usr/bin/program", 0o755, Source::Path(program)),
                Entry::file("usr/bin/as-root", 0o4755, bytes("as root")),
                Entry::symlink("usr/bin/alias", "program"),
            ],
        },
        Component {
            name: "config".into(),
            entries: vec![
                Entry::directory("etc/agent", 0o750),
                Entry::file("etc/agent/key", 0o600, bytes("")),
                Entry::file(format!("{units}/agent.service"), 0o644, bytes("[Service]\n")),
                Entry::symlink(
                    format!("{units}/multi-user.target.wants/agent.service"),
                    "../agent.service",
                ),
                Entry::file(format!("usr/share/{}/Ω x", "n".repeat(200)), 0o644, bytes("long")),
            ],
        },
    ]
}

/// One small layer to put on top.
fn more() -> Vec<Component> {
    let entry = Entry::file("etc/more", 0o644, Source::Bytes(b"more".to_vec()));
    vec![Component { name: "more".into(), entries: vec![entry] }]
}

/// Runs a program to its end and gives its standard output.
#[track_caller]
fn run(peer: &Peer, arguments: &[&str]) -> String {
    let output = Command::new(&peer.program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {arguments:?}: {errors}", peer.name);
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn copy(skopeo: &Peer, from: &str, to: &str, options: &[&str]) {
    let mut arguments = vec!["--insecure-policy", "copy", "--quiet"];
    arguments.extend(options);
    arguments.extend([from, to]);
    run(skopeo, &arguments);
}

/// What skopeo says about an image, and what it says about its config.
#[track_caller]
fn inspect(skopeo: &Peer, image: &str) -> (Value, Value) {
    let about = run(skopeo, &["inspect", image]);
    let config = run(skopeo, &["inspect", "--config", image]);
    (serde_json::from_str(&about).unwrap(), serde_json::from_str(&config).unwrap())
}

#[track_caller]
fn assert_is(composed: &Composed, (about, config): (Value, Value)) {
    assert_eq!(about["Digest"], composed.manifest.to_string());
    assert_eq!(about["Architecture"], "amd64");
    assert_eq!(about["Os"], "linux");
    assert_eq!(about["Created"], "2023-11-14T22:13:20Z");
    assert_eq!(about["Labels"]["org.opencontainers.image.version"], "42.1");
    assert_eq!(about["Labels"]["dev.basalt.cluster"], "lab");
    let all = composed.layers.iter();
    let (digests, diff_ids): (Vec<String>, Vec<String>) =
        all.map(|layer| (layer.digest.to_string(), layer.diff_id.to_string())).unzip();
    let from = composed.base_layers;
    assert_eq!(about["Layers"].as_array().unwrap()[from..], digests[..]);
    let found = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(found[from..], diff_ids[..]);
    assert!(config["history"].as_array().unwrap().len() >= found.len());
}

#[test]
fn skopeo_reads_the_layout_and_the_archive() {
    let Some(skopeo) = peer("skopeo") else { return };
    let folder = folder();
    let layout = folder.path.join("layout");
    let composed = compose(&spec(Base::Scratch, components(&folder.path)), &layout).unwrap();
    let file = folder.path.join("image.ociarchive");
    let written: Result<(), PlaceError> = replace_file(&file, |out| {
        archive(&layout, out).unwrap();
        Ok(())
    });
    written.unwrap();

    let from_layout = format!("oci:{layout}:{REFERENCE}");
    let from_archive = format!("oci-archive:{file}:{REFERENCE}");
    assert_is(&composed, inspect(&skopeo, &from_layout));
    assert_is(&composed, inspect(&skopeo, &from_archive));

    // A copy reads every blob and compares it with its digest.
    for (from, to) in [(&from_layout, "one"), (&from_archive, "two")] {
        let to = format!("oci:{}:{REFERENCE}", folder.path.join(to));
        copy(&skopeo, from, &to, &[]);
        assert_is(&composed, inspect(&skopeo, &to));
    }

    // What skopeo copied is in turn a base for us.
    let base = Base::Layout { folder: folder.path.join("two"), reference: Some(REFERENCE.into()) };
    let derived = folder.path.join("derived");
    let composed = compose(&spec(base, more()), &derived).unwrap();
    assert_eq!(composed.base_layers, 2);
    assert_is(&composed, inspect(&skopeo, &format!("oci:{derived}:{REFERENCE}")));
}

/// Layers without compression are taken as they are; zstd is refused by name. Both as skopeo writes them.
#[test]
fn other_compressions_of_skopeo() {
    let Some(skopeo) = peer("skopeo") else { return };
    let folder = folder();
    let layout = folder.path.join("layout");
    compose(&spec(Base::Scratch, components(&folder.path)), &layout).unwrap();
    let base = |name: &str, options: &[&str]| {
        let to = folder.path.join(name);
        let place = format!("oci:{to}:{REFERENCE}");
        copy(&skopeo, &format!("oci:{layout}:{REFERENCE}"), &place, options);
        Base::Layout { folder: to, reference: None }
    };

    // The folder format decompresses on request; the layout format always has some compression.
    let plain = format!("dir:{}", folder.path.join("plain"));
    copy(&skopeo, &format!("oci:{layout}:{REFERENCE}"), &plain, &["--dest-decompress"]);
    let to = folder.path.join("plain-layout");
    let keep = ["--dest-oci-accept-uncompressed-layers"];
    copy(&skopeo, &plain, &format!("oci:{to}:{REFERENCE}"), &keep);
    let out = folder.path.join("out");
    let plain = Base::Layout { folder: to, reference: None };
    let composed = compose(&spec(plain, more()), &out).unwrap();
    let image = format!("oci:{out}:{REFERENCE}");
    let manifest: Value =
        serde_json::from_str(&run(&skopeo, &["inspect", "--raw", &image])).unwrap();
    let kinds: Vec<&str> = (manifest["layers"].as_array().unwrap().iter())
        .map(|layer| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap())
        .collect();
    assert_eq!(kinds, ["tar", "tar", "tar+gzip"]);
    assert_is(&composed, inspect(&skopeo, &image));

    let zstd = base("zstd", &["--dest-compress", "--dest-compress-format", "zstd"]);
    let error = compose(&spec(zstd, more()), &out).unwrap_err();
    let error = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.contains("application/vnd.oci.image.layer.v1.tar+zstd"), "{error}");
    assert_is(&composed, inspect(&skopeo, &format!("oci:{out}:{REFERENCE}")));
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs umoci on an image. Without root it cannot set owners, so those are not compared then.
#[track_caller]
fn umoci_on(umoci: &Peer, verb: &str, image: &str, rest: &[&str]) {
    let mut arguments = vec![verb, "--image", image];
    if !is_root() {
        eprintln!("not root: umoci runs with --rootless, and owners are not compared");
        arguments.push("--rootless");
    }
    arguments.extend(rest);
    run(umoci, &arguments);
}

/// One line a path below `root`, with all that a layer says about it: kind, owner, mode, and content or target.
fn listing(root: &Utf8Path) -> Vec<String> {
    fn list(root: &Utf8Path, folder: &Utf8Path, lines: &mut Vec<String>) {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let about = fs::symlink_metadata(&path).unwrap();
            let owner = match is_root() {
                true => format!("{}:{}", about.uid(), about.gid()),
                false => "0:0".to_owned(),
            };
            let mode = about.permissions().mode() & 0o7777;
            let name = path.strip_prefix(root).unwrap();
            if about.is_symlink() {
                lines.push(format!("{name} {owner} -> {}", path.read_link_utf8().unwrap()));
            } else if about.is_dir() {
                lines.push(format!("{name}/ {owner} {mode:o}"));
                list(root, &path, lines);
            } else {
                let digest = Digest::of(&fs::read(&path).unwrap());
                lines.push(format!("{name} {owner} {mode:o} {digest}"));
            }
        }
    }
    let mut lines = Vec::new();
    list(root, root, &mut lines);
    lines.sort();
    lines
}

/// The same lines for what components ask for, with the directories that come by themselves.
fn expected(components: &[Component]) -> Vec<String> {
    let entries = || components.iter().flat_map(|component| &component.entries);
    let mut lines = BTreeMap::new();
    for entry in entries() {
        for (at, _) in entry.path.match_indices('/') {
            let parent = &entry.path[..at];
            lines.insert(parent, format!("{parent}/ 0:0 755"));
        }
    }
    for entry in entries() {
        let path = entry.path.as_str();
        let line = match &entry.kind {
            EntryKind::Directory { mode } => format!("{path}/ 0:0 {mode:o}"),
            EntryKind::Symlink { target } => format!("{path} 0:0 -> {target}"),
            EntryKind::File { mode, source, .. } => {
                let bytes = match source {
                    Source::Bytes(bytes) => bytes.clone(),
                    Source::Path(path) => fs::read(path).unwrap(),
                };
                format!("{path} 0:0 {mode:o} {}", Digest::of(&bytes))
            }
        };
        lines.insert(path, line);
    }
    let mut lines: Vec<String> = lines.into_values().collect();
    lines.sort();
    lines
}

#[test]
fn umoci_unpacks_what_was_put_in() {
    let Some(umoci) = peer("umoci") else { return };
    let folder = folder();
    let layout = folder.path.join("layout");
    let bundle = folder.path.join("bundle");
    let components = components(&folder.path);
    compose(&spec(Base::Scratch, components.clone()), &layout).unwrap();
    umoci_on(&umoci, "unpack", &format!("{layout}:{REFERENCE}"), &[bundle.as_str()]);
    assert_eq!(listing(&bundle.join("rootfs")), expected(&components));
}

/// Makes an image with one layer for each of `changes`, which are given the root of an unpacked image.
fn image_of_umoci(umoci: &Peer, folder: &Utf8Path, changes: &[&dyn Fn(&Utf8Path)]) -> Utf8PathBuf {
    let layout = folder.join("base");
    let image = format!("{layout}:os");
    run(umoci, &["init", "--layout", layout.as_str()]);
    run(umoci, &["new", "--image", &image]);
    for (index, change) in changes.iter().enumerate() {
        let bundle = folder.join(format!("bundle-{index}"));
        umoci_on(umoci, "unpack", &image, &[bundle.as_str()]);
        change(&bundle.join("rootfs"));
        run(umoci, &["repack", "--image", &image, bundle.as_str()]);
    }
    layout
}

#[test]
fn an_image_of_umoci_is_a_base() {
    let (Some(umoci), Some(skopeo)) = (peer("umoci"), peer("skopeo")) else { return };
    let folder = folder();
    let programs = |root: &Utf8Path| {
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir_all(root.join("usr/lib/old")).unwrap();
        fs::write(root.join("usr/bin/bash"), "bash").unwrap();
    };
    let links = |root: &Utf8Path| {
        std::os::unix::fs::symlink("../share", root.join("usr/lib/modules")).unwrap();
        fs::remove_dir(root.join("usr/lib/old")).unwrap();
    };
    let base = image_of_umoci(&umoci, &folder.path, &[&programs, &links]);
    let base_of = |reference: &str| Base::Layout {
        folder: base.clone(),
        reference: Some(reference.to_owned()),
    };
    let mut components = components(&folder.path);
    // The second layer of the base removed a directory of this name.
    let old = Entry::file("usr/lib/old", 0o644, Source::Bytes(b"new".to_vec()));
    components[0].entries.push(old);
    let out = folder.path.join("out");
    let composed = compose(&spec(base_of("os"), components.clone()), &out).unwrap();
    assert_eq!(composed.base_layers, 2);
    let image = format!("oci:{out}:{REFERENCE}");
    assert_is(&composed, inspect(&skopeo, &image));
    copy(&skopeo, &image, &format!("dir:{}", folder.path.join("dir")), &[]);

    let bundle = folder.path.join("bundle");
    umoci_on(&umoci, "unpack", &format!("{out}:{REFERENCE}"), &[bundle.as_str()]);
    assert_eq!(fs::read_to_string(bundle.join("rootfs/usr/bin/bash")).unwrap(), "bash");
    let found = listing(&bundle.join("rootfs"));
    for line in expected(&components) {
        assert!(found.contains(&line), "{line} is not in {found:#?}");
    }

    let entry = Entry::file("usr/lib/modules/x", 0o644, Source::Bytes(vec![]));
    let bad = vec![Component { name: "bad".into(), entries: vec![entry] }];
    let error = compose(&spec(base_of("os"), bad), &out).unwrap_err().to_string();
    assert!(error.contains("`usr/lib/modules` is a symbolic link of the base"), "{error}");
    let error = compose(&spec(base_of("other"), more()), &out).unwrap_err();
    let error = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.contains("no image `other` for linux/amd64; it has `os`"), "{error}");
    assert_is(&composed, inspect(&skopeo, &image));
}

/// `umoci insert` leaves the end of the tar stream out. Nodes read layers with the same crate as we do, so such a base
/// is refused here and not on the node.
#[test]
fn a_layer_without_its_end_is_refused() {
    let Some(umoci) = peer("umoci") else { return };
    let folder = folder();
    let base = image_of_umoci(&umoci, &folder.path, &[]);
    let file = folder.path.join("file");
    fs::write(&file, "text").unwrap();
    umoci_on(&umoci, "insert", &format!("{base}:os"), &[file.as_str(), "/usr/bin/file"]);
    let out = folder.path.join("out");
    let base = Base::Layout { folder: base, reference: None };
    let error = compose(&spec(base, more()), &out).unwrap_err();
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(text.ends_with("is not a readable layer"), "{text}");
    assert!(error.hint().unwrap().contains("nodes cannot read it either"), "{error:?}");
    assert!(!out.exists());
}
