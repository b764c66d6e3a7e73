//! Notices that the clock was set, at once: by a timer of the kernel that is cancelled when that happens (timerfd_create(2),
//! `TFD_TIMER_CANCEL_ON_SET`). Sleeping on the other clocks, one would find out when one wakes.

use std::io;
use std::os::fd::AsFd as _;

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;

/// When the timer would go off by itself: never, as far as nodes are concerned. The kernel takes no later second.
const NEVER: i64 = 1 << 40;

/// Wakes when the machine's clock is set, whether by hand, by a time server that steps it or by a virtual machine's host.
pub(crate) struct Steps {
    /// Not a pipe, but read like one; tokio's way to a file descriptor of another kind asks for unsafe code.
    timer: Receiver,
}

impl Steps {
    /// # Errors
    /// When the kernel gives no timer; then steps are noticed by whoever looks at the clock next.
    pub(crate) fn new() -> io::Result<Steps> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Realtime, flags)?;
        arm(&timer)?;
        Ok(Steps { timer: Receiver::from_owned_fd_unchecked(timer)? })
    }

    /// Waits until the clock is set. What happened since the last call counts.
    ///
    /// # Errors
    /// When the timer cannot be read.
    pub(crate) async fn stepped(&self) -> io::Result<()> {
        loop {
            self.timer.readable().await?;
            let taken = self.timer.try_io(|| {
                let mut count = [0_u8; 8];
                match rustix::io::read(&self.timer, &mut count) {
                    Ok(_) => Ok(()),
                    Err(Errno::CANCELED) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            });
            match taken {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    arm(self.timer.as_fd())?;
                    return Ok(());
                }
            }
        }
    }
}

fn arm(timer: impl std::os::fd::AsFd) -> io::Result<()> {
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
    let once =
        Itimerspec { it_interval: nothing, it_value: Timespec { tv_sec: NEVER, tv_nsec: 0 } };
    match timerfd_settime(timer, flags, &once) {
        Ok(_) => Ok(()),
        // The clock was set while it was armed: the next read says so.
        Err(Errno::CANCELED) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::time::{ClockId, clock_gettime, clock_settime};
    use tokio::time::timeout;

    use super::*;

    /// Sets the clock to what it is, which the kernel counts as a step like any other.
    fn set_clock() -> rustix::io::Result<()> {
        clock_settime(ClockId::Realtime, clock_gettime(ClockId::Realtime))
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_step_is_noticed_within_a_second() {
        let steps = Steps::new().unwrap();
        let quiet = timeout(Duration::from_millis(50), steps.stepped()).await;
        assert!(quiet.is_err(), "nobody set the clock: {quiet:?}");
        if let Err(error) = set_clock() {
            eprintln!("skipped: this process may not set the clock: {error}");
            return;
        }
        for _ in 0..3 {
            let start = Instant::now();
            timeout(Duration::from_secs(1), steps.stepped()).await.unwrap().unwrap();
            assert!(start.elapsed() < Duration::from_secs(1));
            set_clock().unwrap();
        }
    }
}
