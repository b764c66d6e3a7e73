//! The state of systemd units, asked over the system bus.

use std::io;
use std::time::Duration;

use futures_util::StreamExt as _;
use zbus::{OwnedObjectPath, OwnedVariant};

use super::Host;

/// The bus answers within milliseconds; whoever asks for a status does not want to wait for one that does not.
const BUS_TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const BUS_SOCKET_PATH: &str = "/run/dbus/system_bus_socket";
/// The kubelet's unit.
pub(crate) const KUBELET_UNIT: &str = "kubelet.service";
/// A unit may take its time to reload.
const JOB_LIMIT: Duration = Duration::from_secs(15);
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";
const SYSTEMD: &str = "org.freedesktop.systemd1";

/// One unit as systemd sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnitSeen {
    /// There is no unit file of this name.
    NotFound,
    /// `ActiveState` and `SubState`, such as `active` and `running`.
    State { active: String, sub: String },
    /// Cannot be found out; the reason.
    Unknown(String),
}

/// Asks for each of `units`, in order.
pub(crate) async fn units(host: &Host, units: &[&str]) -> Vec<UnitSeen> {
    let unknown = |reason: String| vec![UnitSeen::Unknown(reason); units.len()];
    let socket = host.real(BUS_SOCKET_PATH);
    if !socket.exists() {
        return unknown(format!("no system bus at `{BUS_SOCKET_PATH}`"));
    }
    match tokio::time::timeout(BUS_TIMEOUT, ask(socket.as_str(), units)).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => unknown(format!("the system bus says: {error}")),
        Err(_) => unknown(format!("the system bus did not answer in {} s", BUS_TIMEOUT.as_secs())),
    }
}

/// The run that a unit is in: another one after each start. Absent while it does not run.
///
/// # Errors
/// When systemd cannot be asked.
pub(crate) async fn run_of(host: &Host, unit: &str) -> io::Result<Option<String>> {
    let address = format!("unix:path={}", host.real(BUS_SOCKET_PATH));
    let asking = async {
        let bus = zbus::connection::Builder::address(address.as_str()).build().await?;
        let active = String::try_from(property(&bus, unit, "ActiveState").await?)?;
        let id = Vec::<u8>::try_from(property(&bus, unit, "InvocationID").await?)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        zbus::Result::Ok((active == "active").then_some(id))
    };
    match tokio::time::timeout(BUS_TIMEOUT, asking).await {
        Ok(seen) => seen.map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Queues the restart of a unit; does not wait for it to end.
///
/// # Errors
/// When systemd cannot be asked, or refuses.
pub(crate) async fn restart(host: &Host, unit: &str) -> io::Result<()> {
    let address = format!("unix:path={}", host.real(BUS_SOCKET_PATH));
    let restarting = async {
        let bus = zbus::connection::Builder::address(address.as_str()).build().await?;
        let manager = "org.freedesktop.systemd1.Manager";
        // `fail`: no job that somebody else has queued is pushed aside.
        let job = (unit, "fail");
        let path = "/org/freedesktop/systemd1";
        bus.call_method(Some(SYSTEMD), path, Some(manager), "RestartUnit", &job).await?;
        zbus::Result::Ok(())
    };
    match tokio::time::timeout(BUS_TIMEOUT, restarting).await {
        Ok(restarted) => restarted.map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// What became of a unit that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnitTold {
    /// Its own way to reload was taken.
    Reloaded,
    /// It knows none and was started anew.
    Restarted,
    /// Neither does it run, nor was it started.
    NotRunning,
}

/// Has a running unit read its files again: by its reload when it has one, by a restart otherwise. Waits until the job has
/// ended, at most [`JOB_LIMIT`].
///
/// # Errors
/// When systemd cannot be asked or refuses, or the job fails, with its result.
pub(crate) async fn reload_or_restart(host: &Host, unit: &str) -> Result<UnitTold, String> {
    let socket = host.real(BUS_SOCKET_PATH);
    if !socket.exists() {
        return Err(format!("no system bus at `{BUS_SOCKET_PATH}`"));
    }
    match tokio::time::timeout(JOB_LIMIT, tell(socket.as_str(), unit)).await {
        Ok(Ok(told)) => told,
        Ok(Err(error)) => Err(format!("the system bus says: {error}")),
        Err(_) => Err(format!("systemd has not ended the job in {} s", JOB_LIMIT.as_secs())),
    }
}

async fn tell(socket: &str, unit: &str) -> zbus::Result<Result<UnitTold, String>> {
    let address = format!("unix:path={socket}");
    let bus = zbus::connection::Builder::address(address.as_str()).build().await?;
    match ask_one(&bus, unit).await? {
        UnitSeen::NotFound => return Ok(Err("systemd has no unit file of this name".to_owned())),
        UnitSeen::State { active, .. } if ["inactive", "failed"].contains(&active.as_str()) => {
            return Ok(Ok(UnitTold::NotRunning));
        }
        UnitSeen::State { .. } | UnitSeen::Unknown(_) => {}
    }
    // Before the job exists, or its end could be missed.
    let rule = zbus::MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .sender(SYSTEMD)
        .interface(MANAGER_INTERFACE)
        .member("JobRemoved")
        .build()?;
    let mut ended = zbus::MessageStream::for_match_rule(rule, &bus, None).await?;
    let manager = async |method: &str, body: &(&str, &str)| {
        bus.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER_INTERFACE), method, body).await
    };
    bus.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER_INTERFACE), "Subscribe", &()).await?;
    let can_reload = bool::try_from(property(&bus, unit, "CanReload").await?)?;
    let (method, told) = match can_reload {
        true => ("ReloadUnit", UnitTold::Reloaded),
        false => ("TryRestartUnit", UnitTold::Restarted),
    };
    let job: OwnedObjectPath = manager(method, &(unit, "replace")).await?.body().deserialize()?;
    while let Some(signal) = ended.next().await {
        let signal = signal?;
        let (_, removed, _, result): (u32, OwnedObjectPath, String, String) =
            signal.body().deserialize()?;
        if removed == job {
            return Ok(match result.as_str() {
                "done" => Ok(told),
                other => Err(format!("systemd's job {method} ended with `{other}`")),
            });
        }
    }
    Ok(Err("the system bus closed the connection".to_owned()))
}

async fn ask(socket: &str, units: &[&str]) -> zbus::Result<Vec<UnitSeen>> {
    let address = format!("unix:path={socket}");
    let bus = zbus::connection::Builder::address(address.as_str()).build().await?;
    let mut seen = Vec::new();
    for unit in units {
        seen.push(ask_one(&bus, unit).await?);
    }
    Ok(seen)
}

async fn ask_one(bus: &zbus::Connection, unit: &str) -> zbus::Result<UnitSeen> {
    let text = async |name: &str| -> zbus::Result<String> {
        String::try_from(property(bus, unit, name).await?)
    };
    if text("LoadState").await? == "not-found" {
        return Ok(UnitSeen::NotFound);
    }
    Ok(UnitSeen::State { active: text("ActiveState").await?, sub: text("SubState").await? })
}

async fn property(bus: &zbus::Connection, unit: &str, name: &str) -> zbus::Result<OwnedVariant> {
    // Loading rather than getting: an inactive unit may have been unloaded.
    let answer = bus
        .call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER_INTERFACE), "LoadUnit", &unit)
        .await?;
    let path: OwnedObjectPath = answer.body().deserialize()?;
    let properties = Some("org.freedesktop.DBus.Properties");
    let answer =
        bus.call_method(Some(SYSTEMD), &path, properties, "Get", &(UNIT_INTERFACE, name)).await?;
    answer.body().deserialize()
}
