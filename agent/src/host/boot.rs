//! Which boot this is, and how long it has lasted.

use std::io;

use camino::Utf8Path;
use rustix::time::{ClockId, clock_gettime};

use super::files::{Attributes, ensure_directory, replace};
use super::service::unix_seconds;
use super::{Host, RUN_DIRECTORY, look};
use crate::generation::record::Moment;

/// Lies where nothing outlives a boot, so that its text tells boots apart. The kernel's own `boot_id` cannot be read by
/// a service that sees only processes in `/proc` (`ProcSubset=pid`).
const BOOT_PATH: &str = "/run/basalt/boot";

/// Now, by a clock that nobody sets.
pub(crate) fn now(host: &Host) -> Moment {
    let boot = look::read(&host.path(BOOT_PATH)).ok();
    let boot = boot.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let seconds = clock_gettime(ClockId::Boottime).tv_sec;
    Moment { boot: boot.trim().to_owned(), seconds: u64::try_from(seconds).unwrap_or(0) }
}

/// Gives this boot its name, once.
///
/// # Errors
/// When it cannot be written down; a trial then lasts until its deadline, whatever happens.
pub(crate) fn mark(host: &Host) -> io::Result<()> {
    if !now(host).boot.is_empty() {
        return Ok(());
    }
    let owner = host.owner;
    ensure_directory(&host.real(RUN_DIRECTORY), Attributes { mode: 0o755, owner, label: None })?;
    let since_boot = clock_gettime(ClockId::Boottime);
    let name = format!("{}-{}-{}\n", unix_seconds(), since_boot.tv_sec, since_boot.tv_nsec);
    let path = host.path(BOOT_PATH);
    replace(Utf8Path::new(&path), name.as_bytes(), Attributes { mode: 0o644, owner, label: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_host;

    #[test]
    fn a_boot_has_one_name() {
        let (_keep, host) = scratch_host();
        assert_eq!(now(&host).boot, "");
        mark(&host).unwrap();
        let first = now(&host);
        mark(&host).unwrap();
        assert!(!now(&host).is_other_boot(&first));
        std::fs::remove_dir_all(host.path(RUN_DIRECTORY)).unwrap();
        mark(&host).unwrap();
        assert!(now(&host).is_other_boot(&first));
    }
}
