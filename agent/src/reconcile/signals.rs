//! What wakes or ends the loop besides changes of files: signals, systemd's watchdog, the node's addresses.

use std::future::pending;
use std::io;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::host::{Host, service};
use crate::wire::links;

/// What reaches the loop from outside besides changes.
pub(super) struct Signals {
    pub(super) stop: Stop,
    pub(super) hang_up: Signal,
    pub(super) watchdog: Option<tokio::time::Interval>,
    /// Of this machine; another one's tree has no network.
    pub(super) links: Option<links::Watch>,
}

/// SIGTERM and SIGINT.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Waits for something that takes a while; `None` when a stop is asked for first.
    pub(super) async fn while_running<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.stop.wait() => return None,
                () = watchdog_tick(&mut self.watchdog) => {}
                done = &mut work => return Some(done),
            }
        }
    }

    pub(super) fn new(host: &Host) -> io::Result<Signals> {
        let watchdog = sd_notify::watchdog_enabled().map(|limit| {
            let mut interval = interval((limit / 2).max(Duration::from_millis(1)));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let links = match host.is_this_machine().then(links::Watch::new).transpose() {
            Ok(links) => links,
            Err(error) => {
                tracing::warn!(%error, "changed addresses are noticed by the timer only");
                None
            }
        };
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hang_up = signal(SignalKind::hangup())?;
        Ok(Signals { stop: Stop { terminate, interrupt }, hang_up, watchdog, links })
    }
}

impl Stop {
    pub(super) async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Whether a stop has been asked for; does not wait for it.
    pub(super) async fn is_requested(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.wait() => true,
            // Gives the runtime the turn in which it sees signals.
            () = tokio::task::yield_now() => false,
        }
    }
}

/// Tells systemd at half its watchdog's time that the loop goes round.
pub(super) async fn watchdog_tick(watchdog: &mut Option<tokio::time::Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
            service::notify(&[NotifyState::Watchdog]);
        }
        None => pending().await,
    }
}

/// Waits until the node's addresses change.
pub(super) async fn links_changed(links: &mut Option<links::Watch>) {
    match links {
        Some(links) => links.changed().await,
        None => pending().await,
    }
}
