//! Drives the built agent as a process on a directory that stands for a machine: what it writes, what it leaves alone,
//! what it says, and what an interruption at any moment leaves behind.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

#[path = "reconcile/bench.rs"]
mod bench;
#[path = "reconcile/interrupted.rs"]
mod interrupted;
#[path = "reconcile/units.rs"]
mod units;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use bench::{Bench, Variant, item, items};

#[test]
fn first_start_writes_config_files_and_manifests() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    let plan = bench.agent(&["plan"]);
    assert_eq!(plan.status.code(), Some(3), "{plan:?}");
    assert!(!bench.path("/etc/kubernetes/manifests").exists(), "plan changes nothing");

    let service = bench.start();
    bench.wait_for_serving(1);
    assert_eq!(bench.wrong_files(Variant::Full), Vec::<String>::new());
    let manifest = bench.path("/etc/kubernetes/manifests/haproxy.yaml");
    assert_eq!(manifest.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(bench.agent(&["plan"]).status.code(), Some(0));
    let check = bench.agent(&["check"]);
    assert_eq!((check.status.code(), check.stdout), (Some(0), vec![]));

    let status = bench.status();
    assert_eq!(status["node"], "n1");
    assert_eq!(status["service"]["pid"].as_u64(), Some(service.id().into()));
    assert_eq!(item(&status, "static-pod", "keepalived")["state"], "ok");
    let unit = item(&status, "unit", "kubelet.service");
    assert_eq!(unit["state"], "unknown", "a directory has no system bus, and that is no failure");
    service.stop();
    let check = bench.agent(&["check"]);
    assert_eq!(check.status.code(), Some(1));
    let text = String::from_utf8(check.stdout).unwrap();
    assert!(text.starts_with("agent basalt-agent.service: error"), "{text}");
    assert_eq!(bench.agent(&["check", "--quiet"]).stdout, b"");
}

#[test]
fn drift_is_repaired_as_soon_as_it_happens() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    let service = bench.start();
    bench.wait_for_serving(1);
    let at = |path: &str| bench.path(path);
    let manifests = at("/etc/kubernetes/manifests");
    let haproxy = manifests.join("haproxy.yaml");
    let config = at("/etc/basalt/pods/haproxy/haproxy.cfg");
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>);
    let changes: Vec<Change<'_>> = vec![
        ("manifest changed", Box::new(|| std::fs::write(&haproxy, "x").unwrap())),
        ("manifest removed", Box::new(|| std::fs::remove_file(&haproxy).unwrap())),
        ("config changed", Box::new(|| std::fs::write(&config, "x").unwrap())),
        (
            "mode changed",
            Box::new(|| {
                std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o666)).unwrap();
            }),
        ),
        (
            "link",
            Box::new(|| {
                std::fs::rename(&haproxy, at("/moved.yaml")).unwrap();
                symlink(at("/moved.yaml"), &haproxy).unwrap();
            }),
        ),
        ("manifests gone", Box::new(|| std::fs::remove_dir_all(&manifests).unwrap())),
        (
            "above manifests gone",
            Box::new(|| std::fs::remove_dir_all(at("/etc/kubernetes")).unwrap()),
        ),
        ("manifests moved", Box::new(|| std::fs::rename(&manifests, at("/moved")).unwrap())),
        ("pods gone", Box::new(|| std::fs::remove_dir_all(at("/etc/basalt/pods")).unwrap())),
        (
            "one pod gone",
            Box::new(|| std::fs::remove_dir_all(at("/etc/basalt/pods/haproxy")).unwrap()),
        ),
        ("manifest changed again", Box::new(|| std::fs::write(&haproxy, "x").unwrap())),
    ];
    for (what, change) in changes {
        change();
        bench.wait_for(what, |bench| bench.wrong_files(Variant::Full).is_empty());
        assert!(config.is_file() && !haproxy.is_symlink(), "{what}");
    }
    let log = service.log();
    assert!(log.contains("haproxy.yaml: its contents differ"), "{log}");
    assert!(log.contains("haproxy.cfg: its mode is 0666 instead of 0644"), "{log}");
    assert!(log.contains("haproxy.yaml: a symbolic link is in its place"), "{log}");
}

#[test]
fn a_new_generation_takes_removed_pods_away() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    let _service = bench.start();
    bench.wait_for_serving(1);
    bench.write_node(Variant::Small, 2);
    bench.wait_for_serving(2);
    assert_eq!(bench.wrong_files(Variant::Small), Vec::<String>::new());
    assert!(!bench.path("/etc/kubernetes/manifests/keepalived.yaml").exists());
    assert!(!bench.path("/etc/basalt/pods/keepalived").exists());
}

