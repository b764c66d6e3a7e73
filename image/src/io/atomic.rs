//! Files and folders that appear whole: written beside their place, synced, renamed, the parent folder synced.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A file or folder that could not be put in its place. What was there before is still there.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{path}`")]
pub struct PlaceError {
    /// What was tried, as in "cannot … `path`".
    pub doing: &'static str,
    /// On which file or folder.
    pub path: Utf8PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

/// Writes the file `target` by `fill`; a file that is already there is replaced once the new one is complete.
///
/// # Errors
/// Those of `fill`, and [`PlaceError`]; in both cases nothing has changed.
pub fn replace_file<T, E: From<PlaceError>>(
    target: &Utf8Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    let (parent, name) = place(target)?;
    let failed = |doing| fail(doing, target);
    let beside = tempfile::Builder::new()
        .prefix(&format!(".{name}.partial-"))
        // The umask takes its part off, as for any file that is not made by tempfile.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(|error| failed("create a file beside")(bare(&error)))?;
    let mut writer = BufWriter::new(beside.reopen().map_err(failed("write beside"))?);
    let value = fill(&mut writer)?;
    writer.flush().map_err(failed("write"))?;
    writer.get_ref().sync_all().map_err(failed("sync"))?;
    drop(writer);
    beside.persist(target).map_err(|error| failed("rename a new file to")(error.error))?;
    sync_folder(parent.as_std_path()).map_err(failed("sync the folder of"))?;
    Ok(value)
}

/// Makes the folder `target` by `fill`, which is given an empty folder beside it to write into; a folder that is
/// already there is exchanged for the new one once that is complete and synced, and then removed.
///
/// # Errors
/// Those of `fill`, and [`PlaceError`]; in both cases the folder that was there still is.
pub fn replace_folder<T, E: From<PlaceError>>(
    target: &Utf8Path,
    fill: impl FnOnce(&Utf8Path) -> Result<T, E>,
) -> Result<T, E> {
    let (parent, name) = place(target)?;
    let failed = |doing| fail(doing, target);
    let beside = tempfile::Builder::new()
        .prefix(&format!(".{name}.partial-"))
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)
        .map_err(|error| failed("create a folder beside")(bare(&error)))?;
    let folder = Utf8Path::from_path(beside.path()).ok_or_else(|| {
        failed("create a folder beside")(io::Error::other("the path is not valid UTF-8"))
    })?;
    let value = fill(folder)?;
    sync_tree(folder.as_std_path()).map_err(failed("sync the new content of"))?;
    match fs::symlink_metadata(target) {
        Ok(_) => exchange(folder, target).map_err(failed("exchange"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::rename(folder, target).map_err(failed("rename a new folder to"))?
        }
        Err(error) => return Err(failed("look at")(error).into()),
    }
    sync_folder(parent.as_std_path()).map_err(failed("sync the folder of"))?;
    Ok(value)
}

/// Swaps two folders, so that at every moment one of them is at `target`. Where the file system cannot (NFS), the old
/// one goes first.
fn exchange(folder: &Utf8Path, target: &Utf8Path) -> io::Result<()> {
    match renameat_with(CWD, folder.as_std_path(), CWD, target.as_std_path(), RenameFlags::EXCHANGE)
    {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            let old = Utf8PathBuf::from(format!("{folder}.old"));
            fs::rename(target, &old)?;
            if let Err(error) = fs::rename(folder, target) {
                fs::rename(&old, target)?;
                return Err(error);
            }
            fs::remove_dir_all(&old)
        }
        Err(error) => Err(error.into()),
    }
}

/// The parent folder, created where missing, and the name of `target`.
fn place(target: &Utf8Path) -> Result<(&Utf8Path, &str), PlaceError> {
    let nameless = || io::Error::new(io::ErrorKind::InvalidInput, "the path has no name");
    let name = target.file_name().ok_or_else(|| fail("write to", target)(nameless()))?;
    let parent = match target.parent() {
        Some(parent) if parent != "" => parent,
        _ => Utf8Path::new("."),
    };
    fs::create_dir_all(parent).map_err(fail("create the folder of", target))?;
    Ok((parent, name))
}

fn fail(doing: &'static str, path: &Utf8Path) -> impl Fn(io::Error) -> PlaceError {
    move |source| PlaceError { doing, path: path.to_owned(), source }
}

/// The error without the name that was made up, which tempfile adds: the message has the one that is meant.
fn bare(error: &io::Error) -> io::Error {
    error.kind().into()
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => sync_tree(&entry.path())?,
            false => File::open(entry.path())?.sync_all()?,
        }
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_takes_nothing_is_named_as_it_was_given() {
        let target = Utf8Path::new("/proc/self/fdinfo/a.tar");
        let file = replace_file(target, |_| Ok::<_, PlaceError>(())).unwrap_err();
        assert_eq!(file.to_string(), "cannot create a file beside `/proc/self/fdinfo/a.tar`");
        let folder = replace_folder(target, |_| Ok::<_, PlaceError>(())).unwrap_err();
        assert_eq!(folder.to_string(), "cannot create a folder beside `/proc/self/fdinfo/a.tar`");
        for error in [file, folder] {
            assert!(!error.source.to_string().contains("a.tar"), "{}", error.source);
        }
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    fn names(folder: &Utf8Path) -> Vec<String> {
        let mut names: Vec<String> =
            folder.read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    }

    fn broken() -> PlaceError {
        PlaceError { doing: "stop at", path: "x".into(), source: io::Error::other("enough") }
    }

    #[test]
    fn a_file_is_replaced_only_when_complete() {
        let (_guard, path) = folder();
        let file = path.join("new/out");
        replace_file(&file, |w| w.write_all(b"one").map_err(fail("write", &file))).unwrap();
        let stopped: Result<(), _> = replace_file(&file, |w| {
            w.write_all(b"tw").unwrap();
            Err(broken())
        });
        stopped.unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert_eq!(names(&path.join("new")), ["out"]);
        replace_file(&file, |w| w.write_all(b"two").map_err(fail("write", &file))).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
    }

    #[test]
    fn a_folder_is_replaced_only_when_complete() {
        let (_guard, path) = folder();
        let target = path.join("out");
        let fill = |name: &'static str| {
            move |folder: &Utf8Path| {
                fs::create_dir(folder.join("sub")).unwrap();
                fs::write(folder.join("sub").join(name), name).map_err(fail("write", folder))
            }
        };
        replace_folder(&target, fill("one")).unwrap();
        let stopped: Result<(), _> = replace_folder(&target, |folder| {
            fill("two")(folder)?;
            Err(broken())
        });
        stopped.unwrap_err();
        assert_eq!(names(&target.join("sub")), ["one"]);
        replace_folder(&target, fill("two")).unwrap();
        assert_eq!(names(&target.join("sub")), ["two"]);
        assert_eq!(names(&path), ["out"]);
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        let error = replace_file(Utf8Path::new(".."), |_| Ok::<_, PlaceError>(())).unwrap_err();
        assert_eq!(error.to_string(), "cannot write to `..`");
    }
}
