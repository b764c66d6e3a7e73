//! Changes to single files and directories, each whole or not at all, each safe to repeat.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use camino::Utf8Path;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, XattrFlags, fchmod, fchown, fsetxattr,
    fstat, fsync, mkdirat, openat, renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::Owner;

/// Files that are being written carry a name between these two. A dot in front, since the kubelet reads every name
/// without one; the rest is ours alone, so that a left-over file can be told from other people's dotfiles.
const TEMPORARY_PREFIX: &str = ".basalt-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// The extended attribute that holds a SELinux label.
pub(crate) const LABEL_ATTRIBUTE: &str = "security.selinux";
/// Pod config files carry this label, which containers may read but not write. `/etc/kubernetes` and the rest of `/etc`
/// are closed to them, and the kubelet does not relabel host paths.
pub(crate) const POD_CONFIG_LABEL: &str = "system_u:object_r:container_ro_file_t:s0";

/// What a file or directory is to have besides its contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes {
    /// Permission bits.
    pub(crate) mode: u32,
    /// User and group.
    pub(crate) owner: Owner,
    /// SELinux label; `None` leaves what the directory gives.
    pub(crate) label: Option<&'static str>,
}

/// The name under which `name` is written before it appears.
pub(crate) fn temporary_name(name: &str) -> String {
    format!("{TEMPORARY_PREFIX}{name}{TEMPORARY_SUFFIX}")
}

/// Whether `name` is one that [`temporary_name`] makes.
pub(crate) fn is_temporary_name(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX)
        .and_then(|rest| rest.strip_suffix(TEMPORARY_SUFFIX))
        .is_some_and(|stem| !stem.is_empty())
}

/// Makes `path` a regular file with these contents and attributes. Readers see the old file or the new one; after a
/// power cut it is one of the two as well. What was at `path` is replaced whatever it was, except a directory with
/// something in it.
///
/// # Errors
/// The old file is intact and no new one is left behind, unless the last step failed: syncing the directory.
pub(crate) fn replace(path: &Utf8Path, contents: &[u8], attributes: Attributes) -> io::Result<()> {
    let (parent, name) = split(path)?;
    let directory = open_directory(parent)?;
    let temporary = temporary_name(name);
    remove_if_there(&directory, &temporary)?;
    let written = write_new(&directory, &temporary, contents, attributes)
        .and_then(|()| rename_over(&directory, &temporary, name));
    if let Err(error) = written {
        // The first error is the one to report; a left-over is removed in the next round.
        let _ = remove_if_there(&directory, &temporary);
        return Err(error);
    }
    Ok(fsync(&directory)?)
}

/// Makes the new file `path` with these contents and attributes, and syncs it: for a directory that nobody looks into yet.
/// From its first byte on nobody but its owner can read it.
///
/// # Errors
/// There may be a part of it.
pub(crate) fn create(path: &Utf8Path, contents: &[u8], attributes: Attributes) -> io::Result<()> {
    let (parent, name) = split(path)?;
    write_new(&open_directory(parent)?, name, contents, attributes)
}

