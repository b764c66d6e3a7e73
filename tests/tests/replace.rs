//! Changing pods on a node with the real kubelet and containerd: how long nobody answers, that there are never two of
//! one kind, and that a config alone costs nobody anything.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use basalt_model::node::{Node, VrrpInstance};
use e2e::peers::peer;
use e2e::pod_change::load::{self, Requests};
use e2e::pod_change::watch::Watch;
use e2e::pod_change::{LIMIT, Parts, PodNode, Wanted};
use e2e::{programs, wait};

/// From the moment that the port closes until it answers again, on a machine that has nothing else to do.
const GOAL: Duration = Duration::from_secs(3);
/// The kubelet looks this much later, or half as much again, at a pod whose last run it had not finished with.
const KUBELET_PAUSE: Duration = Duration::from_secs(10);

fn start(first: &Wanted) -> Option<PodNode> {
    let agent = programs::agent()?;
    Some(PodNode::start(Parts::find()?, &agent, first).unwrap())
}

/// Back and forth between two contents, so that each return is one to a pod that ended seconds ago.
#[test]
fn a_pod_is_replaced_and_there_are_never_two() {
    let mut wanted = Wanted::first();
    let Some(lab) = start(&wanted) else { return };
    lab.trust_every_generation().unwrap();
    lab.wait_for_serving(wanted.generation).unwrap();
    let watch = Watch::start(&lab, "haproxy");
    let mut holes = Vec::new();
    for round in 0..30 {
        wanted.next();
        wanted.haproxy = 1 - wanted.haproxy;
        let before = lab.uid("haproxy");
        lab.want(&wanted).unwrap();
        holes.push(lab.wait_for(&wanted.version).unwrap());
        lab.wait_for_serving(wanted.generation).unwrap();
        assert_ne!(lab.uid("haproxy"), before);
        // At another moment of the kubelet's own rounds each time.
        std::thread::sleep(Duration::from_millis(130 * (round % 8)));
    }
    let seen = watch.stop();
    holes.sort();
    // Said and not asserted: how long it takes depends on what else the machine does.
    let quick = holes.iter().filter(|hole| **hole < GOAL).count();
    println!("without an answer, in 30 replaces: {holes:?}; {quick} below {GOAL:?}");
    assert!(seen.looks > 1_000, "{seen:?}");
    assert!(seen.together.is_empty(), "{seen:?}");
    assert_eq!(seen.pods.len(), 31, "every run was seen");
}

/// Both pods at once, the agent killed in the middle, again and again: it makes up for it, and there are never two of a
/// kind.
#[test]
fn an_agent_that_is_killed_leaves_no_two_of_a_kind() {
    let mut wanted = Wanted { keepalived: Some(0), ..Wanted::first() };
    let Some(lab) = start(&wanted) else { return };
    lab.trust_every_generation().unwrap();
    lab.wait_for_serving(wanted.generation).unwrap();
    let watches = ["haproxy", "keepalived"].map(|program| Watch::start(&lab, program));
    for round in 0..8 {
        wanted.next();
        wanted.haproxy = 1 - wanted.haproxy;
        wanted.keepalived = wanted.keepalived.map(|number| 1 - number);
        lab.want(&wanted).unwrap();
        // From before the first removal to after the last write.
        std::thread::sleep(Duration::from_millis(300 + 900 * round));
        lab.machine.kill_main("basalt-agent.service").unwrap();
        lab.wait_for(&wanted.version).unwrap();
        lab.wait_for_serving(wanted.generation).unwrap();
    }
    // A keepalived that was away when the agent came back waits until the network was listened to, and the next
    // generation does not wait for that.
    for (watch, runs) in watches.into_iter().zip([9, 2]) {
        let seen = watch.stop();
        assert!(seen.together.is_empty(), "{seen:?}\n{}", lab.journal());
        assert!(seen.pods.len() >= runs, "{seen:?}");
    }
    keepalived_reads_what_it_does_not_refuse(&lab, &mut wanted);
}

