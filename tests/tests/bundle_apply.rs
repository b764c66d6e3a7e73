//! The applier against a real API server: what a bundle becomes, what keeps it from being applied, and what is left of it
//! when something goes wrong at any moment.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "bundle_apply/access.rs"]
mod access;
#[path = "bundle_apply/bench.rs"]
mod bench;
#[path = "bundle_apply/bundles.rs"]
mod bundles;
#[path = "bundle_apply/fetch.rs"]
mod fetch;
#[path = "bundle_apply/grants.rs"]
mod grants;
#[path = "bundle_apply/outages.rs"]
mod outages;
#[path = "bundle_apply/tripwire.rs"]
mod tripwire;
#[path = "bundle_apply/turns.rs"]
mod turns;

use std::collections::BTreeMap;
use std::time::Duration;

use basalt_model::node::BundleOwner;
use bench::Lab;
use bundles::{NAMESPACE, Recipe, Signer, config_map, definition, deployment, hello};
use serde_json::Value;
use tripwire::{Moment, Tripwire};

/// What monitoring sees of the bundle.
const METRICS: &str = "/run/basalt/metrics/basalt-bundle.prom";

/// Versions of everything that was applied.
fn versions(lab: &Lab) -> BTreeMap<String, String> {
    let kinds = "configmaps,deployments,services,serviceaccounts,greetings.hello.example";
    let list = lab.get(&[kinds, "-n", "hello"]).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    let text = |it: &Value, name: &str| it["metadata"][name].as_str().unwrap().to_owned();
    items
        .map(|it| (format!("{} {}", it["kind"], text(it, "name")), text(it, "resourceVersion")))
        .collect()
}

#[test]
fn a_bundle_is_applied_committed_and_left_alone() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let first = lab.signer.sign(1, &hello());
    n1.want(1, &first);
    let service = n1.start();
    let picture = n1.wait_for_commit(&first);
    assert_eq!(picture["objects"].as_array().unwrap().len(), 15, "{}", n1.status());
    let order: Vec<String> = lab.writes();
    let position = |what: &str| order.iter().position(|write| write.ends_with(what)).unwrap();
    assert_eq!(
        position("create configmaps/basalt-bundle"),
        0,
        "the inventory comes first: {order:?}"
    );
    assert!(position("namespaces/hello") < position("serviceaccounts/operator"), "{order:?}");
    assert!(position("deployments/operator") < position("configmaps/map-1"), "{order:?}");
    assert!(position("configmaps/map-9") < position("greetings/first"), "{order:?}");

    let (before, writes) = (versions(&lab), lab.writes().len());
    let taken = picture["taken"].as_u64().unwrap();
    n1.wait_for("three more rounds", |picture| picture["taken"].as_u64() > Some(taken + 6));
    assert_eq!(
        lab.writes()[writes..],
        [] as [String; 0],
        "nothing has changed, nothing is written"
    );
    assert_eq!(versions(&lab), before);

    let status = n1.status();
    assert!(status.contains("Deployment.apps hello/operator"), "{status}");
    let plan = n1.agent(&["bundle", "plan"]);
    assert_eq!(plan.status.code(), Some(0), "{plan:?}");
    assert_eq!(lab.writes().len(), writes, "a plan writes nothing");
    let metrics = std::fs::read_to_string(n1.path(METRICS)).unwrap();
    for line in [
        "basalt_bundle_state{state=\"committed\"} 1",
        "basalt_bundle_lease_held 1",
        "basalt_bundle_generation 1",
        "basalt_bundle_objects{status=\"Current\"} 15",
        "basalt_bundle_objects_applied_total 15",
        "basalt_bundle_objects_failed_total 0",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
    }
    if let Some(promtool) = e2e::peers::peer("promtool") {
        let file = std::fs::File::open(n1.path(METRICS)).unwrap();
        let mut check = std::process::Command::new(&promtool.program);
        let checked = check.args(["check", "metrics"]).stdin(file).output().unwrap();
        assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}\n{metrics}");
    }
    drop(service);
}