#[test]
fn strangers_are_reported_and_left_alone_until_told_otherwise() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    let service = bench.start();
    bench.wait_for_serving(1);
    let manifests = bench.path("/etc/kubernetes/manifests");
    std::fs::copy(manifests.join("haproxy.yaml"), manifests.join("haproxy.yaml.bak")).unwrap();
    std::fs::write(manifests.join("other.yaml"), "metadata: {name: other}").unwrap();
    std::fs::write(manifests.join(".editor.swp"), "nobody reads it").unwrap();

    let backup = "/etc/kubernetes/manifests/haproxy.yaml.bak";
    let status = bench
        .wait_for_status("both strangers are seen", |status| items(status, "stranger").len() == 2);
    let seen = item(&status, "stranger", backup);
    assert_eq!(seen["state"], "error");
    assert!(
        seen["reason"].as_str().unwrap().contains("names the same pod as `haproxy.yaml`"),
        "{seen}"
    );
    assert_eq!(item(&status, "stranger", "/etc/kubernetes/manifests/other.yaml")["state"], "drift");
    assert_eq!(status["phase"]["name"], "degraded");
    assert_eq!(bench.agent(&["check"]).status.code(), Some(1));
    bench.wait_for("it is in the log", |_| service.log().contains(backup));
    service.round();
    assert_eq!(service.log().matches(backup).count(), 1, "said once: {}", service.log());
    assert!(manifests.join("haproxy.yaml.bak").exists());

    // Only the harmless one is left: reported, and no failure.
    std::fs::remove_file(manifests.join("haproxy.yaml.bak")).unwrap();
    bench.wait_for_serving(1);
    assert_eq!(bench.agent(&["check"]).status.code(), Some(0));

    bench.write(
        "/etc/basalt/agent.conf.d/60-strangers.json",
        r#"{"manifests": {"strangers": "quarantine"}}"#,
    );
    bench.wait_for("it is moved", |_| !manifests.join("other.yaml").exists());
    assert!(bench.path("/var/lib/basalt/quarantine/other.yaml").is_file());
    assert!(manifests.join(".editor.swp").is_file());
}

#[test]
fn a_pipe_among_the_manifests_hangs_nothing() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    let service = bench.start();
    bench.wait_for_serving(1);
    let pipe = bench.path("/etc/kubernetes/manifests/pipe");
    bench::run("mkfifo", &[pipe.to_str().unwrap()]);
    let status = bench.wait_for_status("the pipe is seen", |s| items(s, "stranger").len() == 1);
    let seen = &items(&status, "stranger")[0];
    assert!(
        seen["reason"].as_str().unwrap().contains("reads no manifest while it is there"),
        "{seen}"
    );
    // In our own file's place it is drift. Made elsewhere: the agent fills a place that is empty at once.
    let haproxy = bench.path("/etc/kubernetes/manifests/haproxy.yaml");
    let another = bench.path("/var/lib/another-pipe");
    bench::run("mkfifo", &[another.to_str().unwrap()]);
    std::fs::rename(&another, &haproxy).unwrap();
    bench.wait_for("it is a file again", |_| haproxy.is_file());
    // The round that wrote it has more to do.
    service.round();
    service.stop();
    let status = bench.agent(&["status"]);
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
}

#[test]
fn a_node_json_that_cannot_be_obeyed_changes_nothing() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 5);
    let service = bench.start();
    bench.wait_for_serving(5);
    let good = bench.node(Variant::Full, 5);
    let typo = good.replacen("\"role\": ", "\"rolle\": ", 1);
    let line = 1 + good.lines().position(|line| line.contains("\"role\": ")).unwrap();
    let truncated = &good[..good.len() / 2];
    let digest = |status: &serde_json::Value| item(status, "node", "node.json")["seen"].to_string();
    let accepted = digest(&bench.status());

    let cases = [
        ("unknown field", typo, format!("/etc/basalt/node.json:{line}:")),
        ("truncated", truncated.to_owned(), "/etc/basalt/node.json:".to_owned()),
        (
            "older",
            bench.node(Variant::Small, 4),
            "has generation 4, older than the accepted generation 5".into(),
        ),
        (
            "same number",
            bench.node(Variant::Small, 5),
            "has the accepted generation 5 with other content".into(),
        ),
        ("empty", String::new(), "/etc/basalt/node.json:1:1: ".to_owned()),
    ];
    for (what, text, expected) in cases {
        bench.write("/etc/basalt/node.json", &text);
        let status = bench.wait_for_status(what, |status| {
            item(status, "node", "node.json")["reason"]
                .as_str()
                .is_some_and(|r| r.contains(&expected))
        });
        assert_eq!(status["phase"]["name"], "refused", "{what}");
        assert_eq!(status["generation"], 5, "{what}");
        assert_eq!(digest(&status), accepted, "{what}");
        assert!(item(&status, "node", "node.json")["hint"].is_string(), "{what}");
        // What was accepted is still looked after.
        std::fs::remove_file(bench.path("/etc/kubernetes/manifests/haproxy.yaml")).unwrap();
        bench.wait_for(what, |bench| bench.wrong_files(Variant::Full).is_empty());
        assert_eq!(bench.agent(&["check"]).status.code(), Some(1), "{what}");
    }
    bench.wait_for("it is in the log", |_| {
        service.log().contains("has the accepted generation 5 with other content")
    });

    // A restart in this state keeps the pods as well, and so does a missing file.
    service.kill();
    std::fs::remove_file(bench.path("/etc/basalt/node.json")).unwrap();
    std::fs::remove_file(bench.path("/etc/kubernetes/manifests/haproxy.yaml")).unwrap();
    let _service = bench.start();
    bench.wait_for("the pods are kept", |bench| bench.wrong_files(Variant::Full).is_empty());
    bench.write_node(Variant::Small, 6);
    bench.wait_for_serving(6);
}

