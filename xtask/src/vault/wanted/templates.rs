//! The secrets that templates name: a node may read those and no others.

use std::collections::BTreeSet;

use crate::template_calls::{JINJA, VAULT_AGENT, calls};

/// What was found in templates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Secrets {
    /// Mounts of the KV engine's second version.
    pub(super) kv_mounts: BTreeSet<String>,
    /// Paths of the API.
    pub(super) paths: BTreeSet<String>,
    /// Calls whose path is not written out, as they stand in the template.
    pub(super) unclear: BTreeSet<String>,
}

impl Secrets {
    /// Finds `kv("MOUNT", "PATH")` and `read("PATH")` in the tags of a Jinja template.
    pub(super) fn find_in_jinja(&mut self, template: &str) {
        for call in calls(template, JINJA, &["kv", "read"]) {
            let literals = call.arguments();
            match (call.name, literals.as_deref()) {
                ("kv", Some([mount, path])) if is_plain(mount) && is_plain(path) => {
                    let mount = mount.trim_matches('/');
                    self.paths.insert(format!("{mount}/data/{}", path.trim_matches('/')));
                    self.kv_mounts.insert(mount.to_owned());
                }
                ("read", Some([path])) if is_plain(path) => {
                    self.paths.insert(path.trim_matches('/').to_owned());
                }
                (_, None) => {}
                _ => drop(self.unclear.insert(call.tag.trim().to_owned())),
            }
        }
    }

    /// Finds `secret "PATH"` in a template of vault-agent.
    pub(super) fn find_in_vault_agent(&mut self, template: &str) {
        for call in calls(template, VAULT_AGENT, &["secret"]) {
            match call.first_literal() {
                Some(path) if is_plain(path) => {
                    self.paths.insert(path.trim_matches('/').to_owned());
                }
                _ => drop(self.unclear.insert(call.tag.trim().to_owned())),
            }
        }
    }
}

/// A path that means itself in a policy, where `*`, `+`, `{{` and quotes mean more.
fn is_plain(path: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "._-/@:=".contains(c);
    !path.trim_matches('/').is_empty() && path.chars().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, paths: &[&str], mounts: &[&str], unclear: usize) {
        let mut found = Secrets::default();
        found.find_in_jinja(template);
        assert_eq!(found.paths.iter().map(String::as_str).collect::<Vec<_>>(), paths);
        assert_eq!(found.kv_mounts.iter().map(String::as_str).collect::<Vec<_>>(), mounts);
        assert_eq!(found.unclear.len(), unclear, "{:?}", found.unclear);
    }

    #[test]
    fn jinja() {
        check("{{ kv(\"secret\", \"lab/db\").password }}", &["secret/data/lab/db"], &["secret"], 0);
        check("{%- set a = kv( 'a/b' , 'c' ) -%}{{a.x}}", &["a/b/data/c"], &["a/b"], 0);
        check("{{ read(\"db/creds/x\").user }} {{ read('y') }}", &["db/creds/x", "y"], &[], 0);
        check("read(\"a\") {{ x.read(\"b\") }} {{ thread(\"c\") }} {# kv('d','e') #}", &[], &[], 0);
        check("{{ kv(\"secret\", name) }}", &[], &[], 1);
        check("{{ kv(\"secret\", \"a/\" ~ b) }}", &[], &[], 1);
        check("{{ read(\"secret/*\") }}", &[], &[], 1);
        check("{{ read(\"unfinished", &[], &[], 0);
        check("{{ read", &[], &[], 0);
    }

    #[test]
    fn vault_agent() {
        let mut found = Secrets::default();
        found.find_in_vault_agent(
            "{{ with secret \"kv/data/lab/registry\" -}}{{ .Data.data.auth }}{{- end }}{{ with secret (printf \"x\") }}",
        );
        assert_eq!(found.paths.iter().collect::<Vec<_>>(), ["kv/data/lab/registry"]);
        assert_eq!(found.unclear.len(), 1);
        assert!(found.kv_mounts.is_empty());
    }
}
