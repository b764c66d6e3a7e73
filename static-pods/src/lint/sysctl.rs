//! `securityContext.sysctls`: which of them a pod may set, and to what.

use super::names;
use super::tree::{At, beginning};
use super::{Effect, Sink};

/// What the kernel takes as the value of a sysctl.
enum Values {
    /// So many integers in a range.
    Integers { count: usize, least: i64, most: i64 },
    /// Ports and ranges of ports, joined by commas.
    Ports,
}

const fn integers(count: usize, least: i64, most: i64) -> Values {
    Values::Integers { count, least, most }
}

const INT_MAX: i64 = i32::MAX as i64;

/// The sysctls that the kubelet lets a pod set without being told to.
const SAFE: [(&str, Values); 12] = [
    ("kernel.shm_rmid_forced", integers(1, 0, 1)),
    ("net.ipv4.ip_local_port_range", integers(2, 1, 65535)),
    ("net.ipv4.ip_local_reserved_ports", Values::Ports),
    ("net.ipv4.ip_unprivileged_port_start", integers(1, 0, 65535)),
    ("net.ipv4.ping_group_range", integers(2, 0, u32::MAX as i64)),
    ("net.ipv4.tcp_fin_timeout", integers(1, 0, INT_MAX)),
    ("net.ipv4.tcp_keepalive_intvl", integers(1, 0, INT_MAX)),
    ("net.ipv4.tcp_keepalive_probes", integers(1, 0, 255)),
    ("net.ipv4.tcp_keepalive_time", integers(1, 0, INT_MAX)),
    ("net.ipv4.tcp_rmem", integers(3, 1, INT_MAX)),
    ("net.ipv4.tcp_syncookies", integers(1, 0, 255)),
    ("net.ipv4.tcp_wmem", integers(3, 1, INT_MAX)),
];

pub(super) fn check(spec: &At<'_>, context: &At<'_>, sink: &mut Sink<'_>) {
    let mut seen = Vec::new();
    for sysctl in context.get("sysctls").items() {
        let name = sysctl.get("name");
        if !sink.required("sysctl", &name) {
            continue;
        }
        if let Some(wrong) = names::sysctl(name.text()) {
            sink.named("sysctl", &name, Some(wrong));
            continue;
        }
        if seen.contains(&name.text()) {
            let message = format!("`{}` is set already", beginning(name.text()));
            sink.refused("sysctl", &name, message, "keep one of the two");
        }
        seen.push(name.text());
        let dotted = dotted(name.text());
        let shared = if dotted.starts_with("net.") {
            "hostNetwork"
        } else if is_of_ipc(&dotted) {
            "hostIPC"
        } else {
            ""
        };
        if !shared.is_empty() && spec.get(shared).is_true() {
            let message = format!("with `{shared}: true` this would be set for the whole host");
            sink.refused("sysctl", &name, message, "set it on the host (`/etc/sysctl.d`)");
        } else if let Some((_, wanted)) = SAFE.iter().find(|(safe, _)| *safe == dotted) {
            value(wanted, &sysctl.get("value"), sink);
        } else {
            let message = format!("the kubelet lets no pod set `{}`", beginning(name.text()));
            let remedy = "set it on the host, or allow it in the kubelet's `allowedUnsafeSysctls`";
            sink.add(Effect::NotAdmitted, "sysctl", &name, message, remedy);
        }
    }
}

/// The runtime makes no sandbox when the kernel does not take a value. Writing nothing changes nothing.
fn value(wanted: &Values, at: &At<'_>, sink: &mut Sink<'_>) {
    let text = at.text().trim();
    let (fits, wanted) = match wanted {
        Values::Integers { count, least, most } => {
            let numbers: Vec<Option<i64>> =
                text.split_whitespace().map(|number| number.parse().ok()).collect();
            let is_fine =
                |number: &Option<i64>| number.is_some_and(|n| (*least..=*most).contains(&n));
            // Fewer leave the others as they are.
            let fits = numbers.iter().take(*count).all(is_fine);
            let many = if *count == 1 { "an integer" } else { "integers" };
            (fits, format!("{many} from {least} to {most}"))
        }
        Values::Ports => {
            let is_port = |text: &str| text.trim().parse::<u16>().is_ok();
            let is_range = |text: &str| match text.split_once('-') {
                Some((first, last)) => is_port(first) && is_port(last),
                None => is_port(text),
            };
            (text.split(',').all(is_range), "ports and ranges of ports, joined by `,`".to_owned())
        }
    };
    if !text.is_empty() && !fits {
        let message = format!("`{}`, where the kernel wants {wanted}", beginning(text));
        sink.add(Effect::NeverStarts, "sysctl", at, message, "correct the value");
    }
}

/// A sysctl's name with dots, whichever separator it was written with.
fn dotted(name: &str) -> String {
    if name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'.') {
        return name.to_owned();
    }
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

fn is_of_ipc(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
        "kernel.shm",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.msg",
    ];
    NAMES.contains(&name) || name.starts_with("fs.mqueue.")
}
