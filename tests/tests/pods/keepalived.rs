//! The keepalived pod and the real keepalived, with the real haproxy beside it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use basalt_model::node::{HealthCheck, Node};
use e2e::needs::root_or_skip;
use e2e::peers::{Peer, peer};

use crate::container::Container;
use crate::http::Echo;
use crate::namespace::{Contained, Machine};
use crate::{lab, pod, wait_for, worked_example};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What `keepalived -t` says of the node's config after `edit`, on a machine with the node's interfaces. Nothing
/// said and exit status 0 is acceptance.
fn verdict(keepalived: &Peer, node: &Node, edit: impl Fn(String) -> String) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let machine = Machine::new(folder.path());
    let instances = node.keepalived.iter().flat_map(|keepalived| &keepalived.instances);
    for interface in instances.map(|instance| &instance.interface).collect::<BTreeSet<_>>() {
        machine.run(&format!(
            "ip link add {interface} type veth peer name other && ip link set {interface} up"
        ));
    }
    let container = Container::new(&pod(node, "keepalived"), folder.path());
    let config = container.inside("/etc/basalt/pods/keepalived/keepalived.conf");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, edit(text)).unwrap();
    machine.command(&keepalived.program).arg("-t").arg("-f").arg(&config).output().unwrap()
}

#[test]
fn keepalived_accepts_every_config() {
    let (Some(keepalived), Some(_)) = (peer("keepalived"), peer("curl")) else { return };
    if !root_or_skip() {
        return;
    }
    let mut alone = lab("n1");
    alone.haproxy = None;
    let mut many = lab("n1");
    let instances = &mut many.keepalived.as_mut().unwrap().instances;
    let patterns = instances.clone();
    for index in 0..40_u8 {
        let mut instance = patterns[usize::from(index) % 2].clone();
        instance.name = format!("more-{index}").parse().unwrap();
        instance.virtual_router_id = 100 + index;
        instance.virtual_addresses = vec![
            match instance.source.is_ipv4() {
                true => format!("192.0.2.{}/24", 100 + index),
                false => format!("2001:db8:2::1:{index}/64"),
            }
            .parse()
            .unwrap(),
        ];
        instances.push(instance);
    }
    let mut nodes = worked_example();
    nodes.extend([lab("n1"), lab("n2"), lab("n3"), alone, many]);
    for node in nodes {
        let output = verdict(&keepalived, &node, |text| text);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.is_empty(), "{said}");
    }
}

#[test]
fn keepalived_refuses_what_is_broken() {
    let (Some(keepalived), Some(_)) = (peer("keepalived"), peer("curl")) else { return };
    if !root_or_skip() {
        return;
    }
    for (from, to) in [
        ("virtual_router_id 51", "virtual_router_id 256"),
        ("advert_int 1", "advert_intt 1"),
        ("192.0.2.12\n", "2001:db8::1\n"),
        ("/usr/bin/curl", "/usr/bin/crul"),
        ("interface bond0", "interface bond1"),
        // Why `lo` is not the name of an interface.
        ("interface bond0", "interface lo"),
    ] {
        let output = verdict(&keepalived, &lab("n1"), |text| {
            assert!(text.contains(from));
            text.replace(from, to)
        });
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && !said.is_empty(), "{to}: {said}");
    }
}

const BACKEND_PORT: u16 = 16_443;

/// The lab's node with one frontend, on the virtual addresses, and one server, its own.
pub(crate) fn serving(name: &str) -> Node {
    let mut node = lab(name);
    let haproxy = node.haproxy.as_mut().unwrap();
    haproxy.max_connections = 100;
    haproxy.frontends.truncate(1);
    let frontend = &mut haproxy.frontends[0];
    frontend.check = HealthCheck::connect();
    frontend.servers.truncate(1);
    frontend.servers[0].address = format!("127.0.0.1:{BACKEND_PORT}").parse().unwrap();
    node
}

/// One node of the lab: a machine with both pods and a server behind them.
pub(crate) struct Station<'a> {
    pub(crate) machine: Machine,
    pub(crate) pod: Container,
    pub(crate) keepalived: Option<Contained>,
    program: &'a Peer,
    backend: Option<Echo>,
    // Ends before the machine it runs on.
    _haproxy: Contained,
}

