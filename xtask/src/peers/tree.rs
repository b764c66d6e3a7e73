//! The root tree of Debian packages that nodes boot from in tests.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use e2e::peers::PeerSpec;
use e2e::peers::spec::{SystemPackage, TreeSpec};

use super::system::Packages;
use super::{Missing, entry};
use crate::command::run;
use crate::progress::Progress;

const MMDEBSTRAP: SystemPackage =
    SystemPackage { debian: "mmdebstrap", fedora: Some("debootstrap") };

/// The package with a bootstrapper, when this machine has none. Both know Debian's archive and its keys.
pub(super) fn missing_packages() -> Vec<SystemPackage> {
    if bootstrapper().is_some() { Vec::new() } else { vec![MMDEBSTRAP] }
}

#[derive(Clone, Copy, Debug)]
enum Bootstrapper {
    /// Three times as fast.
    Mmdebstrap,
    /// Packaged by more distributions.
    Debootstrap,
}

fn bootstrapper() -> Option<Bootstrapper> {
    let has = |program: &str| run(Command::new(program).arg("--version")).is_ok();
    if has("mmdebstrap") {
        Some(Bootstrapper::Mmdebstrap)
    } else if has("debootstrap") {
        Some(Bootstrapper::Debootstrap)
    } else {
        None
    }
}

/// Bootstraps the tree into the cache.
pub(super) fn build(
    peer: &PeerSpec,
    spec: &TreeSpec,
    packages: &Packages,
    progress: &Progress,
) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(Missing(
            "run `cargo xtask peers debian-tree` as root; its tests need root too".into()
        ));
    }
    let Some(bootstrapper) = bootstrapper() else {
        let hint = packages.problem(MMDEBSTRAP);
        bail!(Missing(hint.unwrap_or_else(|| "install mmdebstrap or debootstrap".to_owned())));
    };
    progress.step(format!("bootstrapping a Debian {} tree", spec.release));
    entry::make(peer, |folder| {
        let root = folder.join("root");
        run(&mut command(bootstrapper, spec, &root))?;
        let script = folder.join("prepare.sh");
        fs::write(&script, spec.prepare)?;
        run(Command::new("sh").arg(&script).arg(&root))?;
        fs::remove_file(&script)?;
        Ok(())
    })
}

fn command(bootstrapper: Bootstrapper, spec: &TreeSpec, root: &Path) -> Command {
    let include = format!("--include={}", spec.packages().collect::<Vec<_>>().join(","));
    let mut command = match bootstrapper {
        Bootstrapper::Mmdebstrap => {
            let mut command = Command::new("mmdebstrap");
            command.args(["--quiet", "--variant=essential", "--mode=root", "--format=directory"]);
            command.args(apt_settings().iter().map(|setting| format!("--aptopt={setting}")));
            command
        }
        Bootstrapper::Debootstrap => {
            let mut command = Command::new("debootstrap");
            command.arg("--variant=minbase");
            command
        }
    };
    command.arg(include).arg(spec.release).arg(root);
    // Without a mirror, both use Debian's own.
    command.args(mirror());
    command
}

/// The mirror that this machine's apt is set to, when this machine is a Debian.
fn mirror() -> Option<String> {
    let format = "$(CREATED_BY) $(ORIGIN) $(COMPONENT) $(REPO_URI)";
    let targets = run(Command::new("apt-get").args(["indextargets", "--format", format])).ok()?;
    mirror_in(&targets)
}

fn mirror_in(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let uri = line.strip_prefix("Packages Debian main ")?;
        // The archive of security updates does not have the release itself.
        (!uri.trim_end_matches('/').ends_with("-security")).then(|| uri.to_owned())
    })
}

/// How this machine's apt reaches its mirror: proxies, and whether an old snapshot is fine.
fn apt_settings() -> Vec<String> {
    let dump = run(Command::new("apt-config").arg("dump")).unwrap_or_default();
    let is_wanted = |line: &&str| {
        ["Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries"]
            .iter()
            .any(|prefix| line.starts_with(prefix))
            && !line.ends_with("\"\";")
    };
    dump.lines().filter(is_wanted).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::mirror_in;

    #[test]
    fn the_mirror_is_the_one_that_has_the_release() {
        let targets = "Translations Debian main http://a.example/debian/\n\
                       Packages Debian main http://b.example/debian-security/\n\
                       Packages Other main http://c.example/\n\
                       Packages Debian main http://d.example/debian/\n";
        assert_eq!(mirror_in(targets).as_deref(), Some("http://d.example/debian/"));
        assert_eq!(mirror_in("Packages Ubuntu main http://e.example/ubuntu/\n"), None);
    }
}