#[test]
fn a_broken_ledger_is_set_aside_and_costs_no_pod() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 5);
    let service = bench.start();
    bench.wait_for_serving(5);
    service.stop();
    bench.write("/var/lib/basalt/ledger.json", "{\"schema\": 1, \"accep");
    let ledger = "/var/lib/basalt/ledger.json";
    let status = bench.status();
    assert_eq!(item(&status, "ledger", ledger)["state"], "error");
    let _service = bench.start();
    bench.wait_for_serving(5);
    assert_eq!(bench.wrong_files(Variant::Full), Vec::<String>::new());
    let status = bench.status();
    let reason = item(&status, "ledger", ledger)["reason"].to_string();
    assert!(reason.contains("lies at /var/lib/basalt/ledger.json.broken"), "{reason}");
    // What was accepted is known from the copy.
    bench.write_node(Variant::Small, 4);
    bench.wait_for_status("older is refused", |status| status["phase"]["name"] == "refused");
}

#[test]
fn one_agent_at_a_time() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    let service = bench.start();
    bench.wait_for_serving(1);
    let second = bench.agent(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    let expected =
        format!("error: another `basalt-agent run` is at work (process {})\nhint: ", service.id());
    assert!(error.starts_with(&expected), "{error}");
    service.kill();
    let _service = bench.start();
    bench.wait_for_serving(1);
}

#[test]
fn systemd_is_told_and_signals_are_obeyed() {
    let Some(bench) = Bench::new() else { return };
    let socket = bench.path("/notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let next = || {
        let mut buffer = [0; 4096];
        let length = listener.recv(&mut buffer).expect("a message within ten seconds");
        String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
    };
    bench.write_node(Variant::Full, 1);
    let environment = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let mut service = bench.start_with(&environment);
    assert_eq!(next(), "STATUS=serving generation 1");
    assert_eq!(next(), "READY=1");
    assert_eq!(bench.wrong_files(Variant::Full), Vec::<String>::new(), "ready means written");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    let quiet = service.log();
    service.round();
    service.round();
    assert_eq!(service.log(), quiet, "a quiet node logs nothing");
    service.signal("TERM");
    let stopping = std::iter::repeat_with(next).find(|message| message != "WATCHDOG=1");
    assert_eq!(stopping.as_deref(), Some("STOPPING=1"));
    assert!(service.wait().success());
    assert!(bench.wrong_files(Variant::Full).is_empty(), "stopping the agent stops no pod");
}

#[test]
fn a_burst_of_changes_is_a_few_rounds() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    bench.write(
        "/etc/basalt/agent.conf.d/70-settle.json",
        "{\"reconcile\": {\"settle_milliseconds\": 1000}}",
    );
    let _service = bench.start();
    bench.wait_for_serving(1);
    let rounds = || bench.status()["service"]["report"]["rounds"].as_u64().unwrap();
    let before = rounds();
    let begin = Instant::now();
    for number in 0..300 {
        bench.write(&format!("/etc/kubernetes/manifests/stranger-{number}"), "");
    }
    bench.wait_for_status("all are seen", |status| items(status, "stranger").len() == 300);
    bench.wait_for("the service looks", |_| rounds() > before);
    let rounds = rounds() - before;
    // A slow machine takes longer than one settle time to write them; a round for each change takes none.
    let most = 5 + begin.elapsed().as_secs();
    assert!(rounds <= most, "{rounds} rounds for 300 changes, at most {most} wanted");
}

