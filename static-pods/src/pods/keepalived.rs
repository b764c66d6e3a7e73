//! keepalived: holds the virtual addresses on one node that can serve them (VRRP, RFC 9568).
//!
//! Choices, with their reasons:
//! - Every node starts as BACKUP and speaks unicast to the peers it is told; adverts of anybody else are dropped, and
//!   a node without peers is refused here: alone it would be a second master the others never hear of.
//! - A node whose haproxy serves gains [`CHECK_WEIGHT`], which is more than priorities can differ by: any node that
//!   serves beats any that does not, and when none serves the addresses still stay on exactly one.
//! - Each instance has a check of its own, which asks haproxy on loopback about the frontends that its addresses carry:
//!   do they have a server that works, do they shake hands. Addresses do not move for what others carry.
//! - A tracked interface without link, and a haproxy that is about to stop ([`HAPROXY_DRAIN_FILE`]), each take off as
//!   much as a working haproxy adds: such a node stands back, and still is there when all others are worse. An
//!   instance whose interface is down, gone or in a bridge, or whose source address is gone, is in fault: that node
//!   cannot hold the addresses at all.
//! - Preemption stays on. With `nopreempt` a node that lost its haproxy would keep the addresses, since losing
//!   priority is exactly what others may not act on; `preempt_delay` would delay that very take-over. What keeps
//!   addresses from moving back and forth is the check: a node that failed counts again after five good answers in a
//!   row, so one that flaps stays out. Nodes of equal priority never take an address back from each other.
//! - The check runs curl itself, without a shell, so that nothing but its exit status decides. The image must hold
//!   it at [`CURL`].
//! - Addresses that a crashed keepalived left behind are removed by keepalived's own start, before it listens; that
//!   is tested against the real program, so there is no init container for it.
//! - keepalived 2.2.7 that starts before its source address is there never takes part, even when the address comes a
//!   moment later, and `dynamic_interfaces` does not help. So the start waits for the addresses. A link that goes and
//!   comes back is no problem for it, but an interface that is deleted and made anew is: keepalived calls itself
//!   BACKUP and takes part no more. So the liveness probe compares the interface's index with that of the start.
//! - There is no VRRP password: it would go over the wire in the clear, cut to eight characters.
//!
//! On SIGTERM keepalived gives its addresses up and says so with an advert of priority 0, so that a peer takes over at
//! once. On SIGHUP it reads its config again and keeps its state.
//!
//! When haproxy or its servers fail, the addresses move within about 10 seconds: at most 3 s until haproxy takes the
//! last server out, 3 s for three failed checks, and three advert intervals until another node steps in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use basalt_model::names::Cidr;
use basalt_model::node::{Keepalived, Node, VrrpInstance};

use crate::control::{HAPROXY_DIRECTORY, HAPROXY_DRAIN_FILE};
use crate::manifest::{Capability, HostPathType, Requests};
use crate::parts::{
    CONFIG_HEADER, Draft, Findings, LIVENESS, Mount, PodParts, Probes, READINESS, STARTUP, Timing,
    absolute, config_directory, config_file, shell,
};
use crate::pods::haproxy;

pub(crate) const NAME: &str = "keepalived";

/// What a working haproxy adds to a node's priority.
pub const CHECK_WEIGHT: u8 = 127;

/// The highest priority of an instance on a node that runs haproxy. `1 + CHECK_WEIGHT` is more than this, and this
/// with [`CHECK_WEIGHT`] is 254, the highest that VRRP leaves to a node that does not own the address.
pub const HIGHEST_PRIORITY: u8 = 127;

/// The highest priority where nothing is added to it; the model's own bound.
const HIGHEST_PRIORITY_UNCHECKED: u8 = 253;

/// Addresses and raw sockets are what keepalived is about. `SETGID`: keepalived calls `setgroups` before it runs a
/// check, and where that fails the check counts as passed, without having run (seen with 2.2.7).
pub(crate) const CAPABILITIES: [Capability; 3] =
    [Capability::NetAdmin, Capability::NetRaw, Capability::Setgid];

/// In memory; survives a restart of the container.
const RUN_DIRECTORY: &str = "/run/keepalived";
/// Where keepalived writes its state when asked to; a path of its own making.
const DUMP_DIRECTORY: &str = "/tmp";

/// The program that asks haproxy.
const CURL: &str = "/usr/bin/curl";

/// Long enough to stop: a priority 0 advert tells the peers, so that they take over at once.
const GRACE_SECONDS: u32 = 15;