#[test]
fn an_agent_that_is_killed_at_any_write_leaves_nothing_wrong() {
    let Some(lab) = Lab::new() else { return };
    let tripwire = Tripwire::start(&lab);
    let n1 = lab.machine("n1");
    n1.kubeconfig(&tripwire.url());
    let recipe = |generation: usize| {
        // Each generation drops the map of the one before, so that every change has something to prune.
        let (name, path) =
            (format!("only-{generation}"), format!("40-maps/only-{generation}.yaml"));
        Recipe::default()
            .with("00-base/namespace.yaml", NAMESPACE)
            .with("30-operator/operator.yaml", &deployment("operator", 0))
            .with("40-maps/steady.yaml", &config_map("steady", &generation.to_string()))
            .with("40-maps/other.yaml", &config_map("other", "same"))
            .with("40-maps/last.yaml", &config_map("last", &generation.to_string()))
            .with(&path, &config_map(&name, "x"))
    };
    let mut generation = 0;
    for moment in [Moment::Before, Moment::After] {
        // As many writes as a change has: the first that is not reached ends it.
        for write in 0.. {
            generation += 1;
            let signed = lab.signer.sign(generation, &recipe(generation as usize));
            n1.want(generation, &signed);
            let mut service = n1.start();
            let pid = service.id();
            tripwire.arm(write, moment, move || {
                let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            });
            let reached = e2e::wait::until("a write or the end", bench::PATIENCE, || {
                let is_committed = || {
                    let picture = n1.picture()?;
                    let is_committed = picture["state"] == "committed"
                        && picture["committed"]["generation"] == generation;
                    is_committed.then_some(None)
                };
                tripwire.pulled_at().map(Some).or_else(is_committed)
            });
            let reached = reached
                .unwrap_or_else(|error| panic!("{error}\n{}\n{}", n1.status(), service.log()));
            tripwire.disarm();
            if let Some(line) = &reached {
                service.wait_for_end();
                let again = n1.start();
                n1.wait_for_commit(&signed);
                drop(again);
                println!("{moment:?} write {write}: {line}");
            }
            drop(service);
            // Nothing is left of earlier generations, and nothing is there twice.
            let only = format!("only-{generation}");
            let mut expected = vec!["kube-root-ca.crt", "last", &only, "other", "steady"];
            expected.sort_unstable();
            assert_eq!(lab.names("configmaps"), expected, "{moment:?} {write}");
            let steady = lab.get(&["configmap", "steady", "-n", "hello"]).unwrap();
            assert_eq!(steady["data"]["value"], generation.to_string());
            if reached.is_none() {
                assert!(write >= 6, "a change has more writes than {write}");
                break;
            }
        }
    }
}

