//! Ignition → Butane: what a compiler made compiles to the same again, and reads like something a person wrote.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::fs;

use basalt_butane::{
    Layout, Options, Output, ReverseOptions, Warnings, compile, compile_node, reverse,
};
use basalt_model::cluster::Cluster;
use camino::Utf8PathBuf;


fn corpus() -> Utf8PathBuf {
    Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn compiled(name: &str, butane: &[u8], output: Output) -> Option<String> {
    let files = corpus().join("files");
    let options = Options { files_dir: Some(&files), warnings: Warnings::Allowed, output };
    compile(name, butane, &options).0.map(|compiled| compiled.text(Layout::Compact))
}

fn reversed(name: &str, config: &str, variant: Option<&str>) -> String {
    let (text, report) = reverse(
        name,
        config.as_bytes(),
        &ReverseOptions { variant, warnings: Warnings::Allowed },
    );
    text.unwrap_or_else(|| panic!("{name}: {report}\n{config}"))
}

/// The variant that a Butane config names.
fn variant(butane: &str) -> &str {
    let line = butane.lines().find(|line| line.starts_with("variant:")).unwrap_or("variant: fcos");
    line["variant:".len()..].trim()
}

/// The config compiles, and compiles to the same when it has been reversed.
#[track_caller]
fn check_round_trip(name: &str, butane: &str) {
    let config = compiled(name, butane.as_bytes(), Output::Variant).unwrap();
    let text = reversed(name, &config, Some(variant(butane)));
    let again = compiled(name, text.as_bytes(), Output::Variant);
    assert_eq!(again.as_ref(), Some(&config), "{name}:\n{butane}\n---\n{text}");
}

#[test]
fn the_corpus_survives_the_round_trip() {
    let mut count = 0;
    for entry in corpus().join("good").read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        let Ok(butane) = fs::read_to_string(&path) else { continue };
        count += 1;
        check_round_trip(path.as_str(), &butane);
    }
    assert!(count > 50, "{count}");
}

#[test]
fn the_configs_of_nodes_survive_the_round_trip() {
    let lab = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/clusters/lab");
    let bytes = fs::read(lab.join("cluster.yaml")).unwrap();
    let (cluster, _) = Cluster::parse("cluster.yaml", &bytes).unwrap();
    for node in &cluster.nodes {
        let config = compile_node(node, &[], None).0.unwrap();
        let text = reversed("node.ign", &config.ignition, None);
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let again = compiled("node.bu", text.as_bytes(), Output::Variant).unwrap();
        assert_eq!(json(&again), json(&config.ignition), "{text}");
        assert!(!text.contains("data:"), "{text}");
    }
}