impl<'a> Station<'a> {
    fn new(name: &str, folder: &Path, programs: [&'a Peer; 2]) -> Self {
        Self::of(name, &serving(name), folder, programs)
    }

    pub(crate) fn of(name: &str, node: &Node, folder: &Path, programs: [&'a Peer; 2]) -> Self {
        let [program, haproxy_program] = programs;
        let root = folder.join(name);
        let machine = Machine::new(folder);
        let container = Container::new(&pod(node, "haproxy"), &root);
        let haproxy = machine.start(&container.command(&haproxy_program.program));
        let pod = Container::new(&pod(node, "keepalived"), &root);
        let mut station =
            Self { machine, pod, keepalived: None, program, backend: None, _haproxy: haproxy };
        station.start_backend();
        station
    }

    fn start_backend(&mut self) {
        let address = SocketAddr::from(([127, 0, 0, 1], BACKEND_PORT));
        self.backend = Some(Echo::on(self.machine.listen(address)));
    }

    /// As the manifest says; the program is found by its name, as in an image.
    pub(crate) fn start_keepalived(&mut self) {
        let command = self.pod.command(&self.program.program);
        self.keepalived = Some(self.machine.start(&command));
    }

    fn addresses(&self) -> String {
        self.machine.run("ip -oneline address show dev bond0")
    }

    pub(crate) fn holds(&self) -> bool {
        let addresses = self.addresses();
        let (ipv4, ipv6) =
            (addresses.contains(" 192.0.2.10/24"), addresses.contains(" 2001:db8:2::10/64"));
        ipv4 && ipv6
    }

    pub(crate) fn holds_nothing(&self) -> bool {
        let addresses = self.addresses();
        !addresses.contains(" 192.0.2.10/24") && !addresses.contains(" 2001:db8:2::10/64")
    }

    pub(crate) fn probe(&self, name: &str) -> Output {
        self.keepalived.as_ref().unwrap().exec(&self.pod.probe(name))
    }

    pub(crate) fn said(&self) -> String {
        self.keepalived.as_ref().map(|it| it.running.said()).unwrap_or_default()
    }
}

/// The two machines on one wire.
pub(crate) fn connect(first: &Station<'_>, second: &Station<'_>) {
    let (wire, other) = ("ip link add bond0 type veth peer name bond0 netns", second.machine.id());
    first.machine.run(&format!("{wire} {other}"));
    for (station, last) in [(first, "11"), (second, "12")] {
        station.machine.run(&format!(
            "ip address add 192.0.2.{last}/24 dev bond0
             ip address add 2001:db8:2::{last}/64 dev bond0 nodad
             ip link set bond0 up"
        ));
    }
}

/// What haproxy tells of itself is told on the node alone, by whatever address another one asks.
fn stays_on_the_node(n1: &Station<'_>, n2: &Station<'_>) {
    const PORT: u16 = 9444;
    let ask = |from: &Station<'_>, address: &str, path: &str| {
        let url = format!("http://{address}:{PORT}{path}");
        let limits = ["--silent", "--fail", "--max-time", "5", "--output", "/dev/null"];
        from.machine.command("curl").args(limits).arg(url).status().unwrap().code()
    };
    const REFUSED: Option<i32> = Some(7);
    for path in ["/stats", "/metrics", "/healthz"] {
        assert_eq!(ask(n1, "127.0.0.1", path), Some(0), "{path}");
        for address in ["192.0.2.11", "192.0.2.10", "[2001:db8:2::11]", "[2001:db8:2::10]"] {
            assert_eq!(ask(n2, address, path), REFUSED, "{address}{path}");
            // The node itself, by an address that others could use.
            assert_eq!(ask(n1, address, path), REFUSED, "{address}{path}");
        }
    }
    let listening =
        n1.machine.run(&format!("ss --no-header --listening --tcp --numeric sport = :{PORT}"));
    assert!(listening.lines().count() == 1 && listening.contains("127.0.0.1:9444"), "{listening}");
    // It shows, and changes nothing: whoever is on the node needs no password for that.
    let change =
        "curl --silent --max-time 5 --data 's=own&b=%234&action=drain' http://127.0.0.1:9444/stats";
    let _ = n1.machine.command("sh").args(["-c", change]).output().unwrap();
    let state = n1.machine.run("curl --silent 'http://127.0.0.1:9444/stats;csv'");
    assert!(state.contains(",UP,") && !state.contains("DRAIN"), "{state}");
}

/// The whole point of both pods: whatever fails, exactly one node holds the addresses, and it is one that serves.
#[test]
fn addresses_follow_the_node_that_serves() {
    let (Some(keepalived), Some(haproxy)) = (peer("keepalived"), peer("haproxy")) else { return };
    if peer("curl").is_none() || !root_or_skip() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let programs = [&keepalived, &haproxy];
    let mut n1 = Station::new("n1", folder.path(), programs);
    let mut n2 = Station::new("n2", folder.path(), programs);
    n1.start_keepalived();
    n2.start_keepalived();

    // The interface and its addresses come later than the pod: it waits, and is not ready.
    wait_for("n1 waits", PATIENCE, || n1.said().contains("waiting for the address 192.0.2.11"));
    assert!(!n1.probe("readinessProbe").status.success());
    connect(&n1, &n2);
    wait_for("n1 holds the addresses", PATIENCE, || n1.holds() && n2.holds_nothing());
    for (station, probe) in
        [(&n1, "livenessProbe"), (&n1, "readinessProbe"), (&n2, "readinessProbe")]
    {
        wait_for(probe, PATIENCE, || station.probe(probe).status.success());
    }
    let ipv6 = n1.addresses();
    let line = ipv6.lines().find(|line| line.contains("2001:db8:2::10/64")).unwrap();
    assert!(line.contains("deprecated"), "not to be chosen for own connections: {line}");
    let body = n2.machine.run("curl --silent --fail --max-time 5 http://192.0.2.10:6443/hello");
    assert!(body.starts_with("GET /hello"), "{body}");
    n2.machine.run("curl --silent --fail --max-time 5 'http://[2001:db8:2::10]:6443/hello'");
    stays_on_the_node(&n1, &n2);

    n1.backend = None;
    let moved = wait_for("n2 takes over", PATIENCE, || n2.holds() && n1.holds_nothing());
    eprintln!("the addresses moved {:.1} s after the last server went", moved.as_secs_f32());

    n2.backend = None;
    wait_for("nobody serves: the higher priority holds", PATIENCE, || {
        n1.holds() && n2.holds_nothing()
    });
    n2.start_backend();
    wait_for("n2 serves", PATIENCE, || n2.holds() && n1.holds_nothing());
    n1.start_backend();
    wait_for("n1 is preferred", PATIENCE, || n1.holds() && n2.holds_nothing());

    // A crash leaves the addresses behind, on the interface, and the pid files, on their volume.
    n1.keepalived.take().unwrap().crash();
    wait_for("n2 steps in", PATIENCE, || n2.holds());
    assert!(n1.holds(), "what this test is about");
    n1.start_keepalived();
    wait_for("what was left behind is gone", PATIENCE, || {
        n1.said().contains("Entering BACKUP STATE") && n1.holds_nothing()
    });
    wait_for("n1 is preferred again", PATIENCE, || n1.holds() && n2.holds_nothing());
    assert!(n1.probe("livenessProbe").status.success(), "{}", n1.said());

    // keepalived does not recover from an interface that is made anew; the probe says so, and a restart helps.
    n1.machine.run("ip link delete bond0");
    let answer = n1.probe("livenessProbe");
    let expected = "bond0 is not the interface that keepalived started with\n";
    assert_eq!(String::from_utf8_lossy(&answer.stdout), expected);
    connect(&n1, &n2);
    assert!(!n1.probe("livenessProbe").status.success());
    n1.keepalived.take().unwrap().crash();
    n1.start_keepalived();
    wait_for("n1 holds the addresses on its new interface", PATIENCE, || n1.holds());
}

/// A VRRP process that hangs is found out, though it exists.
#[test]
fn the_liveness_probe_notices_a_process_that_hangs() {
    let (Some(keepalived), Some(haproxy)) = (peer("keepalived"), peer("haproxy")) else { return };
    if peer("curl").is_none() || !root_or_skip() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut n1 = Station::new("n1", folder.path(), [&keepalived, &haproxy]);
    let n2 = Station::new("n2", folder.path(), [&keepalived, &haproxy]);
    connect(&n1, &n2);
    n1.start_keepalived();
    wait_for("alive", PATIENCE, || n1.probe("livenessProbe").status.success());
    let stop = |signal: &str| {
        let run = n1.pod.inside("/run/keepalived/vrrp.pid");
        let line = format!("kill -{signal} $(cat '{}')", run.display());
        let command = ["sh", "-c", &line].map(str::to_owned);
        assert!(n1.keepalived.as_ref().unwrap().exec(&command).status.success());
    };
    stop("STOP");
    let answer = n1.probe("livenessProbe");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "no answer from the VRRP process\n");
    assert!(!answer.status.success());
    // What was answered before does not count for a process that hangs.
    let answer = n1.probe("readinessProbe");
    assert!(!answer.status.success(), "{answer:?}");
    stop("CONT");
    wait_for("alive again", PATIENCE, || n1.probe("livenessProbe").status.success());
}