#[test]
fn bad_settings_are_named_and_left_out() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    bench.write(
        "/etc/basalt/agent.conf.d/70-typo.json",
        "{\n  \"manifests\": {\"stranger\": \"report\"}\n}",
    );
    let _service = bench.start();
    bench.wait_for("pods are written all the same", |bench| {
        bench.wrong_files(Variant::Full).is_empty()
    });
    let status = bench.status();
    let fault = item(&status, "agent", "/etc/basalt/agent.conf.d/70-typo.json");
    let expected = "/etc/basalt/agent.conf.d/70-typo.json:2:26: unknown field `stranger`, expected `strangers`";
    assert_eq!(fault["reason"], expected);
    std::fs::remove_file(bench.path("/etc/basalt/agent.conf.d/70-typo.json")).unwrap();
    bench.wait_for("check is fine", |bench| bench.agent(&["check"]).status.success());
}

#[test]
fn a_full_disk_keeps_what_is_there_and_passes() {
    let Some(bench) = Bench::small(600) else { return };
    bench.write_node(Variant::Full, 1);
    let service = bench.start();
    bench.wait_for_serving(1);
    bench.write("/next.json", &bench.node(Variant::Small, 2));
    // The old one keeps its blocks, or the new copy of it would find room in them.
    std::fs::hard_link(bench.path("/etc/basalt/node.json"), bench.path("/kept.json")).unwrap();
    bench.fill();
    std::fs::rename(bench.path("/next.json"), bench.path("/etc/basalt/node.json")).unwrap();
    bench.wait_for("the failure is in the log", |_| {
        service.log().contains("No space left on device")
    });
    assert_eq!(bench.wrong_files(Variant::Full), Vec::<String>::new(), "old state intact");
    let status = bench.status();
    assert_ne!(status["phase"]["name"], "serving");
    std::fs::remove_file(bench.path("/filler")).unwrap();
    bench.wait_for_serving(2);
    assert_eq!(bench.wrong_files(Variant::Small), Vec::<String>::new());
}

#[test]
fn a_full_disk_has_room_for_the_generation_that_mends_it() {
    // More than four times the reserve, or there would be none.
    let Some(bench) = Bench::small(200 << 10) else { return };
    bench.write_node(Variant::Full, 1);
    let service = bench.start();
    bench.wait_for_serving(1);
    let reserve = bench.path("/var/lib/basalt/reserve");
    bench.wait_for("space is set aside", |_| reserve.is_file());
    bench.write("/next.json", &bench.node(Variant::Small, 2));
    std::fs::hard_link(bench.path("/etc/basalt/node.json"), bench.path("/kept.json")).unwrap();
    bench.fill();
    assert_eq!(bench.wrong_files(Variant::Full), Vec::<String>::new(), "old state intact");
    std::fs::rename(bench.path("/next.json"), bench.path("/etc/basalt/node.json")).unwrap();
    // Nobody makes room, and the filler stays.
    bench.wait_for_serving(2);
    assert_eq!(bench.wrong_files(Variant::Small), Vec::<String>::new());
    assert!(service.log().contains("No space left on device"), "{}", service.log());
    assert!(!reserve.exists() && bench.path("/filler").exists());
    // It is set aside again when there is space again, and not before.
    std::fs::remove_file(bench.path("/filler")).unwrap();
    bench.write_node(Variant::Full, 3);
    bench.wait_for_serving(3);
    bench.wait_for("space is set aside again", |_| reserve.is_file());
}

#[test]
fn check_waits_for_a_boot() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    let mut check = bench.spawn(&["check", "--boot", "--timeout-seconds", "60"]);
    let begin = Instant::now();
    let _service = bench.start();
    assert!(check.wait().unwrap().success());
    assert!(begin.elapsed() < Duration::from_secs(30));
    let Some(other) = Bench::new() else { return };
    let late = other.agent(&["check", "--boot", "--timeout-seconds", "1"]);
    assert_eq!(late.status.code(), Some(1));
}

#[test]
fn watching_prints_each_change_as_a_line() {
    let Some(bench) = Bench::new() else { return };
    bench.write_node(Variant::Full, 1);
    let service = bench.start();
    bench.wait_for_serving(1);
    let mut watch = bench.spawn(&["status", "--watch", "--output", "json"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["phase"]["name"], "serving");
    bench.write_node(Variant::Small, 2);
    while next()["generation"] != 2 {}
    service.stop();
    while next()["service"]["running"] != false {}
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn without_a_node_it_waits_and_says_so() {
    let Some(bench) = Bench::new() else { return };
    let plan = bench.agent(&["plan"]);
    assert_eq!(plan.status.code(), Some(1));
    let error = String::from_utf8(plan.stderr).unwrap();
    assert!(error.starts_with("error: `/etc/basalt/node.json` is missing\nhint: "), "{error}");
    let _service = bench.start();
    bench.wait_for_status("it says why", |status| {
        status["phase"]["name"] == "no-node" && status["service"]["report"].is_object()
    });
    bench.write_node(Variant::Full, 1);
    bench.wait_for_serving(1);
}
