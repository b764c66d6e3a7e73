//! What the cluster.yaml has to say about imported pods.

use basalt_model::yaml::print::print;
use serde_json::{Map, Value, json};

use super::ImportedPod;
use super::draft::Secret;
use super::secrets::SECRETS;

/// What stands where a person has to write a path in Vault.
const FILL_IN: &str = "FILL-IN";

/// The keys of a cluster.yaml that name the pods, and the templates of the secrets that they need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snippet {
    /// Sorted by name.
    pods: Vec<Pod>,
    /// Names of the secrets' files, sorted.
    secrets: Vec<String>,
}

/// A pod, and its files with their modes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pod {
    name: String,
    files: Vec<(String, u32)>,
}

impl Snippet {
    pub(super) fn add(&mut self, pod: &ImportedPod, secrets: Vec<Secret>) {
        let files = pod.files.iter().map(|file| (file.name.clone(), file.mode)).collect();
        self.pods.push(Pod { name: pod.name.clone(), files });
        self.secrets.extend(secrets.into_iter().map(|secret| secret.file));
        self.pods.sort();
        self.secrets.sort();
        self.secrets.dedup();
    }

    /// The files that vault-agent has to write, by name below [`SECRETS`].
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The snippet as YAML text with a final newline; each manifest is `FOLDER/NAME.yaml`, each
    /// file of a pod `FOLDER/NAME/FILE`. Without `roles` they are left
    /// for a person to fill in.
    pub fn to_yaml(&self, folder: &str, roles: &[String]) -> String {
        let pod = |Pod { name, files }: &Pod| {
            let file = |(file, mode): &(String, u32)| {
                json!({
                    "name": file,
                    "source": format!("{folder}/{name}/{file}"),
                    "mode": format!("{mode:04o}"),
                })
            };
            let mut pod = Map::new();
            pod.insert("name".to_owned(), json!(name));
            pod.insert("manifest".to_owned(), json!(format!("{folder}/{name}.yaml")));
            pod.insert("roles".to_owned(), json!(roles));
            if !files.is_empty() {
                pod.insert("files".to_owned(), files.iter().map(file).collect());
            }
            Value::Object(pod)
        };
        let mut text = String::new();
        if roles.is_empty() {
            text.push_str("# Write the roles of the nodes that run each pod.\n");
        }
        text.push_str(&print(&json!({"pods": self.pods.iter().map(pod).collect::<Vec<_>>()})));
        if self.secrets.is_empty() {
            return text;
        }
        text.push_str("\n# Add these to the templates of the cluster.yaml, and write the path of each secret in Vault.\n");
        let template = |file: &String| {
            let contents = format!(
                "{{{{ with secret \"kv/data/{FILL_IN}/{file}\" -}}}}\n{{{{ .Data.data.value }}}}\n{{{{- end }}}}\n"
            );
            json!({"name": file, "destination": format!("{SECRETS}/{file}"), "contents": contents})
        };
        let templates: Vec<Value> = self.secrets.iter().map(template).collect();
        text.push_str(&print(&json!({"vault_agent": {"templates": templates}})));
        text
    }
}
