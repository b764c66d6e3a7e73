//! What is compiled to measure it: the same bytes on every machine.

use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};

const HEAD: &str = "variant: fcos\nversion: 1.4.0\n";

/// The files of the tree, and how long each is: 50 MB in all.
const FILES: usize = 2000;
const FILE_BYTES: usize = 25_000;

/// A config to compile.
pub(super) struct Input {
    /// For people.
    pub name: &'static str,
    pub config: Utf8PathBuf,
}

/// Writes all configs and their local files into `folder`, which is their files directory too.
pub(super) fn write(folder: &Utf8Path) -> Result<Vec<Input>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut big = Vec::new();
    for index in 0..FILES {
        let bytes = contents(index, &mut random);
        let below = folder.join(format!("tree/{:02}", index / 100));
        fs::create_dir_all(&below)?;
        fs::write(below.join(format!("{index:04}")), &bytes)?;
        big.extend(bytes);
    }
    fs::write(folder.join("big"), big)?;

    let big = "storage: {files: [{path: /opt/big, contents: {local: big}}]}\n".to_owned();
    let tree = "storage: {trees: [{local: tree, path: /opt/tree}]}\n".to_owned();
    let mut inputs = Vec::new();
    for (name, file, body) in [
        ("2 lines", "two.bu", String::new()),
        ("500 units", "units.bu", units()),
        ("2000 inline files of 800 bytes", "inline.bu", inline(&mut random)),
        ("a tree of 2000 files, 50 MB", "tree.bu", tree),
        ("one local file of 50 MB", "big.bu", big),
    ] {
        let config = folder.join(file);
        fs::write(&config, format!("{HEAD}{body}"))?;
        inputs.push(Input { name, config });
    }
    Ok(inputs)
}

/// Every fourth file is random, as what is compressed already; the others are text.
fn contents(index: usize, random: &mut Random) -> Vec<u8> {
    if index.is_multiple_of(4) {
        let words = std::iter::repeat_with(|| random.next().to_le_bytes());
        return words.take(FILE_BYTES / 8).flatten().collect();
    }
    text(FILE_BYTES, random).into_bytes()
}

fn units() -> String {
    let mut units = "systemd:\n  units:\n".to_owned();
    for number in 0..500 {
        let _ = write!(
            units,
            "  - name: job-{number}.service
    enabled: true
    contents: |
      [Unit]
      Description=Job {number}
      Wants=network-online.target
      After=network-online.target

      [Service]
      Type=oneshot
      ExecStart=/usr/local/bin/job --number {number}

      [Install]
      WantedBy=multi-user.target
"
        );
    }
    units
}

fn inline(random: &mut Random) -> String {
    let mut files = "storage:\n  files:\n".to_owned();
    for number in 0..2000 {
        let text = text(800, random).replace('\n', "\n        ");
        let _ = write!(
            files,
            "  - path: /etc/made/{number}.conf\n    contents:\n      inline: |\n        {}\n",
            text.trim_end()
        );
    }
    files
}

/// A configuration file: sections, comments, and settings with names that come back and values that mostly do not.
fn text(bytes: usize, random: &mut Random) -> String {
    let mut text = String::with_capacity(bytes + 100);
    while text.len() < bytes {
        let [name, other, value] = [(); 3].map(|()| WORDS[random.below(WORDS.len())]);
        let _ = match random.below(8) {
            0 => writeln!(text, "\n[{name}-{other}]"),
            1 => writeln!(text, "# The {name} of the {other}, as the {value} wants it."),
            2 => writeln!(text, "{name}.{other} = \"{value} {}\"", random.below(1_000_000)),
            3 => writeln!(text, "{name}_{other}=/var/lib/{value}/{:x}", random.below(1 << 24)),
            4 => writeln!(text, "listen {name}.example.com:{}", random.below(65536)),
            5 => writeln!(text, "{name} {other} {value}"),
            _ => writeln!(text, "{name}-{other}: {value}-{}", random.below(1000)),
        };
    }
    text.truncate(bytes);
    text
}

