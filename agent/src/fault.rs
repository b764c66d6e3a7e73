//! Where a write can be cut off: before each change of the disk. Tests end the process there; elsewhere nothing happens.

/// Marks the place before a change of the disk.
///
/// # Errors
/// Never, but in tests.
#[cfg(not(test))]
#[inline]
pub(crate) fn point() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) use self::kill::{play, point, tell};

/// Ends processes at their points.
#[cfg(test)]
mod kill {
    use std::io;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    /// Names the point to end at.
    const KILL_AT: &str = "BASALT_TEST_KILL_AT";
    /// What a process says last that nobody killed, before the number of points it has passed.
    const PASSED: &str = "points passed:";

    /// The points passed so far.
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    /// Ends the process by SIGKILL at the point that the environment names, or counts the points.
    pub(crate) fn point() -> io::Result<()> {
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        if std::env::var(KILL_AT).is_ok_and(|at| at == number.to_string()) {
            kill_process(getpid(), Signal::KILL)?;
        }
        Ok(())
    }

    /// Tells [`play`] how many points this process has passed.
    pub(crate) fn tell() {
        println!("{PASSED} {}", COUNT.load(Ordering::SeqCst));
    }

    /// Runs a test in a process of its own, with more variables in its environment, which is killed at the point of this
    /// number. How many points it passed, when it was not.
    pub(crate) fn play(
        test: &str,
        variables: &[(&str, &str)],
        kill_at: Option<usize>,
    ) -> Option<usize> {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        child.envs(variables.iter().copied()).env_remove(KILL_AT);
        if let Some(number) = kill_at {
            child.env(KILL_AT, number.to_string());
        }
        let output = child.output().unwrap();
        if output.status.signal() == Some(9) {
            return None;
        }
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let count = text.split(PASSED).nth(1).unwrap().lines().next().unwrap().trim();
        Some(count.parse().unwrap())
    }
}