/// What the file is called in the config.
const DRAIN: &str = "drain";

/// For how many readiness probes, one every five seconds, an answer holds.
const ANSWERS_HOLD: u32 = 11;

/// Notes an instance in the state, and ends at one in fault.
const FAULTS: &str = "*'VRRP Instance = '*) seen=yes ;;\n      *' State = FAULT'*) echo 'a VRRP instance is in fault'; exit 1 ;;";

/// How long a probe waits for the answer to a signal, in seconds.
const ANSWER_SECONDS: u32 = 5;

pub(crate) fn draft(node: &Node, keepalived: &Keepalived, findings: &mut Findings) -> Draft {
    check(node, keepalived, findings);
    let parts = PodParts {
        name: NAME,
        component: "virtual-address",
        cluster: &node.cluster,
        image: &keepalived.image,
        command: shell(&start_script(keepalived)),
        ports: Vec::new(),
        requests: Requests { cpu: "50m", memory: "64Mi" },
        user: 0,
        capabilities: CAPABILITIES.to_vec(),
        probes: Probes {
            startup: answering(STARTUP).shell(&lives_script(keepalived)),
            liveness: answering(LIVENESS).shell(&lives_script(keepalived)),
            readiness: answering(READINESS).shell(&ready_script(keepalived)),
        },
        mounts: mounts(node),
        grace_seconds: GRACE_SECONDS,
        files: vec![config_file(NAME, "keepalived.conf", 0o644, config(node, keepalived))],
        takes_config: true,
    };
    Draft::new(parts, &CAPABILITIES)
}

fn mounts(node: &Node) -> Vec<Mount> {
    let mut mounts = vec![
        Mount::config(NAME),
        Mount::scratch("run", RUN_DIRECTORY, "16Mi"),
        Mount::scratch("tmp", DUMP_DIRECTORY, "16Mi"),
    ];
    // Whichever of the two pods comes first makes the folder.
    mounts.extend(node.haproxy.as_ref().map(|_| {
        Mount::host("haproxy", absolute(HAPROXY_DIRECTORY), HostPathType::DirectoryOrCreate)
    }));
    mounts
}

/// Looks at the config as it is on the disk.
pub(crate) fn check_command() -> Vec<String> {
    let config = format!("{}/keepalived.conf", config_directory(NAME));
    ["keepalived", "--config-test", "--use-file", &config].map(str::to_owned).to_vec()
}

/// Asks what the readiness probe asks, and always for the answer of this moment.
pub(crate) fn verify_command() -> Vec<String> {
    shell(&works_script())
}

/// A probe that signals keepalived needs more time than it waits.
fn answering(timing: Timing) -> Timing {
    Timing { timeout: ANSWER_SECONDS + 3, ..timing }
}