const WORDS: [&str; 64] = [
    "access", "address", "agent", "audit", "backend", "backup", "balance", "bridge", "buffer",
    "cache", "cluster", "codec", "config", "console", "control", "daemon", "default", "device",
    "domain", "enable", "entry", "error", "event", "export", "filter", "format", "frontend",
    "gateway", "group", "handler", "header", "health", "interval", "journal", "kernel", "layer",
    "limit", "local", "logger", "master", "memory", "metrics", "module", "monitor", "network",
    "number", "option", "packet", "policy", "prefix", "probe", "process", "profile", "queue",
    "record", "remote", "request", "schedule", "secret", "server", "session", "socket", "timeout",
    "worker",
];

/// Marsaglia's xorshift: good enough for what is to look random, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        // The upper bits are the better ones.
        (self.next() >> 33) as usize % limit
    }
}

/// The lab with as many workers beside its own nodes that there are `count` in all.
pub(super) fn cluster(lab: &str, count: usize) -> Result<String> {
    const ROLES: &str = "  controller: {}\n";
    const BEHIND_NODES: &str = "\napi:\n";
    let (head, rest) = lab.split_once(ROLES).context("the lab's roles are elsewhere")?;
    let (own, tail) = rest.split_once(BEHIND_NODES).context("the lab's nodes are elsewhere")?;
    let own_count = own.matches("  - name: n").count();
    let workers: String = (own_count..count).map(worker).collect();
    Ok(format!("{head}{ROLES}  worker: {{}}\n{own}\n{workers}{BEHIND_NODES}{tail}"))
}

/// One of three kinds of machines: a card, two cards as one, and those with a VLAN on top.
fn worker(index: usize) -> String {
    let (network, host) = (10 + index / 200, 1 + index % 200);
    let mac = |card: usize| format!("52:54:01:{card:02x}:{:02x}:{:02x}", index / 256, index % 256);
    let addresses = format!(
        "        addresses: [10.{network}.2.{host}/16, \"2001:db8:{network:x}::{host:x}/64\"]
        gateways: [10.{network}.0.1, \"2001:db8:{network:x}::ffff\"]
"
    );
    let mut worker = format!(
        "  - name: w{index}
    role: worker
    install_disk: /dev/disk/by-id/virtio-w{index}
    interfaces:
      - name: eth0
        mac: \"{}\"
",
        mac(0)
    );
    if index.is_multiple_of(3) {
        return worker + &addresses;
    }
    let _ = write!(
        worker,
        "      - name: eth1
        mac: \"{}\"
      - name: bond0
        bond:
          mode: active-backup
          ports: [eth0, eth1]
{addresses}",
        mac(1)
    );
    if index % 3 == 2 {
        let _ = write!(
            worker,
            "      - name: bond0.100
        vlan:
          id: 100
          parent: bond0
        addresses: [198.18.{}.{}/16]
",
            index / 250,
            1 + index % 250
        );
    }
    worker
}

#[cfg(test)]
mod tests {
    use basalt_butane::{Options, Output, Warnings, compile};

    use super::*;

    #[test]
    fn configs_compile() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        for input in write(folder).unwrap() {
            // What is large is left to the measurement: builds for tests are slow.
            if ["tree.bu", "big.bu"].contains(&input.config.file_name().unwrap()) {
                continue;
            }
            let options = Options {
                files_dir: Some(folder),
                warnings: Warnings::Refused,
                output: Output::Variant,
            };
            let bytes = fs::read(&input.config).unwrap();
            let (compiled, report) = compile(input.name, &bytes, &options);
            assert!(compiled.is_some(), "{}: {report}", input.name);
        }
    }

    #[test]
    fn large_clusters_are_clusters() {
        let lab = include_str!("../../../tests/clusters/lab/cluster.yaml");
        let text = cluster(lab, 700).unwrap();
        let (cluster, report) =
            basalt_model::cluster::Cluster::parse("cluster.yaml", text.as_bytes()).unwrap();
        assert!(report.is_empty(), "{report}");
        assert_eq!(cluster.nodes.len(), 700);
    }
}
