//! Whether `dist/` may be replaced: what a person has there is not ours to remove.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context, Result, bail};
use camino::Utf8Path;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

use super::dist::read_manifest;

/// Refuses a target that is not ours to replace.
///
/// # Errors
/// When `dist` is something else than an absent or empty folder or an earlier result, and `force` is not given; in any
/// case when it cannot be replaced, or the home or the working folder would go with it.
pub(super) fn check(dist: &Utf8Path, force: bool) -> Result<()> {
    let Some(parent) = dist.parent() else { bail!("`{dist}` is the root of the file system") };
    if !parent.is_dir() {
        bail!("`{parent}` is not a folder, so `{dist}` cannot be made in it");
    }
    let metadata = match fs::symlink_metadata(dist) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at `{dist}`")),
    };
    if !metadata.is_dir() {
        bail!("`{dist}` is not a folder");
    }
    let places = [
        (env::current_dir().ok(), "the working folder"),
        (env::var_os("HOME").map(PathBuf::from), "your home"),
    ];
    for (place, what) in places {
        if place.is_some_and(|place| is_in(&place, dist)) {
            bail!(
                "`{dist}` is replaced as a whole, and {what} is in it; name another folder with `--dist`"
            );
        }
    }
    if is_mount_point(dist) {
        bail!(
            "`{dist}` is a mount point, which no other folder can take the place of; name a folder in it: `--dist {dist}/out`"
        );
    }
    let is_empty =
        fs::read_dir(dist).with_context(|| format!("cannot read `{dist}`"))?.next().is_none();
    if is_empty || force || read_manifest(dist).is_some() {
        return Ok(());
    }
    bail!(
        "`{dist}` was not written by this command; choose another folder with `--dist`, or replace it with `--force`"
    )
}

/// Refuses to replace what the build is made from, whatever `--force` says.
///
/// # Errors
/// Names the input that is in `dist`.
pub(super) fn check_inputs<'p>(
    dist: &Utf8Path,
    inputs: impl IntoIterator<Item = &'p Utf8Path>,
) -> Result<()> {
    for input in inputs {
        if is_in(input.as_std_path(), dist) {
            bail!(
                "`{dist}` is replaced as a whole, and `{input}` in it is what this build is made from; \
                 name another folder with `--dist`"
            );
        }
    }
    Ok(())
}

/// Whether `path` is `folder` or below it, under whatever name. Both the link and what it leads to count.
fn is_in(path: &Path, folder: &Utf8Path) -> bool {
    let Ok(folder) = fs::canonicalize(folder) else { return false };
    let place = |path: &Path| fs::canonicalize(path).is_ok_and(|path| path.starts_with(&folder));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    place(path) || (path.is_symlink() && place(parent.unwrap_or(Path::new("."))))
}

fn is_mount_point(folder: &Utf8Path) -> bool {
    let found = statx(CWD, folder.as_std_path(), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_in_the_folder_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let dist = folder.join("dist");
        fs::create_dir_all(dist.join("below")).unwrap();
        fs::write(dist.join("below/input"), "").unwrap();
        fs::write(folder.join("input"), "").unwrap();
        std::os::unix::fs::symlink("dist", folder.join("link")).unwrap();
        std::os::unix::fs::symlink("../input", dist.join("outside")).unwrap();
        for inside in ["dist", "dist/below/input", "link/below/input", "dist/outside"] {
            let inside = folder.join(inside);
            check_inputs(&dist, [inside.as_path()]).expect_err(inside.as_str());
        }
        for outside in ["input", ".", "none"] {
            check_inputs(&dist, [folder.join(outside).as_path()]).unwrap();
        }
    }

    #[test]
    fn mount_points_are_known() {
        assert!(is_mount_point("/proc".into()));
        assert!(!is_mount_point("/proc/self".into()));
    }

    #[test]
    fn a_folder_above_the_working_folder_is_never_replaced() {
        let here = env::current_dir().unwrap();
        let parent = Utf8Path::from_path(here.parent().unwrap()).unwrap();
        let message = check(parent, true).unwrap_err().to_string();
        assert!(message.contains("the working folder is in it"), "{message}");
    }
}
