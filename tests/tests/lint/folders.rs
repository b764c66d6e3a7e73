//! Folders of several pods that want ports of the host, through the kubelet's admission and the linter.

use crate::compare::differences;
use crate::kubelet::{Folder, Kubelet, Verdict};
use crate::random::Random;

const COUNT: u64 = 3000;

#[test]
fn made_up_folders() {
    let Some(kubelet) = Kubelet::find() else { return };
    let folders: Vec<Folder> = (0..COUNT).map(folder).collect();
    let verdicts = kubelet.look(&folders);
    let not_admitted =
        verdicts.iter().flatten().filter(|verdict| !verdict.not_admitted.is_empty()).count();
    assert!(not_admitted > 100, "{not_admitted} pods are not admitted");
    for (folder, verdicts) in folders.iter().zip(&verdicts) {
        // A pod that is not taken holds no ports, which the linter does not go by: one of the two has to change anyway.
        let is_taken =
            |verdict: &Verdict| verdict.refused.is_empty() && verdict.not_admitted.is_empty();
        let first = verdicts.iter().position(|verdict| !is_taken(verdict));
        let count = first.map_or(verdicts.len(), |first| first + 1);
        let (folder, verdicts) = (&folder[..count], &verdicts[..count]);
        let found = differences(folder, verdicts);
        let texts: Vec<_> = folder.iter().map(|(_, text)| String::from_utf8_lossy(text)).collect();
        assert!(found.is_empty(), "{found:?}\n{}", texts.join("\n---\n"));
    }
}

fn folder(seed: u64) -> Folder {
    let mut random = Random::new(seed);
    let count = 2 + random.below(2);
    (0..count)
        .map(|index| (format!("{index}.yaml"), pod(index, &mut random).into_bytes()))
        .collect()
}

fn pod(index: usize, random: &mut Random) -> String {
    let mut text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: pod{index}}}\nspec:\n");
    text += &format!("  hostNetwork: {}\n", random.percent(60));
    if random.percent(30) {
        let sidecar = if random.percent(60) { ", restartPolicy: Always" } else { "" };
        text += &format!(
            "  initContainers:\n  - {{name: init, image: a{sidecar}, ports: {}}}\n",
            ports(random)
        );
    }
    text += &format!("  containers:\n  - {{name: main, image: a, ports: {}}}\n", ports(random));
    text
}

fn ports(random: &mut Random) -> String {
    let port = |random: &mut Random| {
        let number = *random.pick(&[80, 81, 82]);
        let mut port = format!("containerPort: {number}");
        if random.percent(30) {
            let outside = if random.percent(80) { number } else { 80 };
            port += &format!(", hostPort: {outside}");
        }
        if random.percent(30) {
            port += &format!(", protocol: {}", random.pick(&["TCP", "UDP", "\"\""]));
        }
        if random.percent(40) {
            let addresses = ["10.0.0.1", "10.0.0.2", "0.0.0.0", "\"::\"", "\"::1\"", "\"\""];
            port += &format!(", hostIP: {}", random.pick(&addresses));
        }
        format!("{{{port}}}")
    };
    let count = random.below(3);
    format!("[{}]", (0..count).map(|_| port(random)).collect::<Vec<_>>().join(", "))
}
