//! The reference compiler, asked about many configs in one process.

use std::process::Command;

use camino::Utf8Path;
use e2e::command::ask;
use e2e::peers::{Peer, peer};
use serde::{Deserialize, Serialize};

/// The reference compiler.
pub(crate) struct Reference(Peer);

/// What the compiler is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// What the variant gives: a MachineConfig for openshift.
    Variant,
    /// An Ignition config (`--raw`).
    Ignition,
}

/// What the reference made of a config.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answer {
    /// Absent when the config was refused.
    pub output: Option<String>,
    pub entries: Vec<Entry>,
    /// Why it was refused, in one line: it names the stage that failed.
    pub error: String,
}

/// A finding of the reference; line and column are 0 where it has no place.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub kind: String,
    pub path: String,
    pub line: u32,
    pub column: u32,
    pub message: String,
}

/// A version of a variant.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Specification {
    pub variant: String,
    pub version: String,
    pub fields: Vec<Field>,
}

/// A field of a [`Specification`], as the reference's types have it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Field {
    pub name: String,
    pub kind: Kind,
    /// Those of the mapping, or of the list's items.
    #[serde(default)]
    pub fields: Vec<Field>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Text,
    Integer,
    Flag,
    Map,
    Maps,
    Texts,
    TextsByName,
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    butane: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignition: Option<&'a str>,
    files_dir: &'a str,
    raw: bool,
}

impl Reference {
    /// The reference; nothing when it is missing, which has been said then.
    pub(crate) fn find() -> Option<Reference> {
        peer("butane-batch").map(Reference)
    }

    /// Compiles each config.
    pub(crate) fn compile(
        &self,
        configs: &[(String, Wanted)],
        files_dir: &Utf8Path,
    ) -> Vec<Answer> {
        self.ask(configs.iter().map(|(config, wanted)| Request {
            butane: Some(config),
            ignition: None,
            files_dir: files_dir.as_str(),
            raw: *wanted == Wanted::Ignition,
        }))
    }

    /// Validates each Ignition config.
    pub(crate) fn validate(&self, configs: &[String]) -> Vec<Answer> {
        self.ask(configs.iter().map(|config| Request {
            butane: None,
            ignition: Some(config),
            files_dir: "",
            raw: false,
        }))
    }

    /// What each version of each variant may say.
    pub(crate) fn specifications(&self) -> Vec<Specification> {
        let output = Command::new(&self.0.program).arg("fields").output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn ask<'a>(&self, requests: impl Iterator<Item = Request<'a>>) -> Vec<Answer> {
        ask(&self.0.program, requests).unwrap()
    }
}
