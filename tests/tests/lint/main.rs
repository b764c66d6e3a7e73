//! The linter beside the kubelet's own code: they refuse the same files, drop and admit the same, and know the same
//! fields.

#![allow(clippy::unwrap_used)]

mod alter;
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
mod types;
#[path = "../butane/yaml.rs"]
#[allow(dead_code)] // Butane configs are written in more ways.
mod yaml;

use basalt_static_pods::lint::fields::FIELDS;
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
fn the_kubelet_knows_the_same_fields() {
    let Some(kubelet) = Kubelet::find() else { return };
    let table = kubelet.fields();
    expect_test::expect_file!["../../../static-pods/src/lint/fields.txt"].assert_eq(&table);
    assert_eq!(table, FIELDS);
}