/// Removes the file `path`; a missing one is no error. Never removes a directory.
pub(crate) fn remove(path: &Utf8Path) -> io::Result<()> {
    let (parent, name) = split(path)?;
    let directory = match open_directory(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    remove_if_there(&directory, name)?;
    Ok(fsync(&directory)?)
}

/// Removes the directory `path` if it is empty; a missing one is no error.
pub(crate) fn remove_directory(path: &Utf8Path) -> io::Result<()> {
    let (parent, name) = split(path)?;
    let directory = open_directory(parent)?;
    match unlinkat(&directory, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(fsync(&directory)?),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes `path` a directory with these attributes and leaves what is in it alone. Missing parents are created with mode
/// 0755. A symbolic link that leads to a directory counts as that directory.
pub(crate) fn ensure_directory(path: &Utf8Path, attributes: Attributes) -> io::Result<()> {
    create_directories(path, attributes.owner)?;
    dress(&open_directory(path)?, attributes)
}

/// As [`ensure_directory`], but a symbolic link at `path` is replaced by a directory.
pub(crate) fn ensure_own_directory(path: &Utf8Path, attributes: Attributes) -> io::Result<()> {
    if path.is_symlink() {
        remove(path)?;
    }
    ensure_directory(path, attributes)
}

/// Moves whatever is at `path` into `directory`, under its own name or the first free one with a number behind it, and
/// returns the name it got. The two may lie on different file systems; then a file, a link or a pipe is made anew and
/// the old one removed.
///
/// # Errors
/// `path` is still there.
pub(crate) fn move_into(path: &Utf8Path, directory: &Utf8Path) -> io::Result<String> {
    let (parent, name) = split(path)?;
    let from = open_directory(parent)?;
    let to = open_directory(directory)?;
    for number in 0u32.. {
        let new_name = if number == 0 { name.to_owned() } else { format!("{name}.{number}") };
        let moved = match renameat_with(&from, name, &to, &new_name, RenameFlags::NOREPLACE) {
            Err(Errno::XDEV) => copy_across(&from, name, &to, &new_name),
            other => other.map_err(io::Error::from),
        };
        match moved {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
            Ok(()) => {
                fsync(&to)?;
                fsync(&from)?;
                return Ok(new_name);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn copy_across(from: &OwnedFd, name: &str, to: &OwnedFd, new_name: &str) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut source = std::fs::File::from(openat(from, name, flags, Mode::empty())?);
            let mut contents = Vec::new();
            source.read_to_end(&mut contents)?;
            let owner = Owner { user: stat.st_uid, group: stat.st_gid };
            let attributes = Attributes { mode: stat.st_mode & 0o7777, owner, label: None };
            write_new(to, new_name, &contents, attributes)?;
        }
        FileType::Symlink => {
            symlinkat(rustix::fs::readlinkat(from, name, Vec::new())?, to, new_name)?;
        }
        FileType::Fifo => rustix::fs::mknodat(to, new_name, FileType::Fifo, mode, 0)?,
        _ => return Err(Errno::XDEV.into()),
    }
    Ok(unlinkat(from, name, AtFlags::empty())?)
}

fn write_new(
    directory: &OwnedFd,
    name: &str,
    contents: &[u8],
    attributes: Attributes,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(contents)?;
    let file = OwnedFd::from(file);
    dress(&file, attributes)
}

/// Gives an open file or directory its owner, mode and label, and syncs it.
fn dress(file: &OwnedFd, attributes: Attributes) -> io::Result<()> {
    let stat = fstat(file)?;
    let owner = attributes.owner;
    if (stat.st_uid, stat.st_gid) != (owner.user, owner.group) {
        fchown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    // After the owner: a change of owner clears set-id bits, and the new owner's umask had its say at creation.
    fchmod(file, Mode::from_raw_mode(attributes.mode))?;
    if let Some(label) = attributes.label {
        // The kernel's own labels end with a NUL byte.
        let value = format!("{label}\0");
        fsetxattr(file, LABEL_ATTRIBUTE, value.as_bytes(), XattrFlags::empty())?;
    }
    Ok(fsync(file)?)
}

fn rename_over(directory: &OwnedFd, temporary: &str, name: &str) -> io::Result<()> {
    match renameat(directory, temporary, directory, name) {
        // An empty directory in the way holds nothing anyone could miss.
        Err(Errno::ISDIR) => {
            unlinkat(directory, name, AtFlags::REMOVEDIR)?;
            Ok(renameat(directory, temporary, directory, name)?)
        }
        renamed => Ok(renamed?),
    }
}

fn remove_if_there(directory: &OwnedFd, name: &str) -> io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn create_directories(path: &Utf8Path, owner: Owner) -> io::Result<()> {
    match mkdirat(CWD, path.as_std_path(), Mode::from_raw_mode(0o755)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        Err(Errno::NOENT) => {
            let (parent, _) = split(path)?;
            create_directories(parent, owner)?;
            mkdirat(CWD, path.as_std_path(), Mode::from_raw_mode(0o755))?;
        }
        Err(error) => return Err(error.into()),
    }
    // The umask took its part of the mode at creation.
    dress(&open_directory(path)?, Attributes { mode: 0o755, owner, label: None })?;
    let (parent, _) = split(path)?;
    Ok(fsync(&open_directory(parent)?)?)
}

/// Makes what was renamed or removed in a directory last over a power cut.
pub(crate) fn sync_directory(path: &Utf8Path) -> io::Result<()> {
    Ok(fsync(&open_directory(path)?)?)
}

fn open_directory(path: &Utf8Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path.as_std_path(), flags, Mode::empty())?)
}

fn split(path: &Utf8Path) -> io::Result<(&Utf8Path, &str)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(Errno::INVAL.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use camino::Utf8PathBuf;

    use super::*;

    fn scratch() -> (tempfile::TempDir, Utf8PathBuf, Attributes) {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(directory.path().to_owned()).unwrap();
        let stat = path.metadata().unwrap();
        let owner = Owner { user: stat.uid(), group: stat.gid() };
        (directory, path, Attributes { mode: 0o640, owner, label: None })
    }

    #[track_caller]
    fn names(path: &Utf8Path) -> Vec<String> {
        let mut names: Vec<String> =
            path.read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_whatever_is_there_but_a_full_directory() {
        let (_keep, root, attributes) = scratch();
        let target = root.join("a");
        let elsewhere = root.join("elsewhere");
        std::fs::write(&elsewhere, "untouched").unwrap();
        let prepare: [&dyn Fn(); 5] = [
            &|| {},
            &|| std::fs::write(&target, "old").unwrap(),
            &|| std::os::unix::fs::symlink(&elsewhere, &target).unwrap(),
            &|| {
                rustix::fs::mknodat(CWD, target.as_std_path(), FileType::Fifo, Mode::RUSR, 0)
                    .unwrap()
            },
            &|| std::fs::create_dir(&target).unwrap(),
        ];
        for make in prepare {
            let _ = std::fs::remove_file(&target);
            make();
            replace(&target, b"new", attributes).unwrap();
            assert!(target.symlink_metadata().unwrap().is_file());
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
            assert_eq!(target.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        }
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "untouched");

        std::fs::remove_file(&target).unwrap();
        std::fs::create_dir(&target).unwrap();
        std::fs::write(target.join("kept"), "").unwrap();
        replace(&target, b"new", attributes).unwrap_err();
        assert_eq!(names(&target), ["kept"]);
        assert_eq!(names(&root), ["a", "elsewhere"], "no temporary file stays");
    }

    #[test]
    fn a_left_over_temporary_file_is_in_nobodys_way() {
        let (_keep, root, attributes) = scratch();
        std::fs::write(root.join(temporary_name("a")), "half").unwrap();
        replace(&root.join("a"), b"whole", attributes).unwrap();
        assert_eq!(names(&root), ["a"]);
    }

    #[test]
    fn only_own_temporary_names() {
        assert!(is_temporary_name(&temporary_name("haproxy.yaml")));
        for name in [".basalt-.tmp", ".haproxy.yaml.tmp", ".basalt-x", "basalt-x.tmp", ".tmp"] {
            assert!(!is_temporary_name(name), "{name}");
        }
    }

    #[test]
    fn removing_twice_and_removing_directories() {
        let (_keep, root, attributes) = scratch();
        replace(&root.join("a"), b"", attributes).unwrap();
        remove(&root.join("a")).unwrap();
        remove(&root.join("a")).unwrap();
        remove(&root.join("missing/a")).unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        remove(&root.join("d")).unwrap_err();
        std::fs::write(root.join("d/f"), "").unwrap();
        remove_directory(&root.join("d")).unwrap_err();
        std::fs::remove_file(root.join("d/f")).unwrap();
        remove_directory(&root.join("d")).unwrap();
        remove_directory(&root.join("d")).unwrap();
    }

    #[test]
    fn directories_are_made_with_their_parents() {
        let (_keep, root, attributes) = scratch();
        let deep = root.join("a/b/c");
        for _ in 0..2 {
            ensure_directory(&deep, Attributes { mode: 0o700, ..attributes }).unwrap();
            assert_eq!(deep.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
            assert_eq!(root.join("a/b").metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        }
        std::os::unix::fs::symlink(&deep, root.join("link")).unwrap();
        ensure_directory(&root.join("link"), attributes).unwrap();
        assert!(root.join("link").is_symlink());
        ensure_own_directory(&root.join("link"), attributes).unwrap();
        assert!(!root.join("link").is_symlink());
        std::fs::write(root.join("file"), "").unwrap();
        ensure_own_directory(&root.join("file"), attributes).unwrap_err();
    }

    #[test]
    fn moving_never_replaces() {
        let (_keep, root, _) = scratch();
        std::fs::create_dir(root.join("to")).unwrap();
        for expected in ["x", "x.1", "x.2"] {
            std::fs::write(root.join("x"), expected).unwrap();
            assert_eq!(move_into(&root.join("x"), &root.join("to")).unwrap(), expected);
        }
        assert_eq!(names(&root.join("to")), ["x", "x.1", "x.2"]);
        assert_eq!(names(&root), ["to"]);
    }

    #[test]
    fn moving_to_another_file_system() {
        let (_keep, root, _) = scratch();
        let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
        let other = Utf8PathBuf::from_path_buf(other.path().to_owned()).unwrap();
        std::fs::write(root.join("file"), "text").unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
        rustix::fs::mknodat(CWD, root.join("pipe").as_std_path(), FileType::Fifo, Mode::RUSR, 0)
            .unwrap();
        for name in ["file", "link", "pipe"] {
            move_into(&root.join(name), &other).unwrap();
        }
        assert_eq!(names(&other), ["file", "link", "pipe"]);
        assert_eq!(std::fs::read_to_string(other.join("file")).unwrap(), "text");
        assert_eq!(names(&root), Vec::<String>::new());
    }

    /// Needs root: `security.*` attributes are for the privileged alone where no SELinux policy decides.
    #[test]
    fn the_label_is_there_when_the_file_appears() {
        let (_keep, root, attributes) = scratch();
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root may set a SELinux label without a policy");
            return;
        }
        let target = root.join("a");
        replace(&target, b"", Attributes { label: Some(POD_CONFIG_LABEL), ..attributes }).unwrap();
        let mut value = vec![0; 100];
        let length =
            rustix::fs::getxattr(target.as_std_path(), LABEL_ATTRIBUTE, &mut value).unwrap();
        assert_eq!(&value[..length], format!("{POD_CONFIG_LABEL}\0").as_bytes());
    }
}
