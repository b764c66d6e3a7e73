//! The part of the service that keeps certificates: one turn of the engine after the other, and what wakes it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::outside::Outside as _;
use super::report::Report;
use super::time::{UnixSeconds, seconds};
use super::world::World;
use super::{rotate, vault_of};
use crate::host::Host;
use crate::host::watch::Watcher;
use crate::reconcile::background::{Accepted, Said};
use crate::settings::{self, CertificatesOf};

/// However little there is to do, folders are looked at this often.
const LONGEST: Duration = Duration::from_secs(60);
/// Something that is always due does not take the whole processor.
const SHORTEST: Duration = Duration::from_millis(100);

/// Keeps the certificates and secret files of the accepted node fresh, for as long as the service runs.
pub(crate) async fn run(host: Host, mut accepted: Accepted, said: Said<Report>) {
    if let Err(error) = rotate::prepare(&host) {
        tracing::warn!(%error, "nobody can ask for a rotation");
    }
    let mut watcher = Watcher::new();
    if let Err(error) = &watcher {
        tracing::warn!(%error, "files that somebody broke are noticed by the timer only");
    }
    let mut engine: Option<Engine<World>> = None;
    loop {
        let keeper = settings::load(&host).settings.certificates;
        let node = accepted.borrow_and_update().clone();
        let node = node.filter(|_| keeper == CertificatesOf::Agent);
        match (&mut engine, node) {
            (_, None) => {
                engine = None;
                said.say(Report::default());
            }
            (Some(engine), Some(node)) => engine.obey(node),
            (None, Some(node)) => engine = Some(Engine::new(&host, node, World::new(&host))),
        }
        let Some(engine) = &mut engine else {
            tokio::select! {
                changed = accepted.changed() => if changed.is_err() { return },
                // Settings may have changed.
                () = tokio::time::sleep(LONGEST) => {}
            }
            continue;
        };
        // Under watch before the look: what changes while the turn goes on wakes the next one.
        watch(&mut watcher, &host, engine);
        if let Ok(watcher) = &watcher {
            watcher.forget();
        }
        let tended = engine.outside.tend().await;
        let next = engine.work(&mut |report| said.say(report)).await;
        let announced = engine.outside.announce().await;
        let mut report = engine.report();
        report.secrets = engine.outside.secret_rows();
        report.vault = engine.outside.vault_report();
        said.say(report);
        // The turn may have put other folders in the place of those.
        watch(&mut watcher, &host, engine);
        let pause =
            pause(next, tended.into_iter().chain(engine.pause_ends()).chain(announced).min());
        tokio::select! {
            changed = accepted.changed() => if changed.is_err() { return },
            () = changed(&watcher) => {}
            () = engine.outside.pause(pause) => {}
        }
    }
}

async fn changed(watcher: &std::io::Result<Watcher>) {
    match watcher {
        Ok(watcher) => {
            if watcher.changed().await.is_err() {
                std::future::pending().await
            }
        }
        Err(_) => std::future::pending().await,
    }
}

fn watch(watcher: &mut std::io::Result<Watcher>, host: &Host, engine: &Engine<World>) {
    if let Ok(watcher) = watcher
        && let Err(error) = watcher.watch(&directories(host, engine))
    {
        tracing::debug!(%error, "cannot watch every folder of certificates");
    }
}

/// The folders in which a change calls for a look.
fn directories(host: &Host, engine: &Engine<World>) -> BTreeSet<camino::Utf8PathBuf> {
    let certificates = vault_of(engine.node()).into_iter().flat_map(|vault| &vault.certificates);
    let folders = certificates.flat_map(|certificate| {
        let directory = certificate.directory.as_str();
        [host.real(directory), host.real(&format!("{directory}/..data"))]
    });
    folders.chain([host.real(rotate::REQUESTS_DIRECTORY)]).collect()
}

/// How long to wait: until the first thing is due, but not for ever and not for nothing.
fn pause(next: Option<UnixSeconds>, other: Option<Instant>) -> Duration {
    let now = seconds(std::time::SystemTime::now());
    let whole = |left: i64| Duration::from_secs(left.max(0).cast_unsigned());
    let of_clock = next.map(|at| whole(at.saturating_sub(now)));
    let of_timer = other.map(|at| at.saturating_duration_since(Instant::now()));
    of_clock.into_iter().chain(of_timer).min().unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
}
