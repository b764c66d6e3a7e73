//! Users and groups by name, as the node knows them: from its own files, not from those of the machine the agent runs on.

use super::{Host, Owner, look};

/// Fedora CoreOS keeps the users of its packages in the second one (nss-altfiles).
const USERS: [&str; 2] = ["/etc/passwd", "/usr/lib/passwd"];
const GROUPS: [&str; 2] = ["/etc/group", "/usr/lib/group"];

/// A name that the node does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has no {kind} `{name}`")]
pub(crate) struct Unknown {
    kind: &'static str,
    name: String,
}

impl Unknown {
    pub(crate) fn hint(&self) -> &'static str {
        "let the image bring it (sysusers.d), or name another `owner` and `group`"
    }
}

/// The numbers of a user and a group. `root` is whoever owns the host's root directory.
///
/// # Errors
/// When the node has no such user or group.
pub(crate) fn resolve(host: &Host, user: &str, group: &str) -> Result<Owner, Unknown> {
    let number = |kind, name: &str, root: u32, files: [&str; 2]| {
        if name == "root" {
            return Ok(root);
        }
        let texts = files.iter().filter_map(|path| look::read_behind(&host.real(path)).ok());
        let found = texts.into_iter().find_map(|text| find(&String::from_utf8_lossy(&text), name));
        found.or_else(|| name.parse().ok()).ok_or_else(|| Unknown { kind, name: name.to_owned() })
    };
    Ok(Owner {
        user: number("user", user, host.owner.user, USERS)?,
        group: number("group", group, host.owner.group, GROUPS)?,
    })
}

/// The third field of the line that begins with `name` (passwd(5), group(5)).
fn find(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_host;

    #[test]
    fn names_are_those_of_the_node() {
        let (keep, host) = scratch_host();
        for folder in ["etc", "usr/lib"] {
            std::fs::create_dir_all(keep.path().join(folder)).unwrap();
        }
        let write = |path: &str, text: &str| std::fs::write(keep.path().join(path), text).unwrap();
        write(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nbroken\netcd:x:4711:4712::/:/sbin/nologin\n",
        );
        write(
            "usr/lib/passwd",
            "etcd:x:1:1::/:/sbin/nologin\nhaproxy:x:188:188::/:/sbin/nologin\n",
        );
        write("usr/lib/group", "haproxy:x:189:\n");
        let numbers =
            |user: &str, group: &str| resolve(&host, user, group).map(|it| (it.user, it.group));
        assert_eq!(numbers("etcd", "haproxy"), Ok((4711, 189)));
        assert_eq!(numbers("haproxy", "root"), Ok((188, host.owner.group)));
        assert_eq!(numbers("1000", "1001"), Ok((1000, 1001)));
        let error = numbers("etcd", "etcd").unwrap_err();
        assert_eq!(error.to_string(), "the node has no group `etcd`");
        assert!(numbers("", "root").is_err());
    }
}