#[test]
fn a_bad_generation_goes_and_a_good_one_prunes_what_left() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let first = lab.signer.sign(1, &hello());
    n1.want(1, &first);
    let _service = n1.start();
    n1.wait_for_commit(&first);
    let uids = |names: &[&str]| -> Vec<String> {
        let uid = |name: &&str| {
            let map = lab.get(&["configmap", name, "-n", "hello"])?;
            Some(map["metadata"]["uid"].as_str()?.to_owned())
        };
        names.iter().filter_map(uid).collect()
    };
    let leaving = ["map-7", "map-8", "map-9"];
    let before = uids(&leaving);
    assert_eq!(before.len(), 3);

    let files = ["40-maps/map-7.yaml", "40-maps/map-8.yaml", "40-maps/map-9.yaml"];
    let bad = hello()
        .without(&files)
        .with("35-bad/bad.yaml", &deployment("bad", 1))
        .with("40-maps/late.yaml", &config_map("late", "never"));
    let second = lab.signer.sign(2, &bad);
    n1.want(2, &second);
    let picture = n1.wait_for("the bad Deployment to be waited for", |picture| {
        picture["wave"] == "35-bad"
            && picture["problems"][0]["event"].as_str().is_some_and(|event| !event.is_empty())
    });
    assert_eq!(picture["problems"][0]["object"], "Deployment.apps hello/bad", "{}", n1.status());
    assert_eq!(uids(&leaving), before, "nothing is pruned before all is well");
    assert!(!lab.names("configmaps").contains(&"late".to_owned()), "later waves wait");

    n1.wait_for("generation 1 to return", |picture| {
        picture["rejected"]["release"]["generation"] == 2
            && picture["state"] == "refused"
            && picture["committed"]["generation"] == 1
            && picture["applying"].is_null()
    });
    assert_eq!(uids(&leaving), before);
    e2e::wait::until("the bad Deployment to go", bench::PATIENCE, || {
        (lab.names("deployments") == ["operator"]).then_some(())
    })
    .unwrap();
    let status = n1.status();
    assert!(status.contains("given up") && status.contains("hello/bad"), "{status}");

    let deletes = |lab: &Lab| {
        lab.writes().iter().filter(|it| it.contains(" delete ")).cloned().collect::<Vec<_>>()
    };
    let so_far = deletes(&lab).len();
    let third = lab.signer.sign(3, &hello().without(&files));
    n1.want(3, &third);
    n1.wait_for_commit(&third);
    e2e::wait::until("three maps to go", bench::PATIENCE, || {
        uids(&leaving).is_empty().then_some(())
    })
    .unwrap();
    let mut pruned = deletes(&lab)[so_far..].to_vec();
    pruned.sort();
    let expected = leaving.map(|name| format!("n1 delete configmaps/{name}"));
    assert_eq!(pruned, expected);
}

#[test]
fn what_kubectl_changes_is_repaired_until_it_is_contested() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let first = lab.signer.sign(1, &hello());
    n1.want(1, &first);
    let _service = n1.start();
    n1.wait_for_commit(&first);
    let value =
        || lab.get(&["configmap", "map-1", "-n", "hello"]).unwrap()["data"]["value"].clone();
    let edit = |text: &str| {
        let patch = format!("{{\"data\": {{\"value\": \"{text}\"}}}}");
        lab.plane
            .kubectl(&[
                "patch",
                "configmap",
                "map-1",
                "-n",
                "hello",
                "--type=merge",
                "-p",
                &patch,
                "--field-manager=kubectl-edit",
            ])
            .unwrap();
    };
    for round in ["a", "b"] {
        edit(round);
        let repaired = e2e::wait::until("the map to be repaired", bench::PATIENCE, || {
            (value() == "one").then_some(())
        });
        repaired.unwrap_or_else(|error| panic!("{error}\n{}", n1.status()));
    }
    edit("c");
    let picture = n1.wait_for("the field to be contested", |picture| {
        picture["contested"].as_array().is_some_and(|list| !list.is_empty())
    });
    assert_eq!(picture["contested"][0]["manager"], "kubectl-edit");
    assert_eq!(picture["contested"][0]["field"], ".data.value");
    n1.wait_for_commit(&first);
    assert_eq!(value(), "c", "it is left to who wants it so much");
    // What is not contested is still kept.
    lab.plane
        .kubectl(&["label", "configmap", "map-1", "-n", "hello", "applyset.kubernetes.io/part-of-"])
        .unwrap();
    lab.plane.kubectl(&["delete", "service", "web", "-n", "hello"]).unwrap();
    e2e::wait::until("label and service", bench::PATIENCE, || {
        let map = lab.get(&["configmap", "map-1", "-n", "hello"])?;
        map["metadata"]["labels"].get("applyset.kubernetes.io/part-of")?;
        lab.get(&["service", "web", "-n", "hello"])
    })
    .unwrap();
    assert_eq!(value(), "c");
    let status = n1.status();
    assert!(status.contains("left to `kubectl-edit`"), "{status}");
}

