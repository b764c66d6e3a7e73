//! The law that holds for all rules: once a plan is applied, the next one is empty.

use super::*;

/// Pods with names and files from small alphabets, so that generations overlap, clash and differ.
fn pods() -> impl Strategy<Value = Vec<StaticPod>> {
    let file = prop::sample::select(vec!["x", "y", "x/y", "d/e/f"]);
    let files = prop::collection::btree_map(file, prop::sample::select(vec!["1", "2"]), 0..3);
    let names = prop::sample::select(vec!["a", "b", "c", "d"]);
    prop::collection::btree_map(names, files, 0..4).prop_map(|pods| {
        (pods.into_iter())
            .map(|(name, mut files)| {
                // One name cannot be a file and a folder at once.
                if files.contains_key("x/y") {
                    files.remove("x");
                }
                pod(name, &files.into_iter().collect::<Vec<_>>())
            })
            .collect()
    })
}

/// What other hands do to a host.
#[derive(Clone, Debug)]
enum Tamper {
    Write(&'static str),
    Remove(&'static str),
    Mode(&'static str),
    Link(&'static str),
    RemoveDirectory(&'static str),
}

fn tampering() -> impl Strategy<Value = Vec<Tamper>> {
    let path = || {
        prop::sample::select(vec![
            "/etc/kubernetes/manifests/a.yaml",
            "/etc/kubernetes/manifests/b.yaml",
            "/etc/kubernetes/manifests/.basalt-a.yaml.tmp",
            "/etc/kubernetes/manifests/stranger",
            "/etc/basalt/pods/a/x",
            "/etc/basalt/pods/b/x/y",
            "/etc/basalt/pods/b/d/e/f",
            "/etc/basalt/pods/c/.basalt-x.tmp",
            LEDGER_PATH,
            ACCEPTED_NODE_PATH,
        ])
    };
    let directory = prop::sample::select(vec![
        "/etc/kubernetes",
        "/etc/kubernetes/manifests",
        "/etc/basalt/pods",
        "/etc/basalt/pods/b",
        STATE_DIRECTORY,
    ]);
    let tamper = prop_oneof![
        path().prop_map(Tamper::Write),
        path().prop_map(Tamper::Remove),
        path().prop_map(Tamper::Mode),
        path().prop_map(Tamper::Link),
        directory.prop_map(Tamper::RemoveDirectory),
    ];
    prop::collection::vec(tamper, 0..6)
}

impl Tamper {
    fn apply(&self, bench: &Bench) {
        // Some of it fails, where something else was done before; that is part of the mix.
        let at = |path: &str| bench.host.path(path);
        let _ = match self {
            Tamper::Write(path) => {
                let _ = std::fs::create_dir_all(at(path).parent().unwrap());
                std::fs::write(at(path), "tampered")
            }
            Tamper::Remove(path) => std::fs::remove_file(at(path)),
            Tamper::Mode(path) => {
                std::fs::set_permissions(at(path), std::fs::Permissions::from_mode(0o666))
            }
            Tamper::Link(path) => {
                let _ = std::fs::remove_file(at(path));
                symlink("/dev/null", at(path))
            }
            Tamper::RemoveDirectory(path) => std::fs::remove_dir_all(at(path)),
        };
    }
}

/// One round on the real files, from what is on disk. `pods` stand for what the static pods of any node would be.
fn round(bench: &Bench, pods: &[StaticPod]) -> (Decision, Plan, Outcome) {
    let inputs = inputs(&bench.host);
    let decision = decide(&inputs, |_| Ok::<_, String>(pods.to_vec()));
    let observed =
        observe(&bench.host, &inputs.ledger, &SetsSeen::default(), decision.desired.as_ref());
    let plan = match &decision.desired {
        Some(desired) => plan(desired, &inputs.ledger, &observed, bench.policy),
        None => Plan::default(),
    };
    let outcome = bench.apply(&plan.steps);
    (decision, plan, outcome)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever was there before, whatever others did to it, and wherever the agent was interrupted: one round later
    /// there is nothing left to do, everything wanted is there, and nothing of ours that is not.
    #[test]
    fn after_a_round_there_is_nothing_left_to_do(
        before in pods(),
        after in pods(),
        tampering in tampering(),
        interrupted_after in 0usize..30,
    ) {
        let bench = Bench::new();
        bench.write("/etc/basalt/node.json", &node_json(1, "lab"));
        let (_, _, outcome) = round(&bench, &before);
        prop_assert_eq!(outcome.failures, vec![]);

        bench.write("/etc/basalt/node.json", &node_json(2, "lab"));
        let inputs = inputs(&bench.host);
        let decision = decide(&inputs, |_| Ok::<_, String>(after.clone()));
        let steps = bench.plan(decision.desired.as_ref().unwrap()).steps;
        bench.apply(&steps[..interrupted_after.min(steps.len())]);
        for tamper in &tampering {
            tamper.apply(&bench);
        }

        let (decision, _, outcome) = round(&bench, &after);
        if let Some(failure) = outcome.failures.first() {
            // Only when a file that is not on record is where a folder belongs; it is not for us to remove.
            prop_assert!(!tampering.is_empty());
            let hint = failure.hint.as_deref();
            prop_assert_eq!(hint, Some("something else is in its place: move it away"));
            return Ok(());
        }
        let desired = decision.desired.unwrap();
        prop_assert_eq!(desired.node.generation, 2);
        let (_, left, _) = round(&bench, &after);
        prop_assert_eq!(left.steps, vec![]);
        for pod in &after {
            let manifest = bench.host.path(&manifest_path(&desired, pod));
            let text = std::fs::read_to_string(manifest).unwrap();
            let uid = pod_identity(&text).and_then(|pod| pod.uid).unwrap();
            prop_assert_eq!(text, stamp(&pod.manifest, &uid));
            for file in &pod.files {
                let contents = std::fs::read_to_string(bench.host.path(file.path.as_str()));
                prop_assert_eq!(&contents.unwrap(), &file.contents);
            }
        }
        let gone = before.iter().filter(|old| after.iter().all(|new| new.name != old.name));
        for path in gone.map(|pod| manifest_path(&desired, pod)) {
            if bench.host.path(&path).symlink_metadata().is_ok() {
                prop_assert!(!tampering.is_empty(), "{path} is still there");
                let is_reported = left.strangers.iter().any(|stranger| stranger.path == path);
                prop_assert!(is_reported, "{path} is still there and nobody says so");
            }
        }
    }
}
