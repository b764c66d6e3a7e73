//! Texts and folders that are not what they should be: each gives a finding with its place, in little time and memory.
//!
//! The time limit is a guard against hanging, far above what any of them takes. All texts together are read again by a
//! process that the kernel gives one gibibyte of addresses.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use basalt_butane::{Compiled, Options, Output, Warnings, compile};
use basalt_model::report::Report;
use camino::{Utf8Path, Utf8PathBuf};

const LIMIT: Duration = Duration::from_secs(60);

/// What the process of [`in_little_memory`] may use, in KiB: a text, its values several times, and the test itself.
const ADDRESSES_KIBIBYTES: u32 = 1024 * 1024;

const HEAD: &str = "variant: fcos\nversion: 1.4.0\n";

fn run(bytes: &[u8], files_dir: Option<&Utf8Path>) -> (Option<Compiled>, Report) {
    let start = Instant::now();
    let options = Options { files_dir, warnings: Warnings::Allowed, output: Output::Variant };
    let (compiled, report) = compile("a.bu", bytes, &options);
    assert_eq!(compiled.is_none(), report.has_errors());
    assert!(start.elapsed() < LIMIT, "it took {:?}", start.elapsed());
    (compiled, report)
}

/// A text that is refused, with a finding that begins like this.
#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, expected: &str) {
    let (compiled, report) = run(bytes.as_ref(), None);
    assert!(compiled.is_none());
    let text = report.to_string();
    assert!(text.lines().any(|line| line.starts_with(expected)), "{}", beginning(&text));
    assert!(report.sorted().iter().all(|finding| finding.message.len() < 2100));
}

/// A text with a body that compiles all the same.
#[track_caller]
fn compiles(body: &str) -> Report {
    let (compiled, report) = run(format!("{HEAD}{body}").as_bytes(), None);
    assert!(compiled.is_some(), "{}", beginning(&report.to_string()));
    report
}

fn beginning(text: &str) -> String {
    text.chars().take(500).collect()
}

fn with_head(body: impl AsRef<str>) -> String {
    format!("{HEAD}{}", body.as_ref())
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "{}", line(number));
        text
    })
}

#[test]
fn not_a_text() {
    refused(b"\xff\xfe\x00", "a.bu:1:1: not UTF-8");
    refused(b"variant: fcos\nversion: \xe9", "a.bu:2:10: not UTF-8");
    refused(with_head("storage:\n\tfiles: []\n"), "a.bu:4:1: not YAML: found character");
    refused(with_head("a: \u{7}\n"), "a.bu:3:4: control character U+0007");
    refused("", "a.bu:1:1: $: there is no config");
    refused(vec![b'#'; 100_000_000], "a.bu:1:1: the file has 100000000 bytes; at most");
    assert!(run("\u{feff}variant: fcos\r\nversion: 1.4.0\r\n".as_bytes(), None).0.is_some());
}

#[test]
fn too_deep() {
    const DEEP: usize = 10_000;
    const FAULT: &str = "nested deeper than 200 levels";
    refused(with_head(format!("storage: {}", "[".repeat(DEEP))), &format!("a.bu:3:209: {FAULT}"));
    let maps = format!("storage: {}", "{a: ".repeat(DEEP));
    refused(with_head(maps), &format!("a.bu:3:806: {FAULT}"));
    let lists = format!("storage:\n  {}x\n", "- ".repeat(DEEP));
    refused(with_head(lists), &format!("a.bu:4:401: {FAULT}"));
    let indented = lines(2000, |level| format!("{}a:", " ".repeat(level)));
    refused(with_head(indented), &format!("a.bu:203:201: {FAULT}"));
    for value in ["{k: *a", "{<<: *a", "[*a"] {
        let end = if value.starts_with('[') { ']' } else { '}' };
        let chain = lines(5000, |n| format!("a{}: &a{} {value}{n}{end}", n + 1, n + 1));
        refused(with_head(format!("a0: &a0 {{k: x}}\n{chain}")), "a.bu:202:");
    }
}

