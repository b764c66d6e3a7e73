//! Quadlets: what Podman makes units of.

use super::{Check, unit};
use crate::sugar::quadlets::template;
use crate::tree::Tree;

/// What Podman knows, by the suffix of the file (podman-systemd.unit(5)).
const SUFFIXES: [&str; 8] =
    ["container", "volume", "network", "kube", "image", "build", "pod", "artifact"];

/// Butane: the name is one, and an instance has no contents of its own.
pub(crate) fn quadlet(quadlet: &Tree, check: &mut Check) {
    let name = match quadlet.get("name") {
        None => "",
        Some(name) => match name.as_text() {
            Some(name) => name,
            None => return,
        },
    };
    if !name.rsplit_once('.').is_some_and(|(_, suffix)| SUFFIXES.contains(&suffix)) {
        let message = match name {
            "" => "`name` is missing".to_owned(),
            name => format!("`{name}` does not end like a quadlet"),
        };
        check
            .error(&quadlet.place_of("name"), message)
            .hint(format!("there are {}", basalt_model::decode::list(&SUFFIXES)));
        return;
    }
    let Some(template) = template(name) else {
        unit::one_source(quadlet, check);
        return;
    };
    for field in ["contents", "contents_local"] {
        if let Some(contents) = quadlet.get(field) {
            check
                .error(&contents.origin, format!("an instance has the contents of `{template}`"))
                .hint(format!("move them there, or leave `{field}` away"));
        }
    }
}
