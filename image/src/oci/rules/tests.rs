use super::*;
use crate::io::tar::TarWriter;
use crate::oci::entry::Entry;
use crate::oci::tree::Listing;

/// An entry in short: `path` a file, `path/` a directory, `path -> target` a link.
fn entry(text: &str) -> Entry {
    match (text.split_once(" -> "), text.strip_suffix('/')) {
        (Some((path, target)), _) => Entry::symlink(path, target),
        (None, Some(path)) => Entry::directory(path, 0o755),
        (None, None) => Entry::file(text, 0o644, Source::Bytes(Vec::new())),
    }
}

fn component(name: &str, entries: &[&str]) -> Component {
    Component { name: name.into(), entries: entries.iter().map(|text| entry(text)).collect() }
}

fn base() -> Tree {
    let mut tar = TarWriter::new(Vec::new(), 0);
    for path in ["usr", "usr/bin", "usr/lib", "usr/lib/systemd"] {
        tar.directory(path, 0o755).unwrap();
    }
    tar.file("usr/bin/bash", 0o755, 0, &b""[..]).unwrap();
    tar.symlink("usr/lib/modules", "/elsewhere").unwrap();
    tar.symlink("usr/tmp", "../var/tmp").unwrap();
    let bytes = tar.finish().unwrap();
    let mut tree = Tree::default();
    tree.apply(Listing::read(&bytes[..]).unwrap());
    tree
}

