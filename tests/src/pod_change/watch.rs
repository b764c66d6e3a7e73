//! Which pods run a program, all the time: whether there ever were two.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::PodNode;

/// Looks all the time at which pods have a process of a program, and remembers the moments with more than one.
pub struct Watch {
    is_stopping: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What a [`Watch`] saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// How often it looked.
    pub looks: u64,
    /// Pods, by UID, that ran at one moment, where there was more than one.
    pub together: BTreeSet<Vec<String>>,
    /// All pods that ran.
    pub pods: BTreeSet<String>,
}

impl Watch {
    /// Looks at the pods of one node from now on.
    pub fn start(node: &PodNode, program: &'static str) -> Watch {
        let group = node.machine.cgroup();
        let group = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopping);
        let look = move || {
            let mut seen = Seen::default();
            while !stop.load(Ordering::Relaxed) {
                let now: BTreeSet<String> = pods_with(program, &group);
                if now.len() > 1 {
                    seen.together.insert(now.iter().cloned().collect());
                }
                seen.pods.extend(now);
                seen.looks += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        };
        Watch { is_stopping, thread: std::thread::spawn(look) }
    }

    /// Ends the looking.
    ///
    /// # Panics
    /// When the looking did.
    pub fn stop(self) -> Seen {
        self.is_stopping.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watch does not panic")
    }
}

/// UIDs of the pods below `group` in which `program` runs, by the control groups of its processes. Zombies do not count.
fn pods_with(program: &str, group: &str) -> BTreeSet<String> {
    let pod_of = |process: &Path| {
        let name = fs::read_to_string(process.join("comm")).ok()?;
        let stat = fs::read_to_string(process.join("stat")).ok()?;
        let is_dead = stat.rsplit(')').next()?.trim_start().starts_with(['Z', 'X']);
        if name.trim() != program || is_dead {
            return None;
        }
        let groups = fs::read_to_string(process.join("cgroup")).ok()?;
        let below = groups.split(group).nth(1)?.split("kubepods").nth(1)?;
        let uid = below.split("/pod").nth(1)?.split(['/', '\n']).next()?;
        Some(uid.to_owned())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.flatten().filter_map(|entry| pod_of(&entry.path())).collect()
}