#[test]
fn too_many_values() {
    const FAULT: &str = "more than 1000000 values";
    let bomb = lines(11, |n| {
        format!("a{}: &a{} [{}]", n + 1, n + 1, vec![format!("*a{n}"); 10].join(","))
    });
    refused(with_head(format!("a0: &a0 [x]\n{bomb}")), &format!("a.bu:9:26: {FAULT}"));
    let items = "a,".repeat(900_000);
    refused(with_head(format!("storage: {}", format!("[{items}").repeat(4))), "a.bu:3:2000");
    let anchors = lines(190, |n| format!("{}- &a{n}", " ".repeat(n)));
    let large = format!("a:\n{anchors}{}[{}]\n", " ".repeat(190), "a,".repeat(10_000));
    refused(with_head(large), "a.bu:");
    refused(with_head(lines(600_000, |n| format!("k{n}: 1"))), "a.bu:50");
}

#[test]
fn cycles() {
    refused(with_head("storage: &s\n  <<: *s\n"), "a.bu:4:7: `*s` names an anchor");
    refused(with_head("storage: &s\n  files: [*s]\n"), "a.bu:4:11: `*s` names an anchor");
    let wide = lines(1000, |n| format!("  k{n}: 1"));
    compiles(&format!("x: &x\n{wide}storage:\n  <<: [{}]\n", vec!["*x"; 400].join(",")));
}

#[test]
fn huge_scalars() {
    let huge = "x".repeat(2_000_000);
    let file = |field: &str| with_head(format!("storage:\n  files:\n  - path: /a\n    {field}\n"));
    refused(file(&format!("mode: {huge}")), "a.bu:6:11: $.storage.files.0.mode: a whole number");
    refused(with_head(format!("a: *{huge}")), "a.bu:3:4: `*xxx");
    refused(
        format!("variant: {huge}\nversion: 1.4.0"),
        "a.bu:1:10: $.variant: there is no variant",
    );
    refused(format!("variant: fcos\nversion: {huge}"), "a.bu:2:10: $.version: `xxx");
    let report = compiles(&format!("? {huge}\n: 1\n"));
    assert!(report.to_string().len() < 5000);
    compiles(&format!("storage: {{files: [{{path: /a, contents: {{inline: {huge}}}}}]}}"));
    compiles(&format!(
        "storage: {{links: [{{path: /b, target: c}}], files: [{{path: {}}}]}}",
        "/a".repeat(1_000_000)
    ));
}

#[test]
fn very_many_of_a_kind() {
    let report = compiles(&lines(100_000, |n| format!("k{n}: 1")));
    assert!(report.is_cut_short());
    let same = lines(50_000, |n| format!("k{n}: 1"));
    refused(with_head(format!("{same}{same}")), "a.bu:50003:1: ");
    let wrong = lines(20_000, |n| format!("  - {{path: /d{n}, mode: no, ovrwrite: 1}}"));
    refused(with_head(format!("storage:\n  files:\n{wrong}")), "a.bu:5:23: ");
    let disks = lines(40_000, |n| format!("  - device: /dev/d{n}"));
    let filesystems = lines(40_000, |n| format!("  - {{device: /dev/f{n}, format: xfs}}"));
    compiles(&format!("storage:\n  disks:\n{disks}  filesystems:\n{filesystems}"));
    let folders = lines(40_000, |n| format!("  - path: /d{n}"));
    let links = lines(40_000, |n| format!("  - {{path: /l{n}, target: /x, hard: true}}"));
    compiles(&format!("storage:\n  directories:\n{folders}  links:\n{links}"));
    let partitions = lines(40_000, |n| {
        format!("    - {{number: {n}, label: l{n}, start_mib: {n}, size_mib: 1}}")
    });
    compiles(&format!("storage:\n  disks:\n  - device: /dev/d\n    partitions:\n{partitions}"));
}

