//! Peers from the system's packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use e2e::peers::spec::SystemPackage;

use crate::command::run;
use crate::progress::Progress;

/// The family of distributions this machine runs, as far as package names go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distribution {
    Debian,
    Fedora,
    Other,
}

impl Distribution {
    pub(super) fn of_this_machine() -> Self {
        Self::of(&fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    /// Format: <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>
    fn of(os_release: &str) -> Self {
        let values = |key: &str| {
            let line =
                os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            let value = line.unwrap_or_default().trim_matches(['"', '\'']);
            value.split(' ').map(str::to_owned).collect::<Vec<_>>()
        };
        let names = [values("ID"), values("ID_LIKE")].concat();
        let is = |name: &str| names.iter().any(|other| other == name);
        if is("debian") {
            Self::Debian
        } else if is("fedora") {
            Self::Fedora
        } else {
            Self::Other
        }
    }

    /// What the package is called here; `None` when there is no such package.
    fn name_of(self, package: SystemPackage) -> Option<&'static str> {
        match self {
            Self::Debian => Some(package.debian),
            Self::Fedora => package.fedora,
            Self::Other => None,
        }
    }
}

/// What became of the packages that were asked for.
#[derive(Debug)]
pub(super) struct Packages {
    distribution: Distribution,
    /// What a person still has to install.
    wanted: BTreeSet<&'static str>,
    /// What was tried here and failed, with the reason.
    failed: BTreeMap<&'static str, String>,
}

impl Packages {
    /// Installs `packages` where that can be done without asking: as root on Debian.
    pub(super) fn install(
        packages: &[SystemPackage],
        distribution: Distribution,
        progress: &Progress,
    ) -> Self {
        let names: BTreeSet<&'static str> =
            packages.iter().filter_map(|package| distribution.name_of(*package)).collect();
        let mut result = Self { distribution, wanted: names, failed: BTreeMap::new() };
        let is_root = nix::unistd::geteuid().is_root();
        if result.wanted.is_empty() || distribution != Distribution::Debian || !is_root {
            return result;
        }
        let wanted: Vec<&'static str> = mem::take(&mut result.wanted).into_iter().collect();
        // All at once is quicker; but one package that cannot be had must not keep the others away.
        if wanted.len() == 1 || apt_install(&wanted, progress).is_err() {
            for name in wanted {
                if let Err(error) = apt_install(&[name], progress) {
                    result.failed.insert(name, format!("{error:#}"));
                }
            }
        }
        result
    }

    /// Why `package` is not there, with what to do; `None` when it was installed.
    pub(super) fn problem(&self, package: SystemPackage) -> Option<String> {
        match self.distribution.name_of(package) {
            Some(name) if self.failed.contains_key(name) => self.failed.get(name).cloned(),
            Some(name) => {
                self.wanted.contains(name).then(|| format!("run `{}`", self.installer(name)))
            }
            None if self.distribution == Distribution::Other => {
                Some(format!("install what Debian calls `{}`", package.debian))
            }
            None => Some(format!("only Debian 12 has it, as `{}`", package.debian)),
        }
    }

    /// Where packages come from, for a person.
    pub(super) fn origin(&self) -> &'static str {
        match self.distribution {
            Distribution::Debian => "Debian",
            Distribution::Fedora => "Fedora",
            Distribution::Other => "the system",
        }
    }

    /// The one command that installs everything that is still wanted.
    pub(super) fn command(&self) -> Option<String> {
        let names: Vec<&str> = self.wanted.iter().copied().collect();
        (!names.is_empty()).then(|| self.installer(&names.join(" ")))
    }

    fn installer(&self, names: &str) -> String {
        match self.distribution {
            Distribution::Debian => format!("sudo apt-get install {names}"),
            Distribution::Fedora => format!("sudo dnf install {names}"),
            Distribution::Other => format!("install {names}"),
        }
    }
}

/// Package lists older than this name files that may be gone.
const LISTS_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