/// Waits for the node's own addresses, notes the interfaces' indexes and becomes keepalived.
///
/// Pid files outlive a crash of the container, and inside it every keepalived is process 1: it would find "itself"
/// already running and never start again. So they go first; until keepalived writes them anew, every probe fails.
fn start_script(keepalived: &Keepalived) -> String {
    let sources: BTreeSet<String> =
        keepalived.instances.iter().map(|instance| as_proc_shows(instance.source)).collect();
    let sources = Vec::from_iter(sources).join(" ");
    format!(
        "trap 'exit 143' TERM
rm -f {RUN_DIRECTORY}/*.pid {RUN_DIRECTORY}/answered
is_there() {{
  before=
  while read -r line; do
    case \"$before$line\" in
    \"|-- $1/32 host LOCAL\") return 0 ;;
    esac
    before=$line
  done < /proc/net/fib_trie
  # An address that is still being probed for a duplicate (flag 40) cannot be used.
  while read -r shown _ _ _ flags _; do
    case \"$shown $flags\" in
    \"$1 \"[!4567cdef]?) return 0 ;;
    esac
  done < /proc/net/if_inet6
  return 1
}}
for address in {sources}; do
  until is_there \"$address\"; do
    echo \"waiting for the address $address\"
    sleep 1
  done
done
for interface in {interfaces}; do
  read -r index < /sys/class/net/$interface/ifindex
  echo \"$index\" > {RUN_DIRECTORY}/$interface.index
done
exec keepalived --dont-fork --vrrp --log-console --no-syslog --use-file={config}/keepalived.conf \\
  --pid={RUN_DIRECTORY}/keepalived.pid --vrrp_pid={RUN_DIRECTORY}/vrrp.pid
",
        interfaces = interfaces(keepalived),
        config = config_directory(NAME)
    )
}

/// An address as `/proc/net/fib_trie` or `/proc/net/if_inet6` writes it.
fn as_proc_shows(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.octets().iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The interfaces of all instances, each once. Their names are words of the shell by their type.
fn interfaces(keepalived: &Keepalived) -> String {
    let names = keepalived.instances.iter().map(|instance| instance.interface.as_str());
    Vec::from_iter(BTreeSet::from_iter(names)).join(" ")
}

/// Proves that the VRRP process handles events: it goes to sleep and wakes up again, as it does for each advert; or,
/// when it has slept for a while, it writes its state when told to, and the state names an instance. A process that
/// merely exists does neither. Proves before that its interfaces are still the ones it knows.
///
/// keepalived logs each question, and a log that says the same every few seconds hides the rest: so it is asked only
/// when there is a doubt.
fn lives_script(keepalived: &Keepalived) -> String {
    format!(
        "for interface in {}; do
  now=
  read -r now < /sys/class/net/$interface/ifindex
  read -r before < {RUN_DIRECTORY}/$interface.index
  if test \"$now\" != \"$before\"; then
    echo \"$interface is not the interface that keepalived started with\"
    exit 1
  fi
done
{}beats && exit 0
{}",
        interfaces(keepalived),
        beats(),
        state_script("*'VRRP Instance = '*) exit 0 ;;", "")
    )
}

/// A function that tells whether the VRRP process goes to sleep and wakes up within a second: the kernel counts that.
fn beats() -> String {
    format!(
        "switches() {{
  while read -r name value; do
    case $name in
    voluntary_ctxt_switches:) echo \"$value\" ;;
    esac
  done < /proc/$vrrp/status
}}
beats() {{
  read -r vrrp < {RUN_DIRECTORY}/vrrp.pid || return 1
  before=$(switches)
  sleep 1
  now=$(switches)
  test -n \"$now\" && test \"$now\" != \"$before\"
}}
"
    )
}

/// As [`works_script`]. What was answered holds for [`ANSWERS_HOLD`] probes, as long as the process handles events and no
/// interface has changed.
fn ready_script(keepalived: &Keepalived) -> String {
    format!(
        "links=
for interface in {interfaces}; do
  index= state=
  read -r index < /sys/class/net/$interface/ifindex
  read -r state < /sys/class/net/$interface/operstate
  links=\"$links$index-$state,\"
done
{beats}answered={RUN_DIRECTORY}/answered
if test -r $answered && read -r left known < $answered &&
  test \"$left\" -gt 0 && test \"$known\" = \"$links\" && beats; then
  echo \"$((left - 1)) $links\" > $answered
  exit 0
fi
rm -f $answered
{works}",
        interfaces = interfaces(keepalived),
        beats = beats(),
        works = state_script(
            FAULTS,
            &format!(
                "\n    if test -n \"$seen\"; then\n      echo \"{ANSWERS_HOLD} $links\" > $answered\n      exit 0\n    fi"
            ),
        )
    )
}

/// Proves that it answers, and that no instance is in fault: interface and source address are there.
fn works_script() -> String {
    state_script(FAULTS, "\n    test -n \"$seen\" && exit 0")
}

/// Plain POSIX shell with `rm` and `sleep`: the image need not hold more.
fn state_script(cases: &str, at_end: &str) -> String {
    format!(
        "dump={DUMP_DIRECTORY}/keepalived.data
rm -f \"$dump\"
read -r pid < {RUN_DIRECTORY}/vrrp.pid || exit 1
kill -USR1 \"$pid\" || exit 1
tries=0
while test $tries -lt {ANSWER_SECONDS}; do
  sleep 1
  tries=$((tries + 1))
  if test -s \"$dump\"; then
    while read -r line; do
      case \" $line\" in
      {cases}
      esac
    done < \"$dump\"{at_end}
  fi
done
echo 'no answer from the VRRP process'
exit 1
"
    )
}

fn check(node: &Node, keepalived: &Keepalived, findings: &mut Findings) {
    let instances = &keepalived.instances;
    if instances.is_empty() {
        findings.add("keepalived.instances", "is empty");
    }
    let place = |index: usize| format!("keepalived.instances[{index}]");
    findings.add_duplicates(
        |index| format!("{}.name", place(index)),
        instances.iter().map(|instance| &instance.name),
    );
    // IPv4 and IPv6 are two protocols to VRRP: each counts its identifiers for itself.
    let routers = instances.iter().map(|instance| {
        let family = if instance.source.is_ipv4() { "IPv4" } else { "IPv6" };
        format!("{} on {} ({family})", instance.virtual_router_id, instance.interface)
    });
    findings.add_duplicates(|index| format!("{}.virtual_router_id", place(index)), routers);
    for (index, instance) in instances.iter().enumerate() {
        check_numbers(&place(index), node, instance, findings);
        check_addresses(&place(index), node, instance, findings);
    }
}

fn check_numbers(place: &str, node: &Node, instance: &VrrpInstance, findings: &mut Findings) {
    let most = match node.haproxy {
        Some(_) => HIGHEST_PRIORITY,
        None => HIGHEST_PRIORITY_UNCHECKED,
    };
    let numbers = [
        ("virtual_router_id", instance.virtual_router_id, u8::MAX),
        ("priority", instance.priority, most),
        ("advert_interval_seconds", instance.advert_interval_seconds, 40),
    ];
    for (name, number, most) in numbers {
        if !(1..=most).contains(&number) {
            let reason = match name {
                "priority" if node.haproxy.is_some() => {
                    format!(", since a working haproxy adds {CHECK_WEIGHT} to it")
                }
                _ => String::new(),
            };
            let message = format!("must be between 1 and {most}, not {number}{reason}");
            findings.add(format!("{place}.{name}"), message);
        }
    }
}

fn check_addresses(place: &str, node: &Node, instance: &VrrpInstance, findings: &mut Findings) {
    let interface = node.network.interfaces.iter().find(|it| it.name == instance.interface);
    let place_of = |name: &str| format!("{place}.{name}");
    match interface {
        None => {
            let message = format!("the node has no interface `{}`", instance.interface);
            findings.add(place_of("interface"), message);
        }
        Some(found) if !found.addresses.iter().any(|own| own.address() == instance.source) => {
            let message = format!("`{}` is not an address of `{}`", instance.source, found.name);
            findings.add(place_of("source"), message);
        }
        Some(_) => {}
    }
    for (index, tracked) in instance.track_interfaces.iter().enumerate() {
        if !node.network.interfaces.iter().any(|it| it.name == *tracked) {
            let message = format!("the node has no interface `{tracked}`");
            findings.add(format!("{place}.track_interfaces[{index}]"), message);
        }
    }
    if instance.peers.is_empty() {
        let message = "is empty: alone, this node would hold the addresses whatever the others do";
        findings.add(place_of("peers"), message);
    }
    if instance.virtual_addresses.is_empty() {
        findings.add(place_of("virtual_addresses"), "is empty");
    }
    let virtuals = instance.virtual_addresses.iter().map(Cidr::address);
    for (list, addresses) in [
        ("peers", instance.peers.clone()),
        ("virtual_addresses", virtuals.collect::<Vec<IpAddr>>()),
    ] {
        findings.add_duplicates(|index| format!("{place}.{list}[{index}]"), addresses.iter());
        for (index, address) in addresses.iter().enumerate() {
            let place = format!("{place}.{list}[{index}]");
            if *address == instance.source {
                findings.add(place, format!("`{address}` is this node's own address"));
            } else if address.is_ipv4() != instance.source.is_ipv4() {
                let message = format!("`{address}` is not of the family of `{}`", instance.source);
                findings.add(place, message);
            }
        }
    }
}

fn config(node: &Node, keepalived: &Keepalived) -> String {
    let mut blocks = vec![CONFIG_HEADER.to_owned(), globals(node)];
    let instances = &keepalived.instances;
    if let Some(haproxy) = &node.haproxy {
        let check = |instance| haproxy_check(instance, haproxy.monitor_port);
        blocks.push(drain());
        blocks.extend(instances.iter().map(check));
    }
    blocks.extend(instances.iter().map(interface_check));
    let has_check = node.haproxy.is_some();
    blocks.extend(instances.iter().map(|instance| vrrp_instance(instance, has_check)));
    blocks.join("\n")
}

fn globals(node: &Node) -> String {
    let lines = [
        format!("router_id {}", node.name),
        // IPv6 has no other, and RFC 9568 knows no other.
        "vrrp_version 3".to_owned(),
        // Only listed peers are heard: a forgotten node cannot take part.
        "vrrp_check_unicast_src".to_owned(),
        // Switches and neighbours that missed the first announcement learn it within a minute.
        "vrrp_garp_master_refresh 60".to_owned(),
        // A second volley behind the first, for switches that were not yet forwarding.
        "vrrp_garp_master_delay 1".to_owned(),
        // After two masters at once, the right one announces itself again.
        "vrrp_higher_prio_send_advert true".to_owned(),
        // keepalived must not raise its own scheduling priority; it may not, without `SYS_NICE`.
        "max_auto_priority -1".to_owned(),
        "script_user root".to_owned(),
        "enable_script_security".to_owned(),
    ];
    block("global_defs", lines)
}

/// The file that haproxy writes `1` to before it stops; keepalived is told by the kernel, at once.
fn drain() -> String {
    let lines = [format!("file \"{HAPROXY_DRAIN_FILE}\""), format!("weight -{CHECK_WEIGHT}")];
    block(&format!("vrrp_track_file {DRAIN}"), lines)
}

/// Asks once a second; three bad answers in a row decide, so one slow answer moves nothing, and five good ones until
/// the node counts again. curl gives up before keepalived does, so that the log names curl's reason. `init_fail`: a
/// node proves its haproxy before it counts.
fn haproxy_check(instance: &VrrpInstance, monitor_port: u16) -> String {
    let url = format!("http://127.0.0.1:{monitor_port}{}/{}", haproxy::READY_PATH, instance.name);
    let lines = [
        format!("script \"{CURL} --silent --fail --output /dev/null --max-time 1 {url}\""),
        "interval 1".to_owned(),
        "timeout 2".to_owned(),
        "rise 5".to_owned(),
        "fall 3".to_owned(),
        format!("weight {CHECK_WEIGHT}"),
        "init_fail".to_owned(),
    ];
    block(&format!("vrrp_script {}", check_name(instance)), lines)
}

/// A fault as soon as somebody has put the interface into a bridge: the kernel no longer takes its packets for the
/// interface itself, while adverts still go out by the bridge. keepalived does not notice by itself (2.2.7).
fn interface_check(instance: &VrrpInstance) -> String {
    let look = format!("test ! -e /sys/class/net/{}/brport", instance.interface);
    let lines = [
        format!("script \"/bin/sh -c '{look}'\""),
        "interval 1".to_owned(),
        "timeout 2".to_owned(),
        "rise 2".to_owned(),
        "fall 2".to_owned(),
    ];
    block(&format!("vrrp_script {}", interface_check_name(instance)), lines)
}

fn interface_check_name(instance: &VrrpInstance) -> String {
    format!("interface-{}", instance.name)
}

fn check_name(instance: &VrrpInstance) -> String {
    format!("haproxy-{}", instance.name)
}

fn vrrp_instance(instance: &VrrpInstance, has_check: bool) -> String {
    let mut lines = vec![
        "state BACKUP".to_owned(),
        format!("interface {}", instance.interface),
        format!("virtual_router_id {}", instance.virtual_router_id),
        format!("priority {}", instance.priority),
        format!("advert_int {}", instance.advert_interval_seconds),
        format!("unicast_src_ip {}", instance.source),
        // Without its source address an instance can neither send nor be heard.
        "track_src_ip".to_owned(),
    ];
    let peers = instance.peers.iter().map(IpAddr::to_string);
    lines.extend(block("unicast_peer", peers).lines().map(str::to_owned));
    let addresses = instance.virtual_addresses.iter().map(|address| {
        // An IPv6 address without preference is never chosen for the node's own connections, which would break when
        // it moves. IPv4 chooses the interface's first address anyway.
        let preference = if address.address().is_ipv6() { " preferred_lft 0" } else { "" };
        format!("{address} dev {}{preference}", instance.interface)
    });
    lines.extend(block("virtual_ipaddress", addresses).lines().map(str::to_owned));
    if !instance.track_interfaces.is_empty() {
        let interfaces = instance.track_interfaces.iter();
        let tracked = interfaces.map(|interface| format!("{interface} weight -{CHECK_WEIGHT}"));
        lines.extend(block("track_interface", tracked).lines().map(str::to_owned));
    }
    let mut checks = vec![interface_check_name(instance)];
    checks.extend(has_check.then(|| check_name(instance)));
    lines.extend(block("track_script", checks).lines().map(str::to_owned));
    if has_check {
        lines.extend(block("track_file", [DRAIN.to_owned()]).lines().map(str::to_owned));
    }
    block(&format!("vrrp_instance {}", instance.name), lines)
}

fn block(head: &str, lines: impl IntoIterator<Item = String>) -> String {
    let body: String = lines.into_iter().map(|line| format!("    {line}\n")).collect();
    format!("{head} {{\n{body}}}\n")
}
