//! The program of the pause image, in the machine's own words: it sleeps until it is told to stop.
//!
//! As process 1 of a pod it has two duties. Processes that lose their parent become its children, and must not stay as
//! zombies: `SIGCHLD` set to "ignore" makes the kernel clear them away (sigaction(2), `SA_NOCLDWAIT`). And it ends at
//! `SIGTERM` and `SIGINT`, which a process 1 does not by itself: it blocks both and waits for them.
//!
//! ```text
//! rt_sigaction(SIGCHLD, {SIG_IGN}, NULL, 8);
//! rt_sigprocmask(SIG_BLOCK, {SIGINT, SIGTERM}, NULL, 8);
//! while (rt_sigtimedwait({SIGINT, SIGTERM}, NULL, NULL, 8) < 0) {}
//! exit_group(0);
//! ```

use super::elf;
use crate::oci::Architecture;

/// The program as an executable file.
pub(super) fn program(architecture: Architecture) -> Option<Vec<u8>> {
    let (machine, code) = match architecture {
        Architecture::Amd64 => (62, &AMD64[..]),
        Architecture::Arm64 => (183, &ARM64[..]),
        Architecture::Ppc64le | Architecture::S390x => return None,
    };
    let mut code = code.concat();
    assert_eq!(code.len(), DATA_OFFSET, "instructions refer to the data by its place");
    // struct sigaction of both kernels: handler SIG_IGN, then flags, restorer and mask, which are 0.
    for word in [1u64, 0, 0, 0] {
        code.extend(word.to_le_bytes());
    }
    // The signal set: bit n-1 is signal n, here 2 (SIGINT) and 15 (SIGTERM).
    code.extend((1u64 << 1 | 1 << 14).to_le_bytes());
    Some(elf::executable(machine, &code))
}

/// Where the data begins, behind the code.
const DATA_OFFSET: usize = 0x58;

/// One instruction each, as `llvm-mc -triple=x86_64-linux-gnu` assembles it.
const AMD64: [&[u8]; 23] = [
    b"\x48\x8d\x35\x51\x00\x00\x00", // lea rsi, [rip + action]
    b"\xbf\x11\x00\x00\x00",         // mov edi, 17 (SIGCHLD)
    b"\x31\xd2",                     // xor edx, edx
    b"\x41\xba\x08\x00\x00\x00",     // mov r10d, 8
    b"\xb8\x0d\x00\x00\x00",         // mov eax, 13 (rt_sigaction)
    b"\x0f\x05",                     // syscall
    b"\x48\x8d\x35\x56\x00\x00\x00", // lea rsi, [rip + set]
    b"\x31\xff",                     // xor edi, edi (SIG_BLOCK)
    b"\x31\xd2",                     // xor edx, edx
    b"\x41\xba\x08\x00\x00\x00",     // mov r10d, 8
    b"\xb8\x0e\x00\x00\x00",         // mov eax, 14 (rt_sigprocmask)
    b"\x0f\x05",                     // syscall
    b"\x48\x8d\x3d\x3e\x00\x00\x00", // wait: lea rdi, [rip + set]
    b"\x31\xf6",                     // xor esi, esi
    b"\x31\xd2",                     // xor edx, edx
    b"\x41\xba\x08\x00\x00\x00",     // mov r10d, 8
    b"\xb8\x80\x00\x00\x00",         // mov eax, 128 (rt_sigtimedwait)
    b"\x0f\x05",                     // syscall
    b"\x85\xc0",                     // test eax, eax
    b"\x78\xe4",                     // js wait
    b"\x31\xff",                     // xor edi, edi
    b"\xb8\xe7\x00\x00\x00",         // mov eax, 231 (exit_group)
    b"\x0f\x05",                     // syscall
];

/// One instruction each, as `llvm-mc -triple=aarch64-linux-gnu` assembles it.
const ARM64: [&[u8]; 22] = [
    b"\x20\x02\x80\xd2", // mov x0, #17 (SIGCHLD)
    b"\xa1\x02\x00\x10", // adr x1, action
    b"\x02\x00\x80\xd2", // mov x2, #0
    b"\x03\x01\x80\xd2", // mov x3, #8
    b"\xc8\x10\x80\xd2", // mov x8, #134 (rt_sigaction)
    b"\x01\x00\x00\xd4", // svc #0
    b"\x00\x00\x80\xd2", // mov x0, #0 (SIG_BLOCK)
    b"\xe1\x02\x00\x10", // adr x1, set
    b"\x02\x00\x80\xd2", // mov x2, #0
    b"\x03\x01\x80\xd2", // mov x3, #8
    b"\xe8\x10\x80\xd2", // mov x8, #135 (rt_sigprocmask)
    b"\x01\x00\x00\xd4", // svc #0
    b"\x40\x02\x00\x10", // wait: adr x0, set
    b"\x01\x00\x80\xd2", // mov x1, #0
    b"\x02\x00\x80\xd2", // mov x2, #0
    b"\x03\x01\x80\xd2", // mov x3, #8
    b"\x28\x11\x80\xd2", // mov x8, #137 (rt_sigtimedwait)
    b"\x01\x00\x00\xd4", // svc #0
    b"\x40\xff\xff\xb7", // tbnz x0, #63, wait
    b"\x00\x00\x80\xd2", // mov x0, #0
    b"\xc8\x0b\x80\xd2", // mov x8, #94 (exit_group)
    b"\x01\x00\x00\xd4", // svc #0
];

#[cfg(test)]
#[cfg(target_arch = "x86_64")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn started() -> (tempfile::TempDir, Child) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pause");
        fs::write(&file, program(Architecture::Amd64).unwrap()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let child = Command::new(&file).spawn().unwrap();
        (folder, child)
    }

    /// Waits until the program is at its wait: what it has set up before is in force then.
    fn wait_for_the_wait(child: &Child) {
        let path = format!("/proc/{}/syscall", child.id());
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let call = fs::read_to_string(&path).unwrap();
            if call.starts_with("128 ") {
                return;
            }
            assert!(Instant::now() < limit, "{call}");
            sleep(Duration::from_millis(5));
        }
    }

    /// The kernel starts the file, and it does what its text says.
    #[test]
    fn it_ignores_children_and_ends_when_told() {
        for signal in [Signal::TERM, Signal::INT] {
            let (_keep, mut child) = started();
            wait_for_the_wait(&child);
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
            let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
            let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
            assert!(ignored & 1 << 16 != 0, "children are cleared away: {status}");
            let pid = Pid::from_child(&child);
            kill_process(pid, signal).unwrap();
            let status = child.wait().unwrap();
            assert_eq!((status.code(), status.signal()), (Some(0), None));
        }
    }
}
