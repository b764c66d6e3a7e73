//! Made-up manifests, through the kubelet's code and the linter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::alter::{alter, garble, tree};
use crate::compare::{Difference, differences};
use crate::corpus::corpus;
use crate::generate;
use crate::kubelet::{Folder, Kubelet};
use crate::random::Random;
use crate::yaml::{Node, Style, print};

/// How many manifests are compared; `cargo test` takes a few.
const COUNT_VARIABLE: &str = "BASALT_LINT_CASES";
/// The first seed. The manifests of a seed are always the same.
const SEED_VARIABLE: &str = "BASALT_LINT_SEED";

/// How many folders the kubelet gets at once.
const BATCH: u64 = 1000;

#[test]
fn made_up_manifests() {
    let Some(kubelet) = Kubelet::find() else { return };
    compare(&kubelet, |seed| {
        let (node, mut random) = generate::pod(seed);
        Case::Tree(node, style(&mut random))
    });
}

#[test]
fn altered_manifests() {
    let Some(kubelet) = Kubelet::find() else { return };
    let parse = |name: &str| {
        let files = corpus().into_iter().filter(|(file, _)| file.starts_with(name));
        files.filter_map(|(_, text)| tree(&text)).collect::<Vec<Node>>()
    };
    // What is bad stays so however it is changed.
    let (trees, good) = (parse(""), parse("good/"));
    compare(&kubelet, |seed| {
        let mut random = Random::new(seed);
        let from = if random.percent(80) { &good } else { &trees };
        let mut node = random.pick(from).clone();
        alter(&mut node, &trees, &mut random);
        Case::Tree(node, style(&mut random))
    });
}

#[test]
fn garbled_manifests() {
    let Some(kubelet) = Kubelet::find() else { return };
    let texts: Vec<Vec<u8>> = corpus().into_iter().map(|(_, text)| text).collect();
    compare(&kubelet, |seed| {
        let mut random = Random::new(seed);
        let mut text = match random.percent(70) {
            true => random.pick(&texts).clone(),
            false => {
                let (node, mut random) = generate::pod(seed);
                Case::Tree(node, style(&mut random)).text()
            }
        };
        if text.len() < 10_000 {
            garble(&mut text, &mut random);
        }
        Case::Text(text)
    });
}

fn style(random: &mut Random) -> Written {
    match random.percent(15) {
        true => Written::Json,
        false => Written::Yaml(Style {
            indent: *random.pick(&[2, 2, 4]),
            indents_lists: random.percent(50),
            flow_from: *random.pick(&[usize::MAX, usize::MAX, 1, 2, 3, 4]),
            carriage_returns: random.percent(2),
        }),
    }
}

#[derive(Clone, Copy, Debug)]
enum Written {
    Yaml(Style),
    /// Flow YAML from the first character on, which the kubelet reads as JSON.
    Json,
}

#[derive(Clone, Debug)]
enum Case {
    Tree(Node, Written),
    Text(Vec<u8>),
}

impl Case {
    fn text(&self) -> Vec<u8> {
        match self {
            Case::Tree(node, Written::Yaml(style)) => print(node, style).into_bytes(),
            Case::Tree(node, Written::Json) => json(node).into_bytes(),
            Case::Text(text) => text.clone(),
        }
    }

    fn folder(&self) -> Folder {
        vec![("a.yaml".to_owned(), self.text())]
    }

    /// The cases with one thing less.
    fn smaller(&self) -> Vec<Case> {
        match self {
            Case::Tree(node, written) => {
                smaller(node).into_iter().map(|node| Case::Tree(node, *written)).collect()
            }
            Case::Text(text) => {
                let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
                let without = |at: usize| {
                    let rest = lines.iter().enumerate().filter(|(index, _)| *index != at);
                    Case::Text(rest.flat_map(|(_, line)| line.iter().copied()).collect())
                };
                (0..lines.len()).map(without).collect()
            }
        }
    }
}