#[test]
fn bundles_that_are_not_signed_for_this_cluster_are_refused() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let mut unsigned = lab.signer.sign(1, &hello());
    unsigned.signatures.clear();
    n1.want(1, &unsigned);
    let _service = n1.start();
    let refused = |what: &str, text: &str| {
        let picture = n1.wait_for(what, |picture| {
            picture["state"] == "refused"
                && picture["message"].as_str().is_some_and(|it| it.contains(text))
        });
        assert_eq!(lab.writes(), [] as [String; 0], "{picture}");
    };
    refused("no signature to be missed", "is not signed");

    let other = Signer::new().sign(2, &hello());
    n1.want(2, &other);
    refused("another key to be refused", "by another key");

    // The layer of another bundle in the place of its own.
    let good = lab.signer.sign(3, &hello());
    let mut swapped = lab.signer.sign(3, &hello());
    let evil = lab.signer.sign(3, &hello().with("40-maps/evil.yaml", &config_map("evil", "x")));
    swapped.built.parts.content = evil.built.parts.content;
    n1.want(3, &swapped);
    refused("a swapped layer to be refused", "cannot be read");

    n1.want(4, &good);
    n1.wait_for_commit(&good);
}

#[test]
fn what_belongs_to_others_and_what_would_be_lost_is_refused() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let both = hello().without(&["00-base/definition.yaml"]);
    let first = lab
        .signer
        .sign(1, &both.clone().with("00-base/definition.yaml", &definition(&["v1", "v2"], "v1")));
    n1.want(1, &first);
    let _service = n1.start();
    n1.wait_for_commit(&first);
    let mut generation = 1;
    let mut refused = |recipe: &Recipe, text: &str| {
        generation += 1;
        let writes = lab.writes().len();
        let signed = lab.signer.sign(generation, recipe);
        n1.want(generation, &signed);
        n1.wait_for(text, |picture| {
            picture["state"] == "refused"
                && picture["problems"].to_string().contains(text)
                && picture["committed"]["generation"] == 1
        });
        assert_eq!(lab.writes()[writes..], [] as [String; 0]);
        let plan = n1.agent(&["bundle", "plan"]);
        assert_eq!(plan.status.code(), Some(1), "{plan:?}");
        assert!(String::from_utf8_lossy(&plan.stdout).contains(text), "{plan:?}");
    };
    let whole = both.clone().with("00-base/definition.yaml", &definition(&["v1", "v2"], "v1"));
    // A definition without the version in which the greeting is stored.
    let lost = both.clone().with("00-base/definition.yaml", &definition(&["v2"], "v2"));
    refused(&lost.without(&["50-first/greeting.yaml"]), "would lose v1");
    // Another manager's object of the same name.
    let theirs = config_map("theirs", "mine");
    let file = lab.plane.folder().join("theirs.yaml");
    std::fs::write(&file, &theirs).unwrap();
    let file = file.display().to_string();
    lab.plane.kubectl(&["apply", "--server-side", "--field-manager=helm", "-f", &file]).unwrap();
    let conflict = whole.clone().with("40-maps/theirs.yaml", &config_map("theirs", "ours"));
    refused(&conflict, "`.data.value` to `helm`");
    // Another set's.
    lab.plane
        .kubectl(&[
            "label",
            "configmap",
            "theirs",
            "-n",
            "hello",
            "applyset.kubernetes.io/part-of=applyset-other-v1",
        ])
        .unwrap();
    let same = whole.clone().with("40-maps/theirs.yaml", &theirs);
    refused(&same, "applyset-other-v1");
    // Most of what is there.
    let few = whole.clone().without(
        &[1, 2, 3, 4, 5]
            .map(|n| format!("40-maps/map-{n}.yaml"))
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    refused(&few, "would prune 5 of 15");
    // What the API server would not take.
    refused(
        &whole
            .clone()
            .with("40-maps/odd.yaml", &config_map("odd", "x").replace("\ndata:", "\ndada:")),
        "dada",
    );
}

