//! Wakes the loop when something changes below the directories it depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;

use camino::Utf8PathBuf;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::net::unix::pipe::Receiver;

use super::files::is_temporary_name;

/// Directories under watch.
///
/// A directory may be missing, vanish or be replaced: each of its parents is watched as well for the one name that
/// leads to it. [`Watcher::watch`] is cheap and called before every round.
pub(crate) struct Watcher {
    /// Not a pipe, but read like one; tokio's way to a file descriptor of another kind asks for unsafe code.
    inotify: Receiver,
    watches: BTreeMap<i32, Names>,
}

/// The names in a watched directory that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    All,
    Only(BTreeSet<String>),
}

/// Changes of a directory and of the files in it, each once it is complete: closing a written file counts, not every
/// write to it.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

impl Watcher {
    pub(crate) fn new() -> io::Result<Watcher> {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let inotify = Receiver::from_owned_fd_unchecked(queue)?;
        Ok(Watcher { inotify, watches: BTreeMap::new() })
    }

    /// Watches exactly these directories from now on.
    ///
    /// # Errors
    /// When the kernel has no watches left or a directory may not be read; the others are watched nevertheless.
    pub(crate) fn watch(&mut self, directories: &BTreeSet<Utf8PathBuf>) -> io::Result<()> {
        let mut wanted: BTreeMap<i32, Names> = BTreeMap::new();
        let mut first_error = None;
        for directory in directories {
            let mut below: Option<&str> = None;
            for place in directory.ancestors() {
                match inotify::add_watch(&self.inotify, place.as_std_path(), CHANGES) {
                    Ok(watch) => add_interest(&mut wanted, watch, below),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(error) => {
                        first_error.get_or_insert(error);
                    }
                }
                below = place.file_name();
            }
        }
        for old in self.watches.keys().filter(|watch| !wanted.contains_key(watch)) {
            // Gone by itself when its directory is.
            let _ = inotify::remove_watch(&self.inotify, *old);
        }
        self.watches = wanted;
        first_error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Waits for the next change that matters.
    ///
    /// # Errors
    /// When the kernel's queue cannot be read; the caller still has its timer.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        loop {
            self.inotify.readable().await?;
            // "Would block" makes the next `readable` wait for more.
            let taken = self.inotify.try_io(|| match self.drain()? {
                true => Ok(()),
                false => Err(io::ErrorKind::WouldBlock.into()),
            });
            match taken {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => return taken,
            }
        }
    }

    /// Forgets all changes so far.
    pub(crate) fn forget(&self) {
        // An error would come up again in `changed`, which can say so.
        let _ = self.drain();
    }

    /// Takes everything from the queue; whether any of it matters.
    fn drain(&self) -> io::Result<bool> {
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut matters = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_string_lossy());
                    matters |= event.events().contains(ReadFlags::QUEUE_OVERFLOW)
                        || self.matters(event.wd(), name.as_deref());
                }
                Err(Errno::AGAIN) => return Ok(matters),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The temporary files are our own doing: were they to count, a write that fails would wake the loop that tries it.
    fn matters(&self, watch: i32, name: Option<&str>) -> bool {
        match (self.watches.get(&watch), name) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(Names::All), Some(name)) => !is_temporary_name(name),
            (Some(Names::Only(names)), Some(name)) => names.contains(name),
        }
    }
}

fn add_interest(wanted: &mut BTreeMap<i32, Names>, watch: i32, below: Option<&str>) {
    let Some(name) = below else {
        wanted.insert(watch, Names::All);
        return;
    };
    match wanted.entry(watch).or_insert_with(|| Names::Only(BTreeSet::new())) {
        Names::All => {}
        Names::Only(names) => {
            names.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Runs `change` and says whether it woke the watcher, which waits for it up to a second (and for what should not
    /// wake it 50 ms).
    async fn wakes(watcher: &Watcher, expected: bool, change: impl FnOnce()) -> bool {
        change();
        let limit = Duration::from_millis(if expected { 1000 } else { 50 });
        tokio::time::timeout(limit, watcher.changed()).await.is_ok()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn wakes_on_what_matters() {
        let keep = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(keep.path().canonicalize().unwrap()).unwrap();
        let directory = root.join("etc/manifests");
        let directories = BTreeSet::from([directory.clone()]);
        let mut watcher = Watcher::new().unwrap();
        watcher.watch(&directories).unwrap();

        type Change<'a> = (&'a str, bool, Box<dyn FnOnce() + 'a>);
        let at = |name: &str| directory.join(name);
        let changes: Vec<Change<'_>> = vec![
            (
                "other name above",
                false,
                Box::new(|| std::fs::create_dir(root.join("usr")).unwrap()),
            ),
            ("parent appears", true, Box::new(|| std::fs::create_dir(root.join("etc")).unwrap())),
            ("appears", true, Box::new(|| std::fs::create_dir(&directory).unwrap())),
            ("file", true, Box::new(|| std::fs::write(at("a"), "x").unwrap())),
            ("temporary", false, Box::new(|| std::fs::write(at(".basalt-a.tmp"), "x").unwrap())),
            ("renamed", true, Box::new(|| std::fs::rename(at(".basalt-a.tmp"), at("a")).unwrap())),
            (
                "parent renamed",
                true,
                Box::new(|| {
                    std::fs::rename(root.join("etc"), root.join("moved")).unwrap();
                }),
            ),
            (
                "in the old place",
                false,
                Box::new(|| {
                    std::fs::write(root.join("moved/manifests/a"), "x").unwrap();
                }),
            ),
            (
                "back",
                true,
                Box::new(|| {
                    std::fs::rename(root.join("moved"), root.join("etc")).unwrap();
                }),
            ),
            ("file again", true, Box::new(|| std::fs::remove_file(at("a")).unwrap())),
            ("removed", true, Box::new(|| std::fs::remove_dir(&directory).unwrap())),
            ("made again", true, Box::new(|| std::fs::create_dir(&directory).unwrap())),
            ("file in the new one", true, Box::new(|| std::fs::write(at("b"), "x").unwrap())),
        ];
        for (name, expected, change) in changes {
            assert_eq!(wakes(&watcher, expected, change).await, expected, "{name}");
            watcher.watch(&directories).unwrap();
        }
    }
}