#[test]
fn in_little_memory() {
    let texts = [
        "not_a_text",
        "too_deep",
        "too_many_values",
        "cycles",
        "huge_scalars",
        "very_many_of_a_kind",
    ];
    let output = Command::new("sh")
        .args(["-c", r#"ulimit -v "$0" && exec "$@""#])
        .arg(ADDRESSES_KIBIBYTES.to_string())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--test-threads=1"])
        .args(texts)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(&format!("{} passed", texts.len())), "{text}");
}

/// A files directory with a tree, and what is said of it.
fn tree(make: impl FnOnce(&Utf8Path)) -> (Option<Compiled>, String) {
    let folder = tempfile::tempdir().unwrap();
    let files = Utf8Path::from_path(folder.path()).unwrap().join("files");
    fs::create_dir_all(files.join("tree")).unwrap();
    make(&files.join("tree"));
    let text = with_head("storage: {trees: [{local: tree}]}");
    let (compiled, report) = run(text.as_bytes(), Some(&files));
    (compiled, report.to_string())
}

fn make_node(path: &Utf8Path, kind: &[&str]) -> bool {
    let [name, rest @ ..] = kind else { return false };
    Command::new("mknod")
        .arg(path)
        .arg(name)
        .args(rest)
        .status()
        .is_ok_and(|status| status.success())
}

#[test]
fn what_is_no_file() {
    for kind in [&["p"][..], &["c", "1", "5"], &["b", "7", "0"]] {
        let mut was_made = false;
        let (compiled, report) = tree(|tree| was_made = make_node(&tree.join("node"), kind));
        // Devices take a privilege to make.
        if was_made {
            assert!(compiled.is_none());
            assert!(report.starts_with("a.bu:3:19: $.storage.trees.0: "), "{report}");
            assert!(report.contains("is a device, pipe or socket"), "{report}");
        }
    }
    let mut socket = None;
    let (_, report) = tree(|tree| socket = Some(UnixListener::bind(tree.join("s")).unwrap()));
    assert!(report.contains("is a device, pipe or socket"), "{report}");
}

#[test]
fn what_cannot_be_read() {
    // The kernel refuses to read it whoever asks, as it refuses others what is not theirs.
    let files = Utf8PathBuf::from("/proc/self");
    let text = with_head("storage: {files: [{path: /a, contents: {local: mem}}]}");
    let (compiled, report) = run(text.as_bytes(), Some(&files));
    assert!(compiled.is_none());
    let expected = "a.bu:3:48: $.storage.files.0.contents.local: cannot read `mem` below the files";
    assert!(report.to_string().starts_with(expected), "{report}");
}

#[test]
fn a_files_directory_that_is_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let base = Utf8Path::from_path(folder.path()).unwrap();
    fs::create_dir_all(base.join("real/tree")).unwrap();
    fs::write(base.join("real/tree/a"), "a").unwrap();
    fs::write(base.join("secret"), "secret").unwrap();
    symlink("../secret", base.join("real/out")).unwrap();
    symlink("real", base.join("link")).unwrap();
    symlink("round", base.join("round")).unwrap();
    let trees = with_head("storage: {trees: [{local: tree}]}");
    assert!(run(trees.as_bytes(), Some(&base.join("link"))).0.is_some());
    let out = with_head("storage: {files: [{path: /a, contents: {local: out}}]}");
    let (_, report) = run(out.as_bytes(), Some(&base.join("link")));
    assert!(report.to_string().contains("leads out of the files directory"), "{report}");
    let (_, report) = run(trees.as_bytes(), Some(&base.join("round")));
    assert!(report.to_string().starts_with("a.bu:3:"), "{report}");
}

#[test]
fn a_file_that_grows_while_it_is_read() {
    let (compiled, report) = tree(|tree| fs::write(tree.join("log"), vec![b'a'; 1 << 20]).unwrap());
    assert!(compiled.is_some(), "{report}");
    let folder = tempfile::tempdir().unwrap();
    let files = Utf8Path::from_path(folder.path()).unwrap();
    let mut log = File::create(files.join("log")).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Up to a limit, for the disk's sake.
            for _ in 0..4096 {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                log.write_all(&[b'a'; 1 << 14]).unwrap();
            }
        });
        let text = with_head("storage: {files: [{path: /a, contents: {local: log}}]}");
        for _ in 0..5 {
            let (compiled, report) = run(text.as_bytes(), Some(files));
            assert!(compiled.is_some(), "{report}");
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn names_that_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let (compiled, report) = tree(|tree| {
        let name = std::ffi::OsStr::from_bytes(b"a\xff");
        fs::write(tree.as_std_path().join(name), "a").unwrap();
    });
    assert!(compiled.is_none());
    assert!(report.starts_with("a.bu:3:19: $.storage.trees.0: cannot read the folder"), "{report}");
}
