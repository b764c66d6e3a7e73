//! A node's first boot, without a virtual machine: real Ignition on a root tree, then real systemd over it.

// clippy.toml allows it in tests; the helpers beside them are as much test.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use e2e::ignition::provision;
use e2e::namespaces::Machine;
use e2e::peers::peer;
use e2e::tree::Tree;

/// Everything in a second on a quiet machine.
const LIMIT: Duration = Duration::from_secs(30);

/// One of each thing that node configs are made of. `keeper.service` is enabled by Ignition's preset only.
const CONFIG: &str = r#"{
  "ignition": {"version": "3.3.0"},
  "passwd": {
    "groups": [{"name": "basalt", "system": true}],
    "users": [
      {"name": "core", "sshAuthorizedKeys": ["ssh-ed25519 AAAAC3Nza lab"]},
      {"name": "keeper", "system": true, "primaryGroup": "basalt", "shell": "/usr/sbin/nologin"}
    ]
  },
  "storage": {
    "directories": [{"path": "/etc/keeper/inner", "mode": 448, "user": {"name": "keeper"}}],
    "files": [
      {"path": "/etc/hostname", "overwrite": true, "mode": 420, "contents": {"source": "data:,n1%0A"}},
      {"path": "/etc/keeper/settings", "mode": 416, "group": {"name": "basalt"}, "contents": {"source": "data:;base64,aGVsbG8K"}}
    ],
    "links": [{"path": "/etc/keeper/link", "target": "/etc/keeper/settings"}]
  },
  "systemd": {"units": [
    {
      "name": "keeper.service",
      "enabled": true,
      "contents": "[Unit]\nDescription=Keeps running\n\n[Service]\nType=exec\nUser=keeper\nProtectSystem=strict\nPrivateTmp=true\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=100ms\n\n[Install]\nWantedBy=multi-user.target\n",
      "dropins": [{"name": "10-group.conf", "contents": "[Service]\nGroup=basalt\n"}]
    },
    {"name": "e2scrub_all.timer", "mask": true}
  ]}
}"#;

const IGNITIONS: [&str; 2] = ["ignition-2.14", "ignition-2.24"];

#[test]
fn the_bare_tree_boots_without_a_failed_unit() {
    let Some(tree) = Tree::debian() else { return };
    let machine = Machine::boot(tree).unwrap();
    assert_eq!(machine.failed_units().unwrap(), [] as [&str; 0]);
    assert_eq!(machine.output(&["systemctl", "is-system-running"]).unwrap(), "running");
    assert_eq!(machine.output(&["ps", "-p", "1", "-o", "comm="]).unwrap(), "systemd");
    let console = machine.console();
    assert!(console.contains("Reached target"), "the console is kept:\n{console}");
}

