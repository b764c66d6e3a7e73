//! Compose projects of several files against compose's own loader: what they become is what the one file becomes that
//! the loader makes of them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use basalt_static_pods::import::{Fate, Reference, Source, Unread, import};
use e2e::peers::peer;
use serde_json::{Value, json};

/// Pieces of services that meet in the same fields. Each is put over each.
const PIECES: &[&str] = &[
    "command: [a, b]\nentrypoint: [x]\nhealthcheck: {test: [CMD, a], interval: 5s, retries: 2}",
    "command: c d\nentrypoint: ''\nhealthcheck: {test: b, timeout: 3s}",
    "environment: {A: 1, B: two, C: ''}\nlabels: {l: 1}\nannotations: {n: 1}",
    "environment: [B=other, D=4]\nlabels: [l=2, m=3]\nannotations: [n=2]",
    "environment: !override {E: 5}\nlabels: !reset null",
    "environment: !reset []\ncommand: !reset null",
    "ports: ['80:80', '443:443/tcp', '53:53/udp']",
    "ports: [{target: 80, published: '80'}, '9000-9001:9000-9001']",
    "ports: !override ['81:81']",
    "volumes: ['/a:/m:ro', 'named:/n', '/b:/o']\ntmpfs: /t",
    "volumes: ['/c:/m', {type: bind, source: /d, target: /n}]\ntmpfs: [/t, /u]",
    "volumes: !reset []\ndevices: ['/dev/a:/dev/x']",
    "devices: ['/dev/b:/dev/x', '/dev/c']\ncap_add: [NET_ADMIN, SYS_TIME]",
    "cap_add: [SYS_TIME, SYS_NICE]\ncap_drop: [ALL]",
    "cap_drop: [ALL, CHOWN]\nsecurity_opt: ['label=type:a']",
    "dns: 192.0.2.1\ndns_search: [a.example]\ndns_opt: ['ndots:1']\nextra_hosts: {h: 192.0.2.7}",
    "dns: [192.0.2.2, 192.0.2.1]\ndns_search: b.example\nextra_hosts: ['h=192.0.2.8', 'i=192.0.2.9']",
    "dns: !override 192.0.2.3\nsysctls: {kernel.shm_rmid_forced: 1}",
    "sysctls: [kernel.shm_rmid_forced=0]\nulimits: {nofile: 5, nproc: {soft: 1, hard: 2}}",
    "ulimits: {nofile: {soft: 1, hard: 2}, nproc: 7}\nrestart: always",
    "restart: 'no'\nuser: '5'\nworking_dir: /w\nread_only: true",
    "restart: on-failure\nuser: '6:7'\nstop_grace_period: 30s\nread_only: false",
    "deploy: {resources: {limits: {cpus: '0.5', memory: 64M}, reservations: {memory: 32M}}}",
    "deploy: {resources: {limits: {memory: 128M}}, restart_policy: {condition: any}}",
    "deploy: !override {resources: {reservations: {cpus: '0.25'}}}\ngroup_add: ['5']",
    "depends_on: [other]\nnetworks: [n]\nlogging: {driver: a, options: {k: v}}\ngroup_add: ['6']",
    "depends_on: {other: {condition: service_healthy}}\nnetworks: {n: {aliases: [a]}}\nlogging: {driver: b}",
    "env_file: a.env\nsecrets: [s]",
    "env_file: [b.env, {path: a.env}]\nsecrets: [{source: s, target: /etc/s}, {source: t, target: s}]",
    "env_file: !override [{path: absent.env, required: false}]\nimage: registry.lab.example/b:2",
    "configs: [c, {source: d, target: /etc/d, mode: 0440}]",
    "configs: [{source: c, target: /c, mode: 0444}, {source: e, target: e.conf}]",
    "network_mode: host\npid: host\nipc: host\ntty: true\nstdin_open: true\nprivileged: true",
];

/// What is true of every service, besides its piece.
const IMAGE: &str = "image: registry.lab.example/a:1";

const REST: &str = "volumes: {named: {}}
networks: {n: {}}
secrets: {s: {file: /s}, t: {file: /t}}
configs: {c: {content: 'a $$b ${V}'}, d: {file: ./b.env}, e: {content: z}}
";

/// Files of variables that pieces name.
const FILES: &[(&str, &str)] =
    &[("a.env", "X=1\nY=\"${X} $$2\"\n"), ("b.env", "X=2\nZ='$X' # c\n"), (".env", "V=5\n")];

/// How two pieces meet.
#[derive(Clone, Copy, Debug)]
enum Meeting {
    /// The later file is merged over the earlier one.
    Override,
    /// One service extends another one of the same file.
    Extends,
    /// One service extends another one of a file in another folder.
    ExtendsFile,
    /// One file includes another one, and has a service of the same name.
    Include,
}

