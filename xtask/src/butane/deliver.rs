//! Where the result goes: standard output, or a file that appears as a whole.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::FAILED;
use crate::output::{self, Readers};
use crate::visible::visible;

/// How many symbolic links are followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// The mode of a new file, before the umask: the reference's.
const MODE: u32 = 0o644;

/// Names of standard output. A file that it was redirected to is written on, and not replaced.
const STDOUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// Writes the result to `output`, or to standard output. When nobody reads that any more, it ends in silence.
///
/// # Errors
/// When the result cannot be written. An existing file is then as it was, except for devices, pipes, and files in
/// folders that take no new ones, which are written in place.
pub(super) fn deliver(
    output: Option<&Path>,
    write: impl Fn(&mut dyn Write) -> io::Result<()>,
) -> Result<ExitCode> {
    let Some(path) = output.filter(|path| !STDOUT.iter().any(|name| *path == Path::new(name)))
    else {
        return Ok(match output::write(write)? {
            Readers::Some => ExitCode::SUCCESS,
            // What was wanted is what nobody got.
            Readers::None => ExitCode::from(FAILED),
        });
    };
    to_file(path, write)
        .with_context(|| format!("cannot write `{}`", visible(&path.display().to_string())))?;
    Ok(ExitCode::SUCCESS)
}

fn to_file(path: &Path, write: impl Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    match target(path)? {
        Target::InPlace => in_place(path, write),
        Target::Whole(path) => match whole(&path, &write) {
            // A file that is mounted by itself, as into a container, can be written but not replaced.
            Err(Unwritten::NotReplaceable(_)) if path.is_file() => in_place(&path, write),
            Err(Unwritten::NotReplaceable(error) | Unwritten::Failed(error)) => Err(error),
            Ok(()) => Ok(()),
        },
    }
}

/// How a file is written.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// A device, a pipe, something that is open already.
    InPlace,
    /// A file, here or yet to come, at the end of all symbolic links.
    Whole(PathBuf),
}

fn target(path: &Path) -> io::Result<Target> {
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(ErrorKind::IsADirectory.into());
    }
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Target::Whole(path)),
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !metadata.is_symlink() {
            return Ok(if metadata.is_file() { Target::Whole(path) } else { Target::InPlace });
        }
        let folder = folder(&path);
        // Links below /proc lead to what a process has open, whatever they say.
        if folder.canonicalize()?.starts_with("/proc") {
            return Ok(Target::InPlace);
        }
        path = folder.join(fs::read_link(&path)?);
    }
    Err(ErrorKind::InvalidInput.into())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Why a file was not written; nothing of it has changed.
enum Unwritten {
    /// Its folder takes no other file in its place.
    NotReplaceable(io::Error),
    Failed(io::Error),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Unwritten {
        match error.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::ResourceBusy
            | ErrorKind::CrossesDevices => Unwritten::NotReplaceable(error),
            _ => Unwritten::Failed(error),
        }
    }
}

/// Writes a file beside, syncs it, and puts it in the place of the old one.
fn whole(path: &Path, write: impl Fn(&mut dyn Write) -> io::Result<()>) -> Result<(), Unwritten> {
    // Replacing asks for the folder's permission only; a file that is not to be written stays.
    let old = match OpenOptions::new().write(true).open(path) {
        Ok(file) => Some(file.metadata()?),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(Unwritten::Failed(error)),
    };
    let folder = folder(path);
    // Asked first, since the error would be about a name that nobody knows.
    fs::metadata(folder)?;
    let new = tempfile::Builder::new()
        .prefix(".butane-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder)?;
    fill(&new, old.as_ref(), write).map_err(Unwritten::Failed)?;
    new.persist(path).map_err(|refused| refused.error)?;
    File::open(folder)?.sync_all().map_err(Unwritten::Failed)
}

fn fill(
    new: &NamedTempFile,
    old: Option<&Metadata>,
    write: impl Fn(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let file = new.as_file();
    if let Some(old) = old {
        // Another user's file stays that user's where we may say so.
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(old.permissions())?;
    }
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.flush()?;
    file.sync_all()
}

fn in_place(path: &Path, write: impl Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let mut out = BufWriter::new(&file);
    write(&mut out)?;
    out.flush()?;
    match file.metadata()?.is_file() {
        true => file.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn write(out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"new\n")
    }

    fn fail(out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"half")?;
        Err(ErrorKind::StorageFull.into())
    }

    fn entries(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        to_file(&path, fail).unwrap_err();
        assert_eq!(entries(folder.path()), [] as [&str; 0]);
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        to_file(&path, fail).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        to_file(&path, write).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(entries(folder.path()), ["out.json"]);
    }

    #[test]
    fn links_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("to")).unwrap();
        symlink("to/file", at("one")).unwrap();
        symlink("one", at("two")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for _ in 0..2 {
            to_file(&at("two"), write).unwrap();
            assert_eq!(fs::read_to_string(at("to/file")).unwrap(), "new\n");
            assert_eq!(fs::read_link(at("two")).unwrap(), Path::new("one"));
        }
        assert_eq!(entries(&at("to")), ["file"]);
        assert!(to_file(&at("loop"), write).is_err());
    }

    #[test]
    fn what_is_no_file_is_written_in_place() {
        assert_eq!(target(Path::new("/dev/null")).unwrap(), Target::InPlace);
        assert_eq!(target(Path::new("/dev/fd/0")).unwrap(), Target::InPlace);
        to_file(Path::new("/dev/null"), write).unwrap();
        let full = to_file(Path::new("/dev/full"), write).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        for folder in ["/", "/usr", "/usr/none/"] {
            let refused = to_file(Path::new(folder), write).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::IsADirectory, "{folder}");
        }
        let absent = tempfile::tempdir().unwrap().path().join("none/out");
        assert_eq!(to_file(&absent, write).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