#[test]
fn pauses_hold_for_every_agent() {
    let Some(lab) = Lab::new() else { return };
    let (n1, n2) = (lab.machine("n1"), lab.machine("n2"));
    let first = lab.signer.sign(1, &hello());
    n1.want(1, &first);
    n2.want(1, &first);
    let one = n1.start();
    n1.wait_for_commit(&first);
    // Said on the node that does not apply.
    let _two = n2.start();
    n2.wait_for("n2 to stand by", |picture| picture["state"] == "standby");
    let pause = n2.agent(&["bundle", "pause"]);
    assert!(pause.status.success(), "{pause:?}");
    n1.wait_for("the pause", |picture| picture["state"] == "paused");
    let writes = lab.writes().len();
    lab.plane.kubectl(&["delete", "configmap", "map-1", "-n", "hello"]).unwrap();
    drop(one);
    n2.wait_for("n2 to hold and to pause", |picture| {
        picture["state"] == "paused" && picture["holder"] == "n2"
    });
    assert_eq!(lab.writes()[writes..], [] as [String; 0]);
    assert!(n1.agent(&["bundle", "resume"]).status.success());
    n2.wait_for_commit(&first);
    assert!(lab.names("configmaps").contains(&"map-1".to_owned()));
}

#[test]
fn a_bundle_is_handed_over_and_taken_back() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let recipe = Recipe::default()
        .with("00-base/namespace.yaml", NAMESPACE)
        .with("40-maps/a.yaml", &config_map("a", "one"))
        .with("40-maps/b.yaml", &config_map("b", "one"));
    let first = lab.signer.sign(1, &recipe);
    n1.want(1, &first);
    let _service = n1.start();
    n1.wait_for_commit(&first);
    n1.want_with(2, &first, |bundle| bundle.owner = BundleOwner::Flux);
    let as_flux = |texts: &[&str]| {
        let file = lab.plane.folder().join("flux.yaml");
        std::fs::write(&file, texts.join("---\n")).unwrap();
        let file = file.display().to_string();
        lab.plane
            .kubectl(&[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--field-manager=kustomize-controller",
                "-f",
                &file,
            ])
            .unwrap();
    };
    let managers = |name: &str| -> Vec<String> {
        let map = lab.get(&["configmap", name, "-n", "hello", "--show-managed-fields"]).unwrap();
        let list = map["metadata"]["managedFields"].as_array().unwrap().iter();
        list.map(|it| it["manager"].as_str().unwrap().to_owned()).collect()
    };
    let (a, b) = (config_map("a", "one"), config_map("b", "one"));
    as_flux(&[NAMESPACE, &a]);
    let taken = n1.picture().unwrap()["taken"].as_u64().unwrap();
    let picture = n1.wait_for("a round", |picture| picture["taken"].as_u64() > Some(taken + 3));
    assert_eq!(picture["state"], "committed", "one map is not theirs yet");
    as_flux(&[NAMESPACE, &a, &b]);
    n1.wait_for("the hand-over", |picture| picture["state"] == "handed-over");
    for name in ["a", "b"] {
        assert_eq!(managers(name), ["kustomize-controller"]);
        let map = lab.get(&["configmap", name, "-n", "hello"]).unwrap();
        assert_eq!(map["data"]["value"], "one", "nothing was deleted");
    }
    // From now on it only looks.
    let writes = lab.writes().len();
    as_flux(&[NAMESPACE, &config_map("a", "two"), &b]);
    let taken = n1.picture().unwrap()["taken"].as_u64().unwrap();
    n1.wait_for("rounds", |picture| picture["taken"].as_u64() > Some(taken + 5));
    assert_eq!(lab.writes()[writes..], [] as [String; 0]);
    // A person takes it back, and cluster.yaml agrees.
    let asked = n1.agent(&["bundle", "adopt-back"]);
    assert!(asked.status.success(), "{asked:?}");
    n1.want_with(3, &first, |bundle| bundle.owner = BundleOwner::Agent);
    n1.wait_for_commit(&first);
    let map = lab.get(&["configmap", "a", "-n", "hello"]).unwrap();
    assert_eq!(map["data"]["value"], "one");
}

