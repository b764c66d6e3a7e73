//! The kubelet's own code, asked for its verdict on manifest folders.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use e2e::peers::{Peer, peer};
use serde::{Deserialize, Serialize};

/// A manifest folder: names and contents, in the kubelet's order.
pub(crate) type Folder = Vec<(String, Vec<u8>)>;

/// What the kubelet makes of a file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Verdict {
    /// Why it refuses the file; empty when it does not.
    pub refused: String,
    /// What it passes over: unknown fields and repeated keys.
    pub dropped: Vec<String>,
    /// Why it refuses the pod at admission; empty when it does not.
    pub not_admitted: String,
}

#[derive(Serialize)]
struct File<'t> {
    name: &'t str,
    bytes: String,
}

pub(crate) struct Kubelet(Peer);

impl Kubelet {
    pub(crate) fn find() -> Option<Kubelet> {
        peer("kubelet-file").map(Kubelet)
    }

    /// The verdict on each file of each folder.
    pub(crate) fn look(&self, folders: &[Folder]) -> Vec<Vec<Verdict>> {
        let mut process = Command::new(&self.0.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = process.stdin.take().unwrap();
        let mut requests = String::new();
        for folder in folders {
            let files: Vec<File<'_>> = folder
                .iter()
                .map(|(name, bytes)| File { name, bytes: BASE64_STANDARD.encode(bytes) })
                .collect();
            requests += &serde_json::to_string(&files).unwrap();
            requests.push('\n');
        }
        // Answers come while requests are still written.
        let writer = thread::spawn(move || input.write_all(requests.as_bytes()));
        let output = process.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
        let answers: Vec<Vec<Verdict>> =
            lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), folders.len());
        answers
    }
}