/// The findings about components `a` and `b` on the test base.
#[track_caller]
fn check(a: &[&str], b: &[&str], expected: &[&str]) {
    let mut components = vec![component("a", a)];
    if !b.is_empty() {
        components.push(component("b", b));
    }
    let findings = plan(&components, &base()).err().unwrap_or_default();
    let found: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn good_paths() {
    check(
        &["usr/bin/x", "usr/lib/x", "usr/libexec/x", "usr/share/x", "etc/x", "usr/bin/Ω x"],
        &["usr/lib/systemd/", "usr/bin/bash", "usr/lib/modules -> here", "etc/conf.d/"],
        &[],
    );
}

#[test]
fn texts_of_paths() {
    let plain = "the path is not relative and plain (it has a leading or final `/`, `//`, `.` or `..`); \
                 write it as `usr/bin/name`";
    for path in ["/usr/bin/x", "usr//bin/x", "usr/bin/./x", "usr/bin/../x", "..", "", "."] {
        check(&[path], &[], &[&format!("component `a`: `{path}`: {plain}")]);
    }
    check(
        &["etc/a\nb", "etc/.wh.a", "etc/.wh.a/b"],
        &[],
        &[
            "component `a`: `etc/.wh.a`: a name that begins with `.wh.` removes a file of the base instead of \
             adding one; rename the file; removing files of the base is not supported",
            "component `a`: `etc/.wh.a/b`: a name that begins with `.wh.` removes a file of the base instead of \
             adding one; rename the file; removing files of the base is not supported",
            "component `a`: `etc/a\\nb`: the path holds a control character; rename the file",
        ],
    );
    let long = format!("etc/{}", "a".repeat(256));
    assert_eq!(check_path(&long), Err(Rule::TooLong));
    assert_eq!(check_path(&long[..259]), Ok(()));
    let deep = "etc".to_owned() + &"/aaaaaaaaa".repeat(410);
    assert_eq!(check_path(&deep), Err(Rule::TooLong));
}

#[test]
fn places_outside() {
    #[track_caller]
    fn check(path: &str, words: &str) {
        match check_path(path) {
            Err(Rule::Outside { hint }) => assert!(hint.contains(words), "{path}: {hint}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    for path in ["bin/x", "sbin/x", "usr/sbin/x", "usr/local/bin/x"] {
        check(path, "usr/bin");
    }
    for path in ["lib/x", "lib64/x", "usr/lib64/x"] {
        check(path, "usr/lib");
    }
    for path in ["var/lib/x", "srv/x", "home/x", "root/x", "mnt/x", "media/x"] {
        check(path, "tmpfiles.d");
    }
    for path in ["run/x", "tmp/x", "proc/x", "sys/x", "dev/x"] {
        check(path, "nodes drop it");
    }
    check("usr/etc/x", "write etc/");
    check("opt/cni/bin/x", "usr/libexec/cni");
    check("boot/x", "Ignition");
    for path in
        ["x", "usr", "etc", "usr/bin", "usr/include/x", "sysroot/x", "ostree/x", "usr/binx/y"]
    {
        check(path, "below one of them");
    }
}

#[test]
fn modes_and_targets() {
    #[track_caller]
    fn check(kind: EntryKind, expected: Result<(), Rule>) {
        assert_eq!(check_kind(&kind), expected);
    }
    check(EntryKind::Directory { mode: 0o7777 }, Ok(()));
    check(EntryKind::Directory { mode: 0o40755 }, Err(Rule::Mode { mode: 0o40755 }));
    for (target, good) in [("/a", true), ("../b", true), ("", false), ("a\0b", false)] {
        let expected = if good { Ok(()) } else { Err(Rule::Target) };
        check(EntryKind::Symlink { target: target.into() }, expected);
    }
}

#[test]
fn clashes_within_the_image() {
    check(
        &["etc/x", "etc/x -> y", "etc/x", "etc/dir/"],
        &["etc/x", "etc/dir/", "etc/dir/file", "etc/link -> dir", "etc/link/file"],
        &[
            "component `a`: `etc/x`: the path is listed twice; remove one of the two",
            "component `b`: `etc/link/file`: `etc/link` is a symbolic link of component `b`, and this would \
             replace it by a directory; use the path the link leads to",
            "component `b`: `etc/x`: component `a` has the same path; remove one of the two",
        ],
    );
    check(
        &["etc/file"],
        &["etc/file/x"],
        &[
            "component `b`: `etc/file/x`: `etc/file` is a file of component `a`; choose another folder",
        ],
    );
    let mut components = [component("a", &["etc/dir/"]), component("b", &["etc/dir/"])];
    components[1].entries[0].kind = EntryKind::Directory { mode: 0o700 };
    assert_eq!(
        plan(&components, &base()).unwrap_err()[0].to_string(),
        "component `b`: `etc/dir`: component `a` has this directory with mode 0755; give both the same mode",
    );
}

#[test]
fn clashes_with_the_base() {
    check(
        &["usr/lib/modules/x/y", "usr/bin/bash/x", "usr/lib/systemd", "usr/bin/bash/"],
        &[],
        &[
            "component `a`: `usr/bin/bash`: it is a file or link of the base, which a directory would replace; \
             choose another name, or leave the entry out",
            "component `a`: `usr/bin/bash/x`: `usr/bin/bash` is a file of the base; choose another folder",
            "component `a`: `usr/lib/modules/x/y`: `usr/lib/modules` is a symbolic link of the base, and this \
             would replace it by a directory; use the path the link leads to",
            "component `a`: `usr/lib/systemd`: it is a directory of the base, which a file or link would replace \
             with all it holds; choose another name",
        ],
    );
    let mut components = [component("a", &["usr/lib/systemd/"])];
    components[0].entries[0].kind = EntryKind::Directory { mode: 0o700 };
    assert_eq!(
        plan(&components, &base()).unwrap_err()[0].to_string(),
        "component `a`: `usr/lib/systemd`: the base has this directory with mode 0755, and nodes keep that mode; \
         leave the entry out",
    );
}

#[test]
fn components() {
    let components = [
        component("Bad name", &["etc/a"]),
        component("a", &[]),
        component("a", &["etc/b"]),
        component("", &["etc/c"]),
    ];
    let rules: Vec<Rule> =
        plan(&components, &base()).unwrap_err().into_iter().map(|finding| finding.rule).collect();
    let expected = [Rule::ComponentName, Rule::Empty, Rule::ComponentTwice, Rule::ComponentName];
    assert_eq!(rules, expected);
}

#[test]
fn plans_missing_directories_once_and_sorted() {
    let components = [
        component("a", &["usr/libexec/x/b", "usr/bin/z", "usr/libexec/x/a", "usr/bin/"]),
        component("b", &["usr/libexec/y"]),
    ];
    let plans = plan(&components, &base()).unwrap_err();
    assert_eq!(plans[0].rule, Rule::Outside { hint: "choose a path below one of them" });

    let components = [
        component("a", &["usr/libexec/x/b", "usr/bin/z", "usr/libexec/x/a"]),
        component("b", &["usr/libexec/y", "usr/libexec/x/", "usr/lib/systemd/"]),
    ];
    let paths: Vec<Vec<&str>> = plan(&components, &base())
        .unwrap()
        .into_iter()
        .map(|plan| plan.items.into_keys().collect())
        .collect();
    assert_eq!(
        paths,
        [
            vec!["usr/bin/z", "usr/libexec", "usr/libexec/x", "usr/libexec/x/a", "usr/libexec/x/b"],
            vec!["usr/libexec", "usr/libexec/x", "usr/libexec/y"],
        ],
    );
}