/// The files of a project, the first ones of which are its own.
fn project(meeting: Meeting, base: &str, over: &str) -> (Vec<(&'static str, String)>, usize) {
    let service = |name: &str, fields: &[&str]| {
        let fields = fields.join("\n").replace('\n', "\n    ");
        format!("services:\n  {name}:\n    {fields}\n")
    };
    let other = "  other: {image: 'registry.lab.example/o:${V}'}\n";
    let base_file = service("web", &[IMAGE, base]) + other;
    match meeting {
        Meeting::Override => (
            vec![
                ("compose.yaml", base_file + REST),
                ("compose.override.yaml", service("web", &[over])),
            ],
            2,
        ),
        Meeting::Extends => {
            let extending = service("web", &["extends: base", over]);
            let base = service("base", &[IMAGE, base]).replace("services:\n", "");
            (vec![("compose.yaml", extending + &base + other + REST)], 1)
        }
        Meeting::ExtendsFile => {
            let extends = "extends: {file: part/base.yaml, service: base}";
            let extending = service("web", &[extends, over]);
            let base = service("base", &[IMAGE, base]);
            (vec![("compose.yaml", extending + other + REST), ("part/base.yaml", base)], 1)
        }
        Meeting::Include => {
            let including = "include: [part/base.yaml]\n".to_owned() + &service("web", &[over]);
            (vec![("compose.yaml", including), ("part/base.yaml", base_file + REST)], 1)
        }
    }
}

/// Pods by name, as lines without their order, which is that of the fields in a file; why they are none.
type Pods = Result<BTreeMap<String, Vec<String>>, Vec<String>>;

fn pods(folder: &Path, files: &[(&str, String)]) -> Pods {
    let names: Vec<String> =
        files.iter().map(|(name, _)| folder.join(name).display().to_string()).collect();
    let sources: Vec<Source<'_>> =
        names.iter().zip(files).map(|(name, (_, text))| Source { name, text }).collect();
    let mut read = |reference: Reference<'_>| {
        let path = Path::new(reference.from).parent().unwrap().join(reference.path);
        fs::read_to_string(path).map_err(Unread::from)
    };
    let imported = import(&sources, &mut read);
    let errors = imported.notes.iter().filter(|note| note.fate == Fate::Invalid);
    let errors: Vec<String> = errors.map(ToString::to_string).collect();
    let lines = |manifest: &str| {
        let mut lines: Vec<String> = manifest.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let pods = imported.pods.iter().map(|pod| {
        let files = pod.files.iter().map(|file| format!("{file:?}"));
        (pod.name.clone(), lines(&pod.manifest).into_iter().chain(files).collect())
    });
    let pods = pods.collect();
    if errors.is_empty() { Ok(pods) } else { Err(errors) }
}

fn difference(ours: &[String], theirs: &[String]) -> String {
    let only = |of: &[String], other: &[String]| {
        of.iter().filter(|line| !other.contains(line)).cloned().collect::<Vec<String>>().join("|")
    };
    format!("ours alone: {}\ncompose alone: {}", only(ours, theirs), only(theirs, ours))
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn projects_are_what_compose_makes_of_them() {
    let Some(compose) = peer("compose") else { return };
    let root = tempfile::tempdir().unwrap();
    let mut projects = Vec::new();
    let pairs: Vec<(&str, &str)> =
        PIECES.iter().flat_map(|base| PIECES.iter().map(|over| (*base, *over))).collect();
    // The others merge by the same code, and are about which file is which.
    for (meeting, step) in [
        (Meeting::Override, 1),
        (Meeting::Extends, 5),
        (Meeting::ExtendsFile, 3),
        (Meeting::Include, 3),
    ] {
        for (base, over) in pairs.iter().step_by(step) {
            let folder = root.path().join(projects.len().to_string());
            let (files, own) = project(meeting, base, over);
            let shared = ["", "part/"].map(|prefix| {
                FILES.iter().map(move |(name, text)| (format!("{prefix}{name}"), *text))
            });
            shared.into_iter().flatten().for_each(|(name, text)| write(&folder, &name, text));
            files.iter().for_each(|(name, text)| write(&folder, name, text));
            projects.push((meeting, folder, files, own));
        }
    }
    let mut process = Command::new(&compose.program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let requests: String = projects
        .iter()
        .map(|(_, folder, files, own)| {
            let names: Vec<&str> = files[..*own].iter().map(|(name, _)| *name).collect();
            json!({"folder": folder, "files": names}).to_string() + "\n"
        })
        .collect();
    let writer = std::thread::spawn(move || input.write_all(requests.as_bytes()));
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), projects.len());
    let (mut count, mut different) = (0, Vec::new());
    for ((meeting, folder, files, own), answer) in projects.iter().zip(&answers) {
        let of_ours = pods(folder, &files[..*own]);
        // Variables are put in already.
        let whole = answer["model"].to_string().replace('$', "$$");
        let of_compose = match answer["error"].as_str() {
            Some(error) => Err(vec![error.to_owned()]),
            None => pods(folder, &[("compose.yaml", whole)]),
        };
        count += usize::from(of_compose.is_ok());
        let is_same = match (&of_ours, &of_compose) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (ours, theirs) => ours.is_err() && theirs.is_err(),
        };
        if !is_same {
            let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
            different.push(format!("{meeting:?}\n{}\n{}", texts.join("---\n"), {
                match (of_ours, of_compose) {
                    (Ok(ours), Ok(theirs)) => difference(&ours["web"], &theirs["web"]),
                    (ours, theirs) => {
                        format!("ours: {:?}\ncompose: {:?}", ours.err(), theirs.err())
                    }
                }
            }));
        }
    }
    let shown: Vec<&str> =
        different.iter().step_by(different.len() / 8 + 1).map(String::as_str).collect();
    assert!(different.is_empty(), "{} differ, as\n{}", different.len(), shown.join("\n"));
    assert!(count > projects.len() / 2, "{count} of {} are projects at all", projects.len());
}