#[test]
fn an_api_server_that_dies_is_explained_and_waited_for() {
    let Some(mut lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    // The controllers of the lab take their time to come back, which is not what this is about.
    n1.settings(r#"{"interval_seconds": 2, "settle_seconds": 1, "budget_seconds": 300, "lease_seconds": 6}"#);
    let first = lab.signer.sign(1, &hello().without(&["30-operator/operator.yaml"]));
    n1.want(1, &first);
    let service = n1.start();
    // Later than the definitions: an API server that dies while it establishes one looks at it again after five minutes.
    n1.wait_for("the objects of a later wave", |picture| {
        picture["wave"].as_str().is_some_and(|wave| wave != "00-base")
            || picture["state"] == "settling"
            || picture["state"] == "committed"
    });
    lab.plane.kill_api();
    n1.wait_for("the API server to be missed", |picture| !picture["away"].is_null());
    let status = n1.status();
    assert!(status.contains("away") && status.contains("does not answer"), "{status}");
    lab.plane.start_api_again().unwrap();
    n1.wait_for_commit(&first);

    lab.plane.pause_api().unwrap();
    n1.wait_for("a hanging API server to be missed", |picture| picture["state"] == "away");
    let status = n1.status();
    assert!(status.contains("hello/map-1") && status.contains("s ago"), "{status}");
    // Also an agent that starts now shows what the one before it knew.
    drop(service);
    let _again = n1.start();
    std::thread::sleep(Duration::from_secs(2));
    assert!(n1.status().contains("hello/map-1"));
    lab.plane.resume_api().unwrap();
    lab.plane.wait_until_ready().unwrap();
    n1.wait_for_commit(&first);
}

/// Five hundred objects: how long until they are committed, what a round costs over which nothing has changed, and what
/// `kubectl` takes for the same objects.
#[test]
fn five_hundred_objects() {
    let Some(lab) = Lab::new() else { return };
    let n1 = lab.machine("n1");
    let mut recipe = Recipe::default().with("00-base/namespace.yaml", NAMESPACE);
    let mut all = NAMESPACE.to_owned();
    for number in 0..499 {
        let text = config_map(&format!("map-{number}"), "one");
        all += &format!("---\n{text}");
        recipe = recipe.with(&format!("40-maps/map-{number}.yaml"), &text);
    }
    let first = lab.signer.sign(1, &recipe);
    n1.want(1, &first);
    let begun = std::time::Instant::now();
    let service = n1.start();
    n1.wait_for("everything to be well", |picture| {
        picture["state"] == "settling" || picture["state"] == "committed"
    });
    let applied = begun.elapsed();
    n1.wait_for_commit(&first);
    let committed = begun.elapsed();
    let (writes, cpu) = (lab.writes().len(), service.cpu_seconds());
    let begun = std::time::Instant::now();
    let taken = || n1.picture().unwrap()["taken"].as_u64().unwrap();
    let from = taken();
    n1.wait_for("rounds", |picture| picture["taken"].as_u64() > Some(from + 20));
    let share = (service.cpu_seconds() - cpu) / begun.elapsed().as_secs_f64();
    assert_eq!(lab.writes()[writes..], [] as [String; 0]);
    let kibibytes = service.resident_kibibytes();
    drop(service);

    lab.plane.kubectl(&["delete", "namespace", "hello"]).unwrap();
    let file = lab.plane.folder().join("all.yaml");
    std::fs::write(&file, &all).unwrap();
    let file = file.display().to_string();
    let begun = std::time::Instant::now();
    lab.plane.kubectl(&["apply", "--server-side", "-f", &file]).unwrap();
    let by_kubectl = begun.elapsed();
    let begun = std::time::Instant::now();
    lab.plane.kubectl(&["apply", "--server-side", "-f", &file]).unwrap();
    let again_by_kubectl = begun.elapsed();
    println!(
        "500 objects: applied after {applied:.1?}, committed after {committed:.1?} (1 s of it settling); \
         rounds over nothing every 2 s: 0 writes, {:.2} % of a processor; {kibibytes} KiB resident; \
         kubectl: {by_kubectl:.1?}, again {again_by_kubectl:.1?}",
        share * 100.0,
    );
    assert!(kibibytes < 128 << 10, "{kibibytes} KiB");
}
