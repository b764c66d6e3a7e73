//! The linter beside the kubelet's own code: they refuse the same files, drop and admit the same, and know the same
//! fields.

#![allow(clippy::unwrap_used)]

mod alter;
mod bounds;
mod checklist;
mod compare;
mod corpus;
mod differential;
mod folders;
mod generate;
mod kubelet;
mod odd;
mod pools;
#[path = "../butane/random.rs"]
mod random;
mod running;
mod sarif;
mod types;
#[path = "../butane/yaml.rs"]
#[allow(dead_code)] // Butane configs are written in more ways.
mod yaml;

use std::process::Command;

use e2e::peers::peer;
use kubelet::Kubelet;

#[test]
fn the_kubelet_says_the_same_of_the_corpus() {
    let Some(kubelet) = Kubelet::find() else { return };
    let corpus = corpus::corpus();
    assert!(corpus.len() >= 200, "{} manifests", corpus.len());
    let folders: Vec<_> = corpus.into_iter().map(|file| vec![file]).collect();
    let mut different = String::new();
    for (folder, verdicts) in folders.iter().zip(kubelet.look(&folders)) {
        for difference in compare::differences(folder, &verdicts) {
            different += &format!("{}: {difference}\n", folder[0].0);
        }
    }
    assert!(different.is_empty(), "{different}");
}

/// `UPDATE_EXPECT=1` writes the table anew.
#[test]
fn the_fields_are_those_of_kubernetes() {
    let Some(peer) = peer("kube-kinds") else { return };
    let printed = Command::new(&peer.program).arg("pod-fields").output().unwrap();
    assert!(printed.status.success());
    let table = String::from_utf8(printed.stdout).unwrap();
    expect_test::expect_file!["../../../static-pods/src/lint/fields.txt"].assert_eq(&table);
}

/// So what prints the fields has the types that the kubelet reads manifests into.
#[test]
fn the_kubelet_is_built_with_the_same_types() {
    let kinds = include_str!("../../peers/kube-kinds/go.sum");
    let kubelet = include_str!("../../peers/kubelet-file/go.sum");
    for module in ["k8s.io/api ", "k8s.io/apimachinery "] {
        let of = |go_sum: &'static str| {
            go_sum.lines().filter(|line| line.starts_with(module)).collect::<Vec<_>>()
        };
        assert_eq!(of(kinds), of(kubelet));
        assert!(!of(kinds).is_empty(), "{module}");
    }
}
