//! Holds the tables against the lists of Podman's and compose's own documents: nothing that can be written is unknown.

use std::collections::BTreeSet;

use super::compose::FIELDS;
use super::keys::{BUILD_KEYS, CONTAINER, IMAGE, KUBE_KEYS, NETWORK, POD, SERVICE, VOLUME};
use super::options::{OPTIONS, POD_ONLY};

const QUADLET_KEYS: &str = include_str!("../../tests/import/lists/quadlet-keys.txt");
const RUN_OPTIONS: &str = include_str!("../../tests/import/lists/run-options.txt");
const POD_CREATE_OPTIONS: &str = include_str!("../../tests/import/lists/pod-create-options.txt");
const COMPOSE_FIELDS: &str = include_str!("../../tests/import/lists/compose-fields.txt");

/// The lines of a list.
fn lines(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.lines().filter(|line| !line.starts_with('#'))
}

/// Names on the line that begins with `first`.
fn names(list: &'static str, first: &str) -> BTreeSet<&'static str> {
    let line = lines(list).find_map(|line| line.strip_prefix(first)?.strip_prefix(' '));
    let names: BTreeSet<_> = line.unwrap().split(' ').collect();
    assert!(!names.is_empty());
    names
}

#[track_caller]
fn check<'n>(topic: &str, documented: BTreeSet<&'n str>, known: BTreeSet<&'n str>, more: &[&str]) {
    let missing: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty(), "{topic}: without a row: {missing:?}");
    let surplus: Vec<_> =
        known.difference(&documented).filter(|name| !more.contains(name)).collect();
    assert!(surplus.is_empty(), "{topic}: in no document: {surplus:?}");
}

#[test]
fn keys_of_quadlets() {
    for (section, table, more) in [
        // Of later versions.
        ("Container", CONTAINER, &["AppArmor", "HttpProxy"][..]),
        // Of podman 5.7.
        ("Pod", POD, &["StopTimeout"]),
        ("Volume", VOLUME, &[]),
        ("Network", NETWORK, &[]),
        ("Kube", KUBE_KEYS, &[]),
        ("Image", IMAGE, &[]),
    ] {
        let known = table.iter().map(|(key, _)| *key).collect();
        check(section, names(QUADLET_KEYS, section), known, more);
    }
    check("Build", names(QUADLET_KEYS, "Build"), BUILD_KEYS.into(), &["IgnoreFile", "BuildArg"]);
}

#[test]
fn options_of_run() {
    // Of older versions, of `pull`, or of Docker.
    let more = [
        "cert-dir",
        "creds",
        "domainname",
        "init-ctr",
        "dns-opt",
        "kernel-memory",
        "link",
        "net",
        "runtime",
        "runtime-flag",
        "signature-policy",
        "storage-opt",
        "volume-driver",
    ];
    let known = OPTIONS.iter().map(|row| row.0).collect();
    check("run", lines(RUN_OPTIONS).collect(), known, &more);
}

#[test]
fn options_of_pod_create() {
    let known: BTreeSet<&str> =
        OPTIONS.iter().map(|row| row.0).chain(POD_ONLY.iter().map(|(name, _)| *name)).collect();
    let documented: BTreeSet<&str> = lines(POD_CREATE_OPTIONS).collect();
    let missing: Vec<_> = documented.difference(&known).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
}

#[test]
fn fields_of_compose_files() {
    for (object, table) in FIELDS {
        let known = table.iter().map(|(field, _)| *field).collect();
        check(object, names(COMPOSE_FIELDS, object), known, &["driver_opts"]);
    }
}

#[test]
fn keys_of_services_once() {
    let keys: BTreeSet<&str> = SERVICE.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), SERVICE.len());
}

#[test]
fn every_reason_has_a_remedy() {
    for row in OPTIONS {
        if let super::options::How::Lost((reason, remedy)) = row.3 {
            assert!(!reason.is_empty() && !remedy.is_empty(), "--{}", row.0);
        }
    }
    for (key, found) in [CONTAINER, POD, VOLUME, NETWORK, KUBE_KEYS, IMAGE, SERVICE].concat() {
        if let super::keys::Key::Lost(reason, remedy) = found {
            assert!(!reason.is_empty() && !remedy.is_empty(), "{key}");
        }
    }
}
