//! `systemd.quadlets`: files that Podman makes units of, in the folders where it looks for them.
//!
//! Rules: podman-systemd.unit(5).

use super::nodes::{FILES, LINKS, Nodes};
use super::trees::clean;
use crate::contents;
use crate::lower::{Context, sort};
use crate::resource::embed;
use crate::tree::{Origin, Tree, Value};
use crate::validate::quadlet;

const FOLDER: &str = "/etc/containers/systemd";

/// Where each user's Podman looks.
const USERS: &str = "/etc/containers/systemd/users";

/// Puts the files and links of all quadlets into `config`, behind what it has already.
pub(super) fn expand(written: &Tree, mut config: Tree, context: &mut Context) -> Tree {
    let Some(quadlets) = written.get("systemd").and_then(|systemd| systemd.get("quadlets")) else {
        return config;
    };
    if quadlets.list().is_empty() {
        return config;
    }
    let mut nodes = Nodes::of(&mut config, &quadlets.origin);
    for quadlet in quadlets.list() {
        // Without a name it has been reported.
        let Some(name) = quadlet.some_text("name") else { continue };
        let folder = if quadlet.flag("rootful") == Some(true) { FOLDER } else { USERS };
        let path = clean(&format!("{folder}/{name}"));
        match template(name) {
            Some(template) => link(quadlet, &path, &template, &mut nodes, context),
            None => {
                let text = file(quadlet, path.clone(), &mut nodes, context);
                // What drop-ins bring is not looked for.
                if let Some((origin, text)) = text.filter(|_| quadlet.items("dropins").is_empty())
                    && let Some(fault) = quadlet::incomplete(name, &text)
                {
                    context
                        .findings
                        .warning(&origin, fault)
                        .hint("Podman would make no unit of it");
                }
            }
        }
        for dropin in quadlet.items("dropins") {
            let name = dropin.text("name").unwrap_or_default();
            file(dropin, format!("{path}.d/{name}"), &mut nodes, context);
        }
    }
    config
}

/// The template of an instance: `web@.container` of `web@1.container`. Any other name has none.
pub(crate) fn template(name: &str) -> Option<String> {
    let (stem, _) = name.split_once('@')?;
    let dot = name.rfind('.')?;
    // Go's slices allow a full stop before the at sign; nobody means that.
    (stem.len() + 1 != dot).then(|| format!("{stem}@.{}", &name[dot + 1..]))
}

/// Adds a file, and gives its text and where that is written, when it has some.
fn file(
    written: &Tree,
    path: String,
    nodes: &mut Nodes,
    context: &mut Context,
) -> Option<(Origin, String)> {
    let origin = &written.origin;
    if nodes.place(&path).is_some() {
        report_taken(origin, &path, context);
        return None;
    }
    let mut found = None;
    let mut contents = Tree::map_at(origin, Vec::new());
    match (written.get("contents"), written.get("contents_local")) {
        (Some(inline), _) if inline.as_text() != Some("") => match inline.as_text() {
            Some(text) => {
                embed(inline, text.as_bytes(), &mut contents, context.target);
                found = Some((inline.origin.clone(), text.to_owned()));
            }
            None => contents.set("source", inline.clone()),
        },
        (_, Some(local)) if local.as_text() != Some("") => {
            let text =
                local.as_text().and_then(|path| contents::read(path, &local.origin, context));
            match text {
                Some(text) => {
                    embed(local, text.as_bytes(), &mut contents, context.target);
                    found = Some((local.origin.clone(), text)).filter(|(_, text)| !text.is_empty());
                }
                None => {
                    contents.set("source", Tree { origin: origin.clone(), value: Value::Broken });
                }
            }
        }
        _ => embed(&Tree::text_at(origin, ""), b"", &mut contents, context.target),
    }
    sort(&mut contents);
    let node = Tree::map_at(
        origin,
        vec![
            ("path", Tree::text_at(&written.place_of("name"), path)),
            ("contents", contents),
            ("mode", Tree::integer_at(origin, 0o644)),
        ],
    );
    nodes.add(FILES, node);
    found
}

fn link(quadlet: &Tree, path: &str, template: &str, nodes: &mut Nodes, context: &mut Context) {
    let origin = &quadlet.origin;
    if nodes.place(path).is_some() {
        report_taken(origin, path, context);
        return;
    }
    let node = Tree::map_at(
        origin,
        vec![
            ("path", Tree::text_at(&quadlet.place_of("name"), path)),
            ("target", Tree::text_at(origin, template)),
        ],
    );
    nodes.add(LINKS, node);
}

fn report_taken(origin: &Origin, path: &str, context: &mut Context) {
    context.findings.error(origin, format!("`{path}` is in the config already"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_instances() {
        for (name, expected) in [
            ("web@1.container", Some("web@.container")),
            ("web@a.b.container", Some("web@.container")),
            ("@1.pod", Some("@.pod")),
            ("web@.container", None),
            ("web.container", None),
        ] {
            assert_eq!(template(name).as_deref(), expected, "{name}");
        }
    }
}