fn apt_install(names: &[&str], progress: &Progress) -> Result<()> {
    if lists_are_stale() {
        progress.step("updating the package lists");
        run(apt().arg("update"))?;
    }
    progress.step(format!("installing from Debian: {}", names.join(" ")));
    let _services_stay_off = ServicesStayOff::new(Path::new("/usr/sbin/policy-rc.d"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends"]).args(names)).map(drop)
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Options::=--force-confold"]);
    command
}

fn lists_are_stale() -> bool {
    let Ok(folder) = fs::read_dir("/var/lib/apt/lists") else { return true };
    let is_list = |file: &fs::DirEntry| file.file_name().to_string_lossy().contains("Packages");
    let has_lists = folder.flatten().any(|file| is_list(&file));
    // A list keeps the server's date; the folder's is when it was last asked.
    let asked = fs::metadata("/var/lib/apt/lists/partial").and_then(|data| data.modified());
    let age = |time| SystemTime::now().duration_since(time).unwrap_or_default();
    !has_lists || asked.map_or(true, |time| age(time) > LISTS_LIFE)
}

/// Keeps packages from starting their services: tests want the programs only. This is the switch that Debian's policy
/// has for it, see `/usr/share/doc/init-system-helpers/README.policy-rc.d.gz`. An administrator's own file stays.
struct ServicesStayOff<'a>(Option<&'a Path>);

impl<'a> ServicesStayOff<'a> {
    fn new(switch: &'a Path) -> Result<Self> {
        // Should we be killed, the file stays behind; it then forbids nothing more, since our process is gone.
        let pid = std::process::id();
        let script = format!("#!/bin/sh\n[ -d /proc/{pid} ] && exit 101\nexit 0\n");
        match fs::File::options().write(true).create_new(true).mode(0o755).open(switch) {
            Ok(mut file) => {
                file.write_all(script.as_bytes())?;
                Ok(Self(Some(switch)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self(None)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for ServicesStayOff<'_> {
    fn drop(&mut self) {
        if let Some(switch) = self.0 {
            let _ = fs::remove_file(switch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_told_by_their_families() {
        #[track_caller]
        fn check(os_release: &str, expected: Distribution) {
            assert_eq!(Distribution::of(os_release), expected);
        }
        check("NAME=\"Debian GNU/Linux\"\nID=debian\n", Distribution::Debian);
        check("ID=ubuntu\nID_LIKE=debian\n", Distribution::Debian);
        check("ID=fedora\nVERSION_ID=42\n", Distribution::Fedora);
        check("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Distribution::Fedora);
        check("ID=arch\n", Distribution::Other);
        check("", Distribution::Other);
    }

    #[test]
    fn a_missing_package_comes_with_the_command_to_type() {
        let haproxy = SystemPackage { debian: "haproxy", fedora: Some("haproxy") };
        let ignition = SystemPackage { debian: "ignition", fedora: None };
        let packages = |distribution, wanted: &[&'static str]| Packages {
            distribution,
            wanted: wanted.iter().copied().collect(),
            failed: BTreeMap::new(),
        };
        let fedora = packages(Distribution::Fedora, &["haproxy"]);
        assert_eq!(fedora.problem(haproxy).unwrap(), "run `sudo dnf install haproxy`");
        assert_eq!(fedora.problem(ignition).unwrap(), "only Debian 12 has it, as `ignition`");
        let debian = packages(Distribution::Debian, &["haproxy", "ignition"]);
        assert_eq!(debian.command().unwrap(), "sudo apt-get install haproxy ignition");
        assert_eq!(packages(Distribution::Debian, &[]).problem(haproxy), None);
        let other = packages(Distribution::Other, &[]);
        assert_eq!(other.problem(haproxy).unwrap(), "install what Debian calls `haproxy`");
    }

    #[test]
    fn services_stay_off_while_packages_are_installed() {
        let folder = tempfile::tempdir().unwrap();
        let switch = folder.path().join("policy-rc.d");
        let guard = ServicesStayOff::new(&switch).unwrap();
        assert_eq!(Command::new(&switch).status().unwrap().code(), Some(101));
        drop(guard);
        assert!(!switch.exists());
        fs::write(&switch, "an administrator's").unwrap();
        drop(ServicesStayOff::new(&switch).unwrap());
        assert_eq!(fs::read_to_string(&switch).unwrap(), "an administrator's");
    }
}
