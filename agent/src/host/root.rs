//! Paths below a root directory, resolved as after chroot(2): a symbolic link that begins with `/` leads to the root
//! directory, and `..` does not leave it.
//!
//! The kernel would resolve such links from its own root, so that an agent with `--root` would write into the machine
//! it runs on. Links are read before the path is used: this keeps the agent inside a directory that somebody prepared,
//! not apart from a program that changes links under its hands.

use camino::{Utf8Path, Utf8PathBuf};

/// As many as Linux follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Nothing can ever be here, so that whatever is tried fails with a reason.
const NOWHERE: &str = "/dev/null/symbolic-links-without-an-end";

/// What is done with the last part of a path when it is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastPart {
    /// The path is that of the link.
    Kept,
    /// The path is that of what the link leads to.
    Followed,
}

/// The path of the running process for `host_path` below `root`. Parts that are missing stay as they are.
pub(super) fn resolve(root: &Utf8Path, host_path: &str, last: LastPart) -> Utf8PathBuf {
    if root == "/" {
        return root.join(host_path.trim_start_matches('/'));
    }
    let parts = |path: &str| -> Vec<String> { path.split('/').rev().map(str::to_owned).collect() };
    let mut left = parts(host_path);
    let mut reached: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                reached.pop();
                continue;
            }
            _ => reached.push(part),
        }
        let is_last = left.iter().all(|part| part.is_empty());
        if is_last && last == LastPart::Kept {
            break;
        }
        let here = root.join(reached.join("/"));
        if !here.is_symlink() {
            continue;
        }
        let target = here.read_link_utf8();
        links += 1;
        let Some(target) = target.ok().filter(|_| links <= MOST_LINKS) else {
            return NOWHERE.into();
        };
        reached.pop();
        if target.is_absolute() {
            reached.clear();
        }
        left.extend(parts(target.as_str()));
    }
    root.join(reached.join("/"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_nowhere_else() {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(keep.path()).unwrap();
        std::fs::create_dir_all(root.join("srv/inner")).unwrap();
        for (link, target) in [
            ("absolute", "/srv"),
            ("relative", "srv/inner"),
            ("up", "../../../../srv"),
            ("twice", "absolute/inner"),
            ("dangling", "/gone/deep"),
            ("loop", "/loop"),
            ("srv/inner/back", "../.."),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        for (path, kept, followed) in [
            ("/", "", ""),
            ("/missing/a", "missing/a", "missing/a"),
            ("/absolute", "absolute", "srv"),
            ("/absolute/a", "srv/a", "srv/a"),
            ("/relative/a", "srv/inner/a", "srv/inner/a"),
            ("/up/a", "srv/a", "srv/a"),
            ("/twice", "twice", "srv/inner"),
            ("/twice/", "twice", "srv/inner"),
            ("/dangling/a", "gone/deep/a", "gone/deep/a"),
            ("/srv/inner/back/absolute/a", "srv/a", "srv/a"),
            ("/../../etc", "etc", "etc"),
        ] {
            for (last, expected) in [(LastPart::Kept, kept), (LastPart::Followed, followed)] {
                let found = resolve(root, path, last);
                assert_eq!(found, root.join(expected), "{path} {last:?}");
            }
        }
        assert_eq!(resolve(root, "/loop/a", LastPart::Kept), NOWHERE);
        assert_eq!(resolve(root, "/loop", LastPart::Followed), NOWHERE);
        assert!(std::fs::create_dir(NOWHERE).is_err());
        // The machine's own links are the kernel's business.
        assert_eq!(resolve("/".into(), "/etc/a", LastPart::Followed), "/etc/a");
    }
}
