//! The capabilities of Linux.
//!
//! The runtime puts `CAP_` before what is written and leaves out what it then does not know.

/// As in `capabilities(7)`, without `CAP_`.
const KNOWN: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// What to do about a name that the runtime would leave out; `None` when it knows it.
pub(super) fn remedy(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" || KNOWN.contains(&upper.as_str()) {
        return None;
    }
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    Some(match basalt_model::decode::closest(bare, KNOWN) {
        Some(known) => format!("write `{known}`"),
        None => "write one of `capabilities(7)`, without `CAP_`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["ALL", "all", "NET_ADMIN", "net_admin"] {
            assert_eq!(remedy(name), None, "{name}");
        }
        assert_eq!(remedy("CAP_NET_ADMIN").as_deref(), Some("write `NET_ADMIN`"));
        assert_eq!(remedy("NET_ADMN").as_deref(), Some("write `NET_ADMIN`"));
        assert!(remedy("FLY").is_some());
    }
}