/// A log that says the same every few seconds hides the rest.
#[test]
fn the_probes_are_quiet_and_see_a_fault_at_once() {
    let (Some(keepalived), Some(haproxy)) = (peer("keepalived"), peer("haproxy")) else { return };
    if peer("curl").is_none() || !root_or_skip() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut n1 = Station::new("n1", folder.path(), [&keepalived, &haproxy]);
    let n2 = Station::new("n2", folder.path(), [&keepalived, &haproxy]);
    connect(&n1, &n2);
    n1.start_keepalived();
    wait_for("ready", PATIENCE, || n1.probe("readinessProbe").status.success());
    let printed = || n1.said().matches("Printing").count();
    let before = printed();
    for _ in 0..6 {
        for probe in ["livenessProbe", "readinessProbe"] {
            let answer = n1.probe(probe);
            assert!(answer.status.success(), "{probe}: {answer:?}");
        }
    }
    // Twelve questions would be twelve lines. A busy machine may leave a doubt once.
    assert!(printed() <= before + 1, "{}", n1.said());
    n1.machine.run("ip link set bond0 down");
    wait_for("in fault", PATIENCE, || n1.said().contains("Entering FAULT STATE"));
    let answer = n1.probe("readinessProbe");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "a VRRP instance is in fault\n");
    assert!(!answer.status.success());
    // It is no reason to restart keepalived.
    assert!(n1.probe("livenessProbe").status.success());
    n1.machine.run("ip link set bond0 up");
    wait_for("ready again", PATIENCE, || n1.probe("readinessProbe").status.success());
}