fn smaller(node: &Node) -> Vec<Node> {
    let mut found = Vec::new();
    match node {
        Node::Map(entries) => {
            for at in 0..entries.len() {
                let mut fewer = entries.clone();
                fewer.remove(at);
                found.push(Node::Map(fewer));
            }
            for (at, (key, node)) in entries.iter().enumerate() {
                for less in smaller(node) {
                    let mut changed = entries.clone();
                    changed[at] = (key.clone(), less);
                    found.push(Node::Map(changed));
                }
            }
        }
        Node::List(items) => {
            for at in 0..items.len() {
                let mut fewer = items.clone();
                fewer.remove(at);
                found.push(Node::List(fewer));
            }
            for (at, node) in items.iter().enumerate() {
                for less in smaller(node) {
                    let mut changed = items.clone();
                    changed[at] = less;
                    found.push(Node::List(changed));
                }
            }
        }
        Node::Prefixed(_, inner) => found.push((**inner).clone()),
        Node::Scalar(_) | Node::Block(_) => {}
    }
    found
}

/// JSON, but for scalars that it does not have.
fn json(node: &Node) -> String {
    match node {
        Node::Scalar(text) => {
            let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
            if is_json || text.starts_with(['"', '.']) {
                return text.clone();
            }
            serde_json::to_string(text.trim_matches('\'')).unwrap()
        }
        Node::Block(text) => serde_json::to_string(text).unwrap(),
        Node::Prefixed(_, node) => json(node),
        Node::List(items) => {
            format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", "))
        }
        Node::Map(entries) => {
            let entry = |(key, node): &(String, Node)| match key.starts_with('"') {
                true => format!("{key}: {}", json(node)),
                false => format!("{}: {}", serde_json::to_string(key).unwrap(), json(node)),
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Compares on the cases of all seeds, and prints each difference with its smallest manifest.
fn compare(kubelet: &Kubelet, case: impl Fn(u64) -> Case) {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (count, first) = (number(COUNT_VARIABLE, 2000), number(SEED_VARIABLE, 0));
    let mut found: BTreeMap<Difference, (usize, Case)> = BTreeMap::new();
    let mut refused = 0;
    for start in (first..first + count).step_by(BATCH as usize) {
        let cases: Vec<Case> = (start..(start + BATCH).min(first + count)).map(&case).collect();
        let (own, not_taken) = look(kubelet, &cases);
        refused += not_taken;
        for (case, differences) in cases.iter().zip(own) {
            for difference in differences {
                found.entry(difference).or_insert_with(|| (0, case.clone())).0 += 1;
            }
        }
    }
    eprintln!("{refused} of {count} are refused");
    let mut table = String::new();
    for (difference, (times, case)) in &found {
        let smallest = minimised(kubelet, case, difference);
        let text = String::from_utf8_lossy(&smallest.text()).into_owned();
        writeln!(table, "=== {times} times: {difference}\n{text}").unwrap();
    }
    assert!(found.is_empty(), "{} differences in {count} manifests\n\n{table}", found.len());
}

fn look(kubelet: &Kubelet, cases: &[Case]) -> (Vec<BTreeSet<Difference>>, usize) {
    let folders: Vec<Folder> = cases.iter().map(Case::folder).collect();
    let verdicts = kubelet.look(&folders);
    let refused = verdicts.iter().filter(|verdicts| !verdicts[0].refused.is_empty()).count();
    let found =
        folders.iter().zip(&verdicts).map(|(folder, verdicts)| differences(folder, verdicts));
    (found.collect(), refused)
}

fn minimised(kubelet: &Kubelet, case: &Case, difference: &Difference) -> Case {
    let mut smallest = case.clone();
    loop {
        let candidates = smallest.smaller();
        let (found, _) = look(kubelet, &candidates);
        match found.iter().position(|differences| differences.contains(difference)) {
            Some(at) => smallest = candidates[at].clone(),
            None => return smallest,
        }
    }
}