/// A new config for keepalived alone: refused by `-t`, the old one goes on; taken, it is in use by the same process. The
/// address does not leave for a moment.
fn keepalived_reads_what_it_does_not_refuse(lab: &PodNode, wanted: &mut Wanted) {
    let holds = || {
        let addresses = lab.inside("ip", &["-oneline", "address", "show", "dev", "bond0"]).unwrap();
        String::from_utf8_lossy(&addresses.stdout).contains(" 192.0.2.10/24").then_some(())
    };
    let config = lab.machine.root().join("etc/basalt/pods/keepalived/keepalived.conf");
    let config = || std::fs::read_to_string(&config).unwrap();
    // Processes by container, and how often keepalived became the holder.
    let processes = || {
        let masters = "cat /var/log/pods/*keepalived*/*/*.log | grep -c 'Entering MASTER STATE'";
        let tasks = lab.machine.output(&["ctr", "-n=k8s.io", "tasks", "list"]).ok()?;
        let tasks: BTreeSet<String> = tasks.lines().map(str::to_owned).collect();
        Some((tasks, lab.machine.output(&["sh", "-c", masters]).ok()?))
    };
    // It may still be waiting for the network to be listened to.
    let is_holder = || holds().and_then(|()| processes());
    let before = wait::until("keepalived to hold the address", LIMIT, is_holder)
        .unwrap_or_else(|error| panic!("{error}\n{}", lab.journal()));
    let old = config();

    wanted.next();
    let mut node = lab.node(wanted).unwrap();
    fn instance(node: &mut Node) -> &mut VrrpInstance {
        &mut node.keepalived.as_mut().unwrap().instances[0]
    }
    // The node's, and not there.
    instance(&mut node).track_interfaces = vec!["eth0".parse().unwrap()];
    lab.write_node(&node).unwrap();
    let told = || {
        let phase = lab.phase();
        let is_refused = phase.contains("does not take its new config: the program refuses it");
        (is_refused && phase.contains("eth0") && phase.contains("the old files are back"))
            .then_some(())
    };
    wait::until("the refusal", LIMIT, told)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", lab.phase(), lab.journal()));
    assert!(holds().is_some() && config() == old);
    assert_eq!(processes().as_ref(), Some(&before));

    wanted.next();
    let mut node = lab.node(wanted).unwrap();
    instance(&mut node).priority = 90;
    lab.write_node(&node).unwrap();
    lab.wait_for_serving(wanted.generation).unwrap();
    assert!(config().contains("priority 90") && config() != old, "{}", config());
    assert!(holds().is_some());
    assert_eq!(processes(), Some(before), "{}", lab.journal());
}

/// A generation that fails leaves as a pod does that is replaced, and so does what returns come.
#[test]
fn the_last_good_generation_returns_without_a_pause() {
    let mut wanted = Wanted::first();
    let Some(lab) = start(&wanted) else { return };
    lab.set_generations("\"deadline_seconds\": 8, \"settle_seconds\": 4").unwrap();
    lab.wait_for_serving(wanted.generation).unwrap();
    let watch = Watch::start(&lab, "haproxy");
    let (mut holes, good) = (Vec::new(), wanted.version.clone());
    for _ in 0..6 {
        wanted.next();
        wanted.haproxy = 1;
        let mut node = lab.node(&wanted).unwrap();
        // It runs and answers, and its server does not: nobody would be served.
        let frontend = &mut node.haproxy.as_mut().unwrap().frontends[0];
        frontend.servers[0].address = "127.0.0.1:9".parse().unwrap();
        frontend.check.interval_seconds = 1;
        lab.write_node(&node).unwrap();
        lab.wait_for(&wanted.version).unwrap();
        holes.push(lab.wait_for(&good).unwrap());
        let returned = format!("keeping generation 1, since generation {}-", wanted.generation);
        let is_back = || lab.phase().starts_with(&returned).then_some(());
        wait::until(&returned, LIMIT, is_back).unwrap_or_else(|error| {
            panic!("{error}\n{}\n{}", lab.phase(), lab.journal());
        });
    }
    let seen = watch.stop();
    holes.sort();
    let quick = holes.iter().filter(|hole| **hole < GOAL).count();
    println!("without an answer, in {} returns: {holes:?}; {quick} below {GOAL:?}", holes.len());
    assert!(seen.together.is_empty(), "{seen:?}");
    assert_eq!(seen.pods.len(), 1 + 2 * holes.len(), "every run was seen: {seen:?}");
    // Each would take longer if the kubelet had to be waited for.
    assert!(holes[holes.len() / 2] < KUBELET_PAUSE, "{holes:?}");
}

/// What the agent does about a kubelet that met the new run too early, done by hand: the pause is there, and another UID in
/// the same place ends it.
#[test]
fn another_uid_ends_the_kubelets_pause() {
    let wanted = Wanted::first();
    let Some(lab) = start(&wanted) else { return };
    lab.machine.output(&["systemctl", "stop", "basalt-agent.service"]).unwrap();
    let first = lab.uid("haproxy").unwrap();
    let folder = lab.machine.root().join("etc/kubernetes/manifests");
    let rewrite = |from: &str, to: &str| {
        let text = std::fs::read_to_string(folder.join("haproxy.yaml")).unwrap();
        std::fs::write(folder.join(".haproxy.yaml"), text.replace(from, to)).unwrap();
        std::fs::rename(folder.join(".haproxy.yaml"), folder.join("haproxy.yaml")).unwrap();
        Instant::now()
    };
    let uids = [2, 3].map(|number| format!("{number}0000000-0000-8000-8000-000000000000"));
    let traces = |uid: &str| lab.machine.root().join("var/lib/kubelet/pods").join(uid).exists();

    // In place, while the old one runs: the kubelet lets the new one wait, and it shows no trace.
    let early = rewrite(&first, &uids[0]);
    wait::until("the old run to leave no trace", LIMIT, || (!traces(&first)).then_some(()))
        .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    if early.elapsed() >= KUBELET_PAUSE {
        return println!("this machine is too slow to see anything: {:?}", early.elapsed());
    }
    assert!(!traces(&uids[0]) && lab.answer().is_none(), "{:?}", early.elapsed());
    let again = rewrite(&uids[0], &uids[1]);
    lab.wait_for(&wanted.version).unwrap();
    println!(
        "answered {:?} after the second manifest, {:?} after the first",
        again.elapsed(),
        early.elapsed()
    );
    assert!(traces(&uids[1]) && !traces(&uids[0]));
    assert!(again.elapsed() < KUBELET_PAUSE / 2, "{:?}", again.elapsed());

    // Without it the pause has its time.
    let early = rewrite(&uids[1], &first);
    lab.wait_for_return().unwrap();
    assert!(early.elapsed() >= KUBELET_PAUSE, "{:?}", early.elapsed());
}

