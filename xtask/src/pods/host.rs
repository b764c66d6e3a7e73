//! What a root folder has of what manifests ask for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use basalt_static_pods::lint::policy::HostPath;
use basalt_static_pods::lint::{Asked, Host};

/// How many links are followed, as in Linux.
const MAX_LINKS: usize = 40;

/// Looks for what is asked. `None` when nothing is known of the host.
pub(super) fn look(root: Option<&Path>, images: &[String], asked: &Asked) -> Option<Host> {
    if root.is_none() && images.is_empty() {
        return None;
    }
    let paths = root.map_or_else(Default::default, |root| {
        asked.paths.iter().map(|path| (path.clone(), at(root, path))).collect()
    });
    let images: BTreeSet<String> = images.iter().cloned().collect();
    Some(Host { paths, images: (!images.is_empty()).then_some(images) })
}

fn at(root: &Path, path: &str) -> HostPath {
    let Some(found) = resolve(root, Path::new(path)) else { return HostPath::Missing };
    match fs::symlink_metadata(&found) {
        Ok(metadata) => HostPath::Found { kind: metadata.file_type().into(), label: label(&found) },
        Err(_) => HostPath::Missing,
    }
}

/// Follows links as the host would: absolute ones begin at the root folder, and `..` does not leave it.
fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut links = 0;
    let mut inside = PathBuf::new();
    let mut ahead: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(part) = ahead.pop() {
        let mut parts = part.components();
        let Some(first) = parts.next() else { continue };
        let rest = parts.as_path().to_owned();
        if !rest.as_os_str().is_empty() {
            ahead.push(rest);
        }
        match first {
            Component::RootDir | Component::Prefix(_) => inside = PathBuf::new(),
            Component::CurDir => {}
            Component::ParentDir => drop(inside.pop()),
            Component::Normal(name) => {
                let candidate = inside.join(name);
                match fs::read_link(root.join(&candidate)) {
                    Ok(target) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return None;
                        }
                        ahead.push(target);
                    }
                    Err(_) => inside = candidate,
                }
            }
        }
    }
    Some(root.join(inside))
}

/// The label that SELinux goes by; without SELinux there is none.
fn label(path: &Path) -> Option<String> {
    let mut bytes = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, "security.selinux", &mut bytes).ok()?;
    bytes.truncate(length);
    let text = String::from_utf8(bytes).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use basalt_static_pods::lint::policy::HostPathKind;

    use super::*;

    #[test]
    fn links_stay_inside() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("usr/etc")).unwrap();
        fs::write(root.join("usr/etc/a"), "a").unwrap();
        symlink("/usr/etc", root.join("etc")).unwrap();
        symlink("../../../usr/etc/a", root.join("usr/b")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let is = |path: &str, wanted: Option<HostPathKind>| {
            let found = match at(root, path) {
                HostPath::Found { kind, .. } => Some(kind),
                HostPath::Missing => None,
            };
            assert_eq!(found, wanted, "{path}");
        };
        is("/etc/a", Some(HostPathKind::File));
        is("/etc", Some(HostPathKind::Folder));
        is("/usr/b", Some(HostPathKind::File));
        is("/usr/c", None);
        is("/loop", None);
    }
}
