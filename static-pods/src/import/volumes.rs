//! The volumes of a pod, one for each source.

use serde_json::{Value, json};

use super::draft::{Mount, MountSource};
use super::options::named_volume;
use super::secrets::file_name;
use crate::parts::config_directory;

/// The longest beginning of a volume's name, which leaves room for a number within the 63 characters of a label.
const MAX_STEM: usize = 50;

/// Volumes with their names, in the order they are first mounted.
pub(super) struct Volumes {
    all: Vec<(MountSource, String)>,
    /// Where the node has the files that go with the pod.
    folder: String,
}

impl Volumes {
    /// Those of the pod called `name`, none so far.
    pub(super) fn of(name: &str) -> Volumes {
        Volumes { all: Vec::new(), folder: config_directory(name) }
    }

    /// The mount as a container has it.
    pub(super) fn mount(&mut self, mount: &Mount) -> Value {
        let mut made = json!({"name": self.name(&mount.source), "mountPath": mount.target});
        if mount.read_only {
            made["readOnly"] = json!(true);
        }
        if let MountSource::Image(_, Some(part)) = &mount.source {
            made["subPath"] = json!(part);
        }
        if let Some(propagation) = mount.propagation {
            made["mountPropagation"] = json!(propagation);
        }
        made
    }

    fn name(&mut self, source: &MountSource) -> String {
        let source = match source {
            MountSource::Named(name) => named_volume(name),
            MountSource::Carried(name) => {
                MountSource::Host(format!("{}/{name}", self.folder), "File")
            }
            MountSource::Image(reference, _) => MountSource::Image(reference.clone(), None),
            source => source.clone(),
        };
        let is_shared = matches!(source, MountSource::Host(..) | MountSource::Image(..));
        if let Some((_, name)) = self.all.iter().find(|(known, _)| is_shared && *known == source) {
            return name.clone();
        }
        let stem = match &source {
            MountSource::Host(path, _) => {
                file_name(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
            }
            MountSource::Memory(_) => "memory".to_owned(),
            MountSource::Image(reference, _) => {
                let last = reference.rsplit('/').next().unwrap_or_default();
                file_name(last.split(['@', ':']).next().unwrap_or_default())
            }
            MountSource::Named(_) | MountSource::Carried(_) | MountSource::Anonymous => {
                "scratch".to_owned()
            }
        };
        let stem: String = stem.chars().take(MAX_STEM).collect();
        let stem = stem.trim_matches('-');
        let stem = if stem.is_empty() { "host" } else { stem };
        let is_taken = |name: &str| self.all.iter().any(|(_, known)| known == name);
        let mut name = stem.to_owned();
        let mut number = 2;
        while is_taken(&name) {
            name = format!("{stem}-{number}");
            number += 1;
        }
        self.all.push((source, name.clone()));
        name
    }

    /// The volumes as a pod has them.
    pub(super) fn into_json(self) -> Vec<Value> {
        let volume = |(source, name): (MountSource, String)| match source {
            MountSource::Host(path, "") => json!({"name": name, "hostPath": {"path": path}}),
            MountSource::Host(path, kind) => {
                json!({"name": name, "hostPath": {"path": path, "type": kind}})
            }
            MountSource::Memory(None) => json!({"name": name, "emptyDir": {"medium": "Memory"}}),
            MountSource::Memory(Some(size)) => {
                json!({"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}})
            }
            MountSource::Image(reference, _) => json!({
                "name": name,
                "image": {"reference": reference, "pullPolicy": "IfNotPresent"},
            }),
            MountSource::Named(_) | MountSource::Carried(_) | MountSource::Anonymous => {
                json!({"name": name, "emptyDir": {}})
            }
        };
        self.all.into_iter().map(volume).collect()
    }
}