/// The kubelet's own UIDs would change, and with them the pods, the new ones beside the old.
#[test]
fn pods_outlive_a_kubelet_with_another_node_name() {
    let wanted = Wanted { keepalived: Some(0), ..Wanted::first() };
    let Some(lab) = start(&wanted) else { return };
    let watches = ["haproxy", "keepalived"].map(|program| Watch::start(&lab, program));
    let environment = "BASALT_NODE_NAME=renamed\nBASALT_NODE_IP=192.0.2.11\n";
    lab.machine.tree().write("/etc/kubernetes/kubelet.env", environment, 0o644).unwrap();
    lab.machine.output(&["systemctl", "restart", "kubelet.service"]).unwrap();
    let start = Instant::now();
    // The kubelet kills what it does not know within its first rounds.
    while start.elapsed() < Duration::from_secs(30) {
        assert_eq!(lab.answer().as_deref(), Some("v1"), "{}", lab.journal());
        std::thread::sleep(Duration::from_millis(100));
    }
    for watch in watches {
        let seen = watch.stop();
        assert_eq!((seen.pods.len(), seen.together.len()), (1, 0), "{seen:?}");
    }
}

/// 100,000 requests and more, with new configs all the time, and one that haproxy refuses.
#[test]
fn a_new_config_loses_no_request_and_keeps_the_pod() {
    let mut wanted = Wanted::first();
    let Some(lab) = start(&wanted) else { return };
    let Some(wrk) = peer("wrk") else { return };
    let uid = lab.uid("haproxy");
    // Connections that stay, which the worker of their time goes on serving, and one for each request.
    for header in ["Connection: keep-alive", "Connection: close"] {
        let (mut requests, mut changes) = (0, 0);
        while requests < 100_000 {
            let seen = load::during(&lab, &wrk, header, || {
                for _ in 0..3 {
                    wanted.next();
                    lab.want(&wanted).unwrap();
                    assert_eq!(lab.wait_for(&wanted.version).unwrap(), Duration::ZERO);
                    lab.wait_for_serving(wanted.generation).unwrap();
                    changes += 1;
                }
                Ok(())
            });
            let seen: Requests = seen.unwrap();
            assert_eq!(seen.lost(), 0, "{seen:?}");
            requests += seen.answered;
        }
        println!("`{header}`: {requests} requests, {changes} new configs, none lost");
    }

    // What haproxy refuses is not brought in, and said.
    wanted.generation += 1;
    let mut node = lab.node(&wanted).unwrap();
    node.haproxy.as_mut().unwrap().frontends[0].rules = vec!["http-request no-such-action".into()];
    let config = lab.machine.root().join("etc/basalt/pods/haproxy/haproxy.cfg");
    let before = std::fs::read_to_string(&config).unwrap();
    lab.write_node(&node).unwrap();
    let told = || lab.phase().contains("no-such-action").then_some(());
    wait::until("the refusal", LIMIT, told).unwrap();
    let is_back = || (std::fs::read_to_string(&config).ok()? == before).then_some(());
    wait::until("the old config", LIMIT, is_back).unwrap();
    assert_eq!(lab.answer().as_deref(), Some(wanted.version.as_str()));
    assert_eq!(lab.uid("haproxy"), uid);
    let said = || lab.phase().contains("the old files are back").then_some(());
    wait::until("the agent to say what became of the old files", LIMIT, said).unwrap();
    // haproxy is not asked about it again: no other file takes the place of the old one.
    let inode = || std::fs::metadata(&config).unwrap().ino();
    let first = inode();
    for _ in 0..3 {
        lab.machine.output(&["systemctl", "reload", "basalt-agent.service"]).unwrap();
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(inode(), first, "{}", lab.journal());
    }
    assert_eq!(lab.journal().matches("does not take its new config").count(), 1);
    // Until it is another one.
    wanted.next();
    lab.want(&wanted).unwrap();
    assert_eq!(lab.wait_for(&wanted.version).unwrap(), Duration::ZERO);
    assert_eq!(lab.uid("haproxy"), uid);
}
