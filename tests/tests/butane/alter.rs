//! Configs of the corpus, with some lines changed, and for another variant or version.

use crate::case::{Case, Source};
use crate::odd;
use crate::random::Random;
use crate::reference::{Specification, Wanted};

/// Alters one of `corpus` by the choices of this seed.
pub(crate) fn alter(corpus: &[String], specifications: &[Specification], seed: u64) -> Case {
    let mut random = Random::new(seed);
    let mut lines: Vec<String> = random.pick(corpus).lines().map(str::to_owned).collect();
    let specification = random.pick(specifications);
    if random.percent(80) {
        retarget(&mut lines, specification);
    }
    for _ in 0..*random.pick(&[0, 1, 1, 2, 3]) {
        if !lines.is_empty() {
            change(&mut lines, corpus, &mut random);
        }
    }
    // The reference reads the first document only.
    let is_end = |line: &String| line.starts_with("---") || line.starts_with("...");
    // A byte order mark belongs to the beginning.
    lines.retain(|line| !is_end(line) && !line.contains('\u{feff}'));
    let wanted = if random.percent(60) { Wanted::Variant } else { Wanted::Ignition };
    Case { source: Source::Lines(lines), wanted }
}

/// Makes it a config for another variant and version.
fn retarget(lines: &mut Vec<String>, specification: &Specification) {
    for line in lines.iter_mut() {
        if line.starts_with("variant: ") {
            *line = format!("variant: {}", specification.variant);
        } else if line.starts_with("version: ") {
            *line = format!("version: {}", specification.version);
        }
    }
    let has_metadata = lines.iter().any(|line| line.starts_with("metadata:"));
    if specification.variant == "openshift" && !has_metadata {
        let labels =
            "metadata: {name: a, labels: {machineconfiguration.openshift.io/role: worker}}";
        lines.push(labels.to_owned());
    }
}

fn change(lines: &mut Vec<String>, corpus: &[String], random: &mut Random) {
    let at = random.below(lines.len());
    match random.below(6) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let to = random.below(lines.len());
            lines.swap(at, to);
        }
        3 => {
            if let Some((key, _)) = lines[at].split_once(": ") {
                let pool = *random.pick(&[odd::TEXTS, odd::NUMBERS, odd::FLAGS]);
                lines[at] = format!("{key}: {}", random.pick(pool));
            }
        }
        4 => {
            // A value that another config has for the same key.
            let Some((key, _)) = lines[at].split_once(": ") else { return };
            let name = format!("{}: ", key.trim_start_matches([' ', '-']));
            let others: Vec<&str> = corpus
                .iter()
                .flat_map(|text| text.lines())
                .filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(&name))
                .collect();
            if !others.is_empty() {
                lines[at] = format!("{key}: {}", random.pick(&others));
            }
        }
        _ => {
            // Lines of another config, at the indentation they have there.
            let other: Vec<&str> = random.pick(corpus).lines().collect();
            if !other.is_empty() {
                let from = random.below(other.len());
                let count = 1 + random.below(6);
                let taken = other.iter().skip(from).take(count).map(|line| (*line).to_owned());
                lines.splice(at..at, taken.collect::<Vec<_>>());
            }
        }
    }
}
