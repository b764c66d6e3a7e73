//! Finding a peer on this machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Peer;
use super::spec::{PeerSpec, Source};

/// Where system programs are that a normal user's `$PATH` does not name.
const SYSTEM_FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin"];

impl PeerSpec {
    /// The peer, when this machine has it: in the cache, else in `$PATH` and the folders for system programs. What is
    /// found outside the cache has to give the version that the row asks for.
    pub fn find(&self) -> Option<Peer> {
        if let Some(program) = self.cached_file().filter(|file| file.exists()) {
            let version = self.version.unwrap_or("?").to_owned();
            return Some(Peer { name: self.name, program, version });
        }
        let (program, argument) = match &self.source {
            Source::System(system) => (system.program, system.version_argument),
            Source::Go(_) | Source::Crate(_) | Source::Wheel(_) => (self.name, "--version"),
            Source::Tree(_) => return None,
        };
        let program = search(program)?;
        let version = version_of(&program, argument).unwrap_or_else(|| "?".to_owned());
        let fits = self.version.is_none_or(|wanted| is_version(&version, wanted));
        fits.then_some(Peer { name: self.name, program, version })
    }
}

/// Looks for a program by its name or absolute path.
fn search(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path);
    let folders = in_path.chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    // Joining an absolute path gives that path.
    folders.map(|folder| folder.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// What `program` says its version is. Some print it to standard error.
fn version_of(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    version_in(&String::from_utf8_lossy(&text))
}

/// The first text like `1.2…` in the first line that has one.
fn version_in(text: &str) -> Option<String> {
    let is_end = |c: char| c.is_whitespace() || "(),;".contains(c);
    let starts = text.char_indices().filter(|(at, c)| {
        c.is_ascii_digit() && !text[..*at].ends_with(|before: char| before.is_ascii_digit())
    });
    starts.map(|(at, _)| text[at..].split(is_end).next().unwrap_or_default()).find_map(|word| {
        let (major, rest) = word.split_once('.')?;
        let is_number = major.bytes().all(|b| b.is_ascii_digit());
        (is_number && rest.starts_with(|c: char| c.is_ascii_digit())).then(|| word.to_owned())
    })
}

/// Whether `version` is `wanted`, or `wanted` with more behind a part's end: `2.14` fits `2.14.0+ds1`, not `2.141`.
fn is_version(version: &str, wanted: &str) -> bool {
    version.strip_prefix(wanted).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        assert_eq!(version_in(output).as_deref(), Some(expected));
    }

    #[test]
    fn versions_are_read_off_real_outputs() {
        check("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://", "2.6.12-1+deb12u4");
        check("Keepalived v2.2.7 (01/16,2022)\n\nCopyright(C) 2001-2022", "2.2.7");
        check("skopeo version 1.9.3\n", "1.9.3");
        check("umoci version 0.4.7+ds-3+b7\n", "0.4.7+ds-3+b7");
        check("Ignition Debian 2.14.0+ds1-1+b6", "2.14.0+ds1-1+b6");
        check("Butane v0.29.0", "0.29.0");
        check("systemd 252 (252.39-1~deb12u2)\n+PAM +AUDIT", "252.39-1~deb12u2");
        check("ip utility, iproute2-6.1.0, libbpf 1.1.2", "6.1.0");
        check("cargo-deny 0.20.2", "0.20.2");
        assert_eq!(version_in("no version here: 12"), None);
    }

    #[test]
    fn versions_fit_by_whole_parts() {
        assert!(is_version("2.14.0+ds1-1+b6", "2.14"));
        assert!(is_version("2.24.0", "2.24.0"));
        assert!(!is_version("2.141.0", "2.14"));
        assert!(!is_version("2.9", "2.14"));
    }
}
