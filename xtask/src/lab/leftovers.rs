//! What a lab that ended may have left behind.

use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::scratch;

/// Clears away what ended without doing so, and gives what is left all the same, one line each: mounts and files of labs
/// without a living owner, and processes of them and of the machines that have just ended.
///
/// # Errors
/// When it cannot be found out.
pub(super) fn clear(ended: &[String]) -> Result<Vec<String>> {
    let folders = scratch::sweep_abandoned()?;
    let mut left: Vec<String> =
        folders.iter().map(|folder| format!("  files in {}", folder.display())).collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let below = |point: &str| folders.iter().any(|folder| Path::new(point).starts_with(folder));
    left.extend(
        mount_points(&mounts).filter(|point| below(point)).map(|point| format!("  mount {point}")),
    );
    let is_of = |lab: &str| {
        ended.iter().any(|name| name == lab) || folders.iter().any(|folder| folder.ends_with(lab))
    };
    for process in fs::read_dir("/proc")?.flatten() {
        let folder = process.path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let groups = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        let Some(lab) = lab_of(&groups).filter(|lab| is_of(lab)) else { continue };
        let program = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        left.push(format!("  process {name} ({}) of {lab}", program.trim()));
    }
    left.sort();
    Ok(left)
}

fn mount_points(mountinfo: &str) -> impl Iterator<Item = &str> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4))
}

/// The machine whose cgroup a process is in, by its `/proc/PID/cgroup`.
fn lab_of(groups: &str) -> Option<&str> {
    let parts = groups.lines().flat_map(|line| line.split('/'));
    parts.filter_map(|part| part.strip_prefix("basalt-")).find(|name| name.starts_with("lab-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_and_processes_are_told_by_their_names() {
        let mounts = "36 35 98:0 / /cache/scratch/lab-1/root rw - overlay x rw\n37 35 98:0 / /home rw - ext4 x rw\n";
        let found: Vec<&str> = mount_points(mounts).collect();
        assert_eq!(found, ["/cache/scratch/lab-1/root", "/home"]);
        assert_eq!(lab_of("4:cpu:/x/basalt-lab-aB1/system.slice\n0::/\n"), Some("lab-aB1"));
        assert_eq!(lab_of("0::/user.slice/basalt-agent.service\n"), None);
    }
}
