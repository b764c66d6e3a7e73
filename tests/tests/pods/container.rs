//! Stands in for the container runtime: gives a pod its files and runs its command as its manifest says.
//!
//! The pod's absolute paths are rewritten to lie below a temporary folder, in the command, the probes and the config
//! files alike; nothing else is changed. As root the command runs with the manifest's user, with its capabilities
//! and no others, and without the right to gain any (setpriv); otherwise as whoever runs the tests.

use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use basalt_static_pods::StaticPod;
use libyaml_safer::{EventData, Parser, ScalarStyle};
use serde_json::Value;

use e2e::needs::is_root;

/// Where the pods' paths begin.
const ROOTS: [&str; 3] = ["/etc/basalt", "/var/lib/", "/run/"];

/// A pod with its files in place.
pub(crate) struct Container {
    root: PathBuf,
    spec: Value,
}

impl Container {
    /// Writes the pod's files below `root`, which takes the place of `/`, and makes its writable folders.
    pub(crate) fn new(pod: &StaticPod, root: &Path) -> Self {
        let container = Self {
            root: root.to_owned(),
            spec: read_yaml(&pod.manifest)["spec"]["containers"][0].clone(),
        };
        for file in &pod.files {
            let path = container.inside(file.path.as_str());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, container.rewritten(&file.contents)).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode)).unwrap();
        }
        for mount in container.spec["volumeMounts"].as_array().unwrap() {
            let (path, is_scratch) =
                (mount["mountPath"].as_str().unwrap(), mount["readOnly"] == false);
            if path != "/tmp" {
                let path = container.inside(path);
                std::fs::create_dir_all(&path).unwrap();
                let mode = if is_scratch { 0o777 } else { 0o755 };
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        container
    }

    /// Where a path of the pod lies here.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn rewritten(&self, text: &str) -> String {
        ROOTS.iter().fold(text.to_owned(), |text, root| {
            text.replace(root, &self.inside(root).display().to_string())
        })
    }

    fn words(&self, words: &Value) -> Vec<String> {
        words
            .as_array()
            .unwrap()
            .iter()
            .map(|word| self.rewritten(word.as_str().unwrap()))
            .collect()
    }

    /// The container's command, with `program` for the one it names.
    pub(crate) fn command(&self, program: &Path) -> Vec<String> {
        let mut command = self.words(&self.spec["command"]);
        if command[0] != "/bin/sh" {
            command[0] = program.display().to_string();
        }
        if !is_root() {
            return command;
        }
        let context = &self.spec["securityContext"];
        let added = context["capabilities"]["add"].as_array().cloned().unwrap_or_default();
        let capabilities: String = added
            .iter()
            .map(|name| format!(",+{}", name.as_str().unwrap().to_lowercase()))
            .collect();
        let mut whole: Vec<String> = [
            "setpriv".to_owned(),
            format!("--reuid={}", context["runAsUser"]),
            format!("--regid={}", context["runAsGroup"]),
            "--clear-groups".to_owned(),
            "--inh-caps=-all".to_owned(),
            format!("--bounding-set=-all{capabilities}"),
            "--no-new-privs".to_owned(),
        ]
        .into();
        whole.extend(command);
        whole
    }

    /// The command of an exec probe.
    pub(crate) fn probe(&self, name: &str) -> Vec<String> {
        self.words(&self.spec[name]["exec"]["command"])
    }
}

/// A program that runs until it is dropped, and what it has said.
pub(crate) struct Running {
    pub(crate) child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    pub(crate) fn start(command: &[String]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(std::process::Stdio::null())
            .stdout(writer.try_clone().unwrap())
            .stderr(writer)
            .process_group(0)
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let log = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(reader).lines().map_while(Result::ok) {
                let mut log = log.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, said }
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Asks it to end, as the kubelet does, and gives its exit status.
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // With the processes that a shell has started, as the end of a container would.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).output();
        let _ = self.child.wait();
    }
}

/// Reads a manifest as a tree: plain scalars by JSON's rules, everything else is a string.
fn read_yaml(text: &str) -> Value {
    let mut bytes = text.as_bytes();
    let mut parser = Parser::new();
    parser.set_input_string(&mut bytes);
    let mut next = move || {
        loop {
            match parser.parse().unwrap().data {
                EventData::StreamStart { .. } | EventData::DocumentStart { .. } => {}
                data => return data,
            }
        }
    };
    let first = next();
    read_node(first, &mut next)
}

fn read_node(event: EventData, next: &mut impl FnMut() -> EventData) -> Value {
    match event {
        EventData::Scalar { value, style: ScalarStyle::Plain, .. } => {
            serde_json::from_str(&value).unwrap_or(Value::String(value))
        }
        EventData::Scalar { value, .. } => Value::String(value),
        EventData::SequenceStart { .. } => {
            let mut items = Vec::new();
            loop {
                match next() {
                    EventData::SequenceEnd => return Value::Array(items),
                    event => items.push(read_node(event, next)),
                }
            }
        }
        EventData::MappingStart { .. } => {
            let mut entries = serde_json::Map::new();
            loop {
                let key = match next() {
                    EventData::MappingEnd => return Value::Object(entries),
                    EventData::Scalar { value, .. } => value,
                    event => panic!("{event:?} is no key"),
                };
                let event = next();
                entries.insert(key, read_node(event, next));
            }
        }
        event => panic!("{event:?} is not part of a manifest"),
    }
}
