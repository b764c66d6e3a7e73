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

/// What Podman does not make a unit without: suffix, section, the options of which one is needed, and how it is said.
const NEEDED: [(&str, &str, &[&str], &str); 4] = [
    (
        "container",
        "Container",
        &["Image", "Rootfs"],
        "a container needs `Image=` or `Rootfs=` in `[Container]`",
    ),
    ("kube", "Kube", &["Yaml"], "what Kubernetes would run needs `Yaml=` in `[Kube]`"),
    ("image", "Image", &["Image"], "an image needs `Image=` in `[Image]`"),
    ("build", "Build", &["ImageTag"], "a build needs `ImageTag=` in `[Build]`"),
];

/// What is missing in the text of a quadlet that is called `name`.
pub(crate) fn incomplete(name: &str, text: &str) -> Option<&'static str> {
    let (_, suffix) = name.rsplit_once('.')?;
    let (_, section, options, fault) = NEEDED.iter().find(|(of, ..)| *of == suffix)?;
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            is_inside = header.strip_suffix(']') == Some(section);
        } else if is_inside
            && let Some((option, value)) = line.split_once('=')
            && options.contains(&option.trim_end())
            && !value.trim().is_empty()
        {
            return None;
        }
    }
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::incomplete;

    #[test]
    fn what_podman_needs() {
        for (name, text, is_complete) in [
            ("a.container", "[Unit]\n[Container]\nImage=quay.io/a:1\n", true),
            ("a.container", "[Container]\n Rootfs = /var/a\n", true),
            ("a.container", "[Container]\nImage=\n", false),
            ("a.container", "[Unit]\nImage=a\n[Container]\n#Image=b\n", false),
            ("a@.container", "[Container]\nExec=b", false),
            ("a.kube", "[Kube]\nYaml=a.yaml", true),
            ("a.kube", "[Kube]\nConfigMap=a.yaml", false),
            ("a.image", "[Image]\nImage=a", true),
            ("a.build", "[Build]\nFile=a", false),
            // All of these may be empty.
            ("a.volume", "", true),
            ("a.network", "[Network]", true),
            ("a.pod", "[Pod]", true),
        ] {
            assert_eq!(incomplete(name, text).is_none(), is_complete, "{name}: {text:?}");
        }
    }
}
