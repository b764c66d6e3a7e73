//! Space that is kept for a full disk: a file that holds nothing, and is given up when there is no other space left.
//!
//! A node whose disk somebody filled is one that has to be told something: the new generation that mends it is a few
//! kilobytes. A write that finds no space fails clean, leaves what was there, and ends its round; after every round
//! [`look_after`] has its say, and the next one, a second later, finds the space.

use std::io;

use camino::Utf8Path;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, fallocate, fsync, openat, renameat, statvfs,
    unlinkat,
};
use rustix::io::Errno;

use super::Host;
use super::files::temporary_name;

/// Where the file is: on the file system that holds what the agent remembers and, on Fedora CoreOS, everything else that
/// it writes.
pub(crate) const DIRECTORY: &str = "/var/lib/basalt";
const NAME: &str = "reserve";

/// How much is kept. Thousands of times what the agent writes in a round; others fill it up as well.
const BYTES: u64 = 32 << 20;
/// With less than this free, the disk is full.
const FULL: u64 = 4 << 20;
/// With more than this free, the reserve may be made: it is not to be what makes the disk full.
const AMPLE: u64 = 4 * BYTES;

/// What is done about the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was made: there is enough space for it.
    Made,
    /// It was given up: there is no other space left.
    GivenUp,
}

/// Makes the reserve, gives it up or leaves it as it is, by how much space is left.
///
/// # Errors
/// When the file system cannot be asked, or does not do it. What is there then is as it was.
pub(crate) fn look_after(host: &Host) -> io::Result<Option<Change>> {
    let directory = host.real(DIRECTORY);
    let file = directory.join(NAME);
    let Space { free, is_set_aside } = Space::look(host)?;
    let change = decide(free, is_set_aside);
    match change {
        Some(Change::Made) => make(&directory)?,
        Some(Change::GivenUp) => unlinkat(CWD, file.as_std_path(), AtFlags::empty())?,
        None => {}
    }
    Ok(change)
}

/// How much space is left, and whether some is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Space {
    /// Bytes that the agent may still write.
    pub(crate) free: u64,
    /// Whether the reserve is there.
    pub(crate) is_set_aside: bool,
}

impl Space {
    /// Looks at the file system of [`DIRECTORY`].
    ///
    /// # Errors
    /// When the file system cannot be asked, or there is no such directory yet.
    pub(crate) fn look(host: &Host) -> io::Result<Space> {
        let directory = host.real(DIRECTORY);
        let space = statvfs(directory.as_std_path())?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        Ok(Space { free, is_set_aside: directory.join(NAME).exists() })
    }

    /// Whether there is too little: nothing is set aside, and not enough to do it.
    pub(crate) fn is_short(&self) -> bool {
        self.free < FULL || (!self.is_set_aside && self.free <= AMPLE)
    }
}

fn decide(free: u64, is_there: bool) -> Option<Change> {
    match is_there {
        true if free < FULL => Some(Change::GivenUp),
        false if free > AMPLE => Some(Change::Made),
        true | false => None,
    }
}

/// Takes the space under a name that means nothing yet, so that a file called reserve is one.
fn make(directory: &Utf8Path) -> io::Result<()> {
    let temporary = directory.join(temporary_name(NAME));
    match unlinkat(CWD, temporary.as_std_path(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(CWD, temporary.as_std_path(), flags, Mode::RUSR | Mode::WUSR)?;
    let made =
        fallocate(&file, FallocateFlags::empty(), 0, BYTES).and_then(|()| fsync(&file)).and_then(
            |()| renameat(CWD, temporary.as_std_path(), CWD, directory.join(NAME).as_std_path()),
        );
    match made {
        Ok(()) => Ok(()),
        // A file system that cannot set space aside; a file full of zeros would be no better than none.
        Err(error) => {
            let _ = unlinkat(CWD, temporary.as_std_path(), AtFlags::empty());
            match error {
                Errno::OPNOTSUPP => Ok(()),
                error => Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn it_is_made_of_plenty_and_given_up_for_want() {
        for (free, is_there, expected) in [
            (0, true, Some(Change::GivenUp)),
            (FULL - 1, true, Some(Change::GivenUp)),
            (FULL, true, None),
            (AMPLE, true, None),
            (0, false, None),
            (AMPLE, false, None),
            (AMPLE + 1, false, Some(Change::Made)),
        ] {
            assert_eq!(decide(free, is_there), expected, "{free} {is_there}");
        }
        for (free, is_set_aside, is_short) in [
            (FULL - 1, true, true),
            (FULL, true, false),
            (BYTES, false, true),
            (AMPLE, false, true),
            (AMPLE + 1, false, false),
        ] {
            assert_eq!(Space { free, is_set_aside }.is_short(), is_short, "{free} {is_set_aside}");
        }
        // Given up, it does not come back by the space that it was itself.
        assert_eq!(decide(FULL + BYTES, false), None);
    }

    #[test]
    fn it_takes_its_space() {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(keep.path()).unwrap();
        std::fs::create_dir_all(root.join("var/lib/basalt")).unwrap();
        let host = Host::at(root).unwrap();
        // A left-over of an interrupted one.
        std::fs::write(root.join("var/lib/basalt").join(temporary_name(NAME)), "half").unwrap();
        let made = look_after(&host).unwrap();
        let metadata = root.join("var/lib/basalt/reserve").metadata();
        match (made, metadata) {
            (Some(Change::Made), Ok(metadata)) => {
                assert_eq!((metadata.len(), metadata.mode() & 0o777), (BYTES, 0o600));
                assert!(metadata.blocks() * 512 >= BYTES);
                assert_eq!(look_after(&host).unwrap(), None);
            }
            (_, Err(_)) => println!("skipped: no space for a reserve here"),
            (made, Ok(_)) => panic!("{made:?}"),
        }
    }
}