#[test]
fn a_machine_is_kept_apart_from_its_host() {
    let Some(tree) = Tree::debian() else { return };
    let marker = tree.beside().display().to_string();
    let machine = Machine::boot(tree).unwrap();
    let change = machine.run(&["sh", "-c", "echo 1 >/proc/sys/kernel/sysrq"]).unwrap();
    assert!(!change.status.success(), "the host's kernel can be set up");
    let mounts = machine.output(&["cat", "/proc/self/mountinfo"]).unwrap();
    assert!(!mounts.contains(&format!("{marker} ")), "the host's mounts are in sight:\n{mounts}");
    let links: serde_json::Value =
        serde_json::from_str(&machine.output(&["ip", "-json", "link"]).unwrap()).unwrap();
    let names: Vec<_> = links.as_array().unwrap().iter().map(|link| &link["ifname"]).collect();
    assert_eq!(names, ["lo"]);
    // Its own network's settings are its own.
    machine.output(&["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]).unwrap();
}

#[test]
fn ignition_writes_what_the_config_says() {
    for name in IGNITIONS {
        let Some(ignition) = peer(name) else { continue };
        let Some(tree) = Tree::debian() else { return };
        let done = provision(&ignition, &tree, CONFIG).unwrap();
        assert!(done.log.contains("files passed"), "{}", done.log);
        assert_eq!(done.result["userConfigProvided"], true, "{name}: {}", done.result);

        assert_eq!(tree.read("/etc/hostname").unwrap(), "n1\n");
        assert_eq!(tree.read("/etc/keeper/link").unwrap(), "hello\n");
        let users = tree.read("/etc/passwd").unwrap();
        let id = |name: &str, column: usize| -> u32 {
            let line = users.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
            line.split(':').nth(column).unwrap().parse().unwrap()
        };
        let settings = tree.path("/etc/keeper/settings").metadata().unwrap();
        assert_eq!(settings.permissions().mode() & 0o7777, 0o640);
        assert_eq!((settings.uid(), settings.gid()), (0, id("keeper", 3)));
        let inner = tree.path("/etc/keeper/inner").metadata().unwrap();
        assert_eq!(inner.permissions().mode() & 0o7777, 0o700);
        assert_eq!(inner.uid(), id("keeper", 2));

        let keys = tree.read("/home/core/.ssh/authorized_keys.d/ignition").unwrap();
        assert_eq!(keys.trim_end(), "ssh-ed25519 AAAAC3Nza lab");
        let groups = tree.read("/etc/group").unwrap();
        assert!(groups.lines().any(|l| l.starts_with("wheel:") && l.ends_with("core")), "{groups}");
        let presets = tree.read("/etc/systemd/system-preset/20-ignition.preset").unwrap();
        assert_eq!(presets, "enable keeper.service\n");
        let mask = tree.path("/etc/systemd/system/e2scrub_all.timer").read_link().unwrap();
        assert_eq!(mask.to_str(), Some("/dev/null"));
    }
}

#[test]
fn what_ignition_refuses_comes_back_as_its_log() {
    for name in IGNITIONS {
        let Some(ignition) = peer(name) else { continue };
        let Some(tree) = Tree::debian() else { return };
        let refused = provision(&ignition, &tree, r#"{"ignition": {"version": "9.0.0"}}"#);
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("unsupported config version"), "{name}: {text}");
        let away = r#"{"ignition": {"version": "3.3.0", "config": {"merge": [{"source": "http://away.example/"}]}}}"#;
        let text = provision(&ignition, &tree, away).unwrap_err().to_string();
        assert!(text.contains("this config needs the network"), "{name}: {text}");
        assert!(!tree.path("/etc/.ignition-result.json").exists(), "{name}: written to");
    }
}

#[test]
fn a_provisioned_node_boots_and_keeps_its_services_running() {
    for name in IGNITIONS {
        let Some(ignition) = peer(name) else { continue };
        let Some(tree) = Tree::debian() else { return };
        provision(&ignition, &tree, CONFIG).unwrap();
        let machine = Machine::boot(tree).unwrap();
        assert_eq!(machine.failed_units().unwrap(), [] as [&str; 0]);
        assert_eq!(machine.output(&["systemctl", "is-system-running"]).unwrap(), "running");
        assert_eq!(machine.output(&["uname", "-n"]).unwrap(), "n1");
        machine.wait_for_unit("keeper.service", "active", LIMIT).unwrap();
        assert_eq!(
            machine.output(&["systemctl", "is-enabled", "keeper.service"]).unwrap(),
            "enabled"
        );
        let pid = machine.main_pid("keeper.service").unwrap().unwrap().to_string();
        let owner = machine.output(&["ps", "-p", &pid, "-o", "user=,group=,comm="]).unwrap();
        assert_eq!(owner.split_whitespace().collect::<Vec<_>>(), ["keeper", "basalt", "sleep"]);

        let killed = machine.kill_main("keeper.service").unwrap();
        let next = machine.wait_for_restart("keeper.service", killed, LIMIT).unwrap();
        assert_ne!(next, killed);
        assert_eq!(machine.property("keeper.service", "NRestarts").unwrap(), "1");

        // The first boot is over: presets are not applied again, and the machine stays who it is.
        let id = machine.output(&["cat", "/etc/machine-id"]).unwrap();
        assert_eq!(id.len(), 32, "{id}");
        machine.output(&["systemctl", "disable", "keeper.service"]).unwrap();
        let tree = machine.poweroff().unwrap();
        let machine = Machine::boot(tree).unwrap();
        assert_eq!(machine.output(&["cat", "/etc/machine-id"]).unwrap(), id);
        assert_eq!(machine.property("keeper.service", "ActiveState").unwrap(), "inactive");
    }
}
