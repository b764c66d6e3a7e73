//! The state of systemd units, asked over the system bus.

use std::io;
use std::time::Duration;

use zbus::{OwnedObjectPath, OwnedVariant};

use super::Host;

/// The bus answers within milliseconds; whoever asks for a status does not want to wait for one that does not.
const BUS_TIMEOUT: Duration = Duration::from_secs(2);
const BUS_SOCKET_PATH: &str = "/run/dbus/system_bus_socket";
/// The kubelet's unit.
pub(crate) const KUBELET_UNIT: &str = "kubelet.service";
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
    let manager = "org.freedesktop.systemd1.Manager";
    // Loading rather than getting: an inactive unit may have been unloaded.
    let answer = bus
        .call_method(Some(SYSTEMD), "/org/freedesktop/systemd1", Some(manager), "LoadUnit", &unit)
        .await?;
    let path: OwnedObjectPath = answer.body().deserialize()?;
    let property = async |name: &str| -> zbus::Result<String> {
        let interface = "org.freedesktop.systemd1.Unit";
        let answer = bus
            .call_method(
                Some(SYSTEMD),
                &path,
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &(interface, name),
            )
            .await?;
        let value: OwnedVariant = answer.body().deserialize()?;
        String::try_from(value)
    };
    if property("LoadState").await? == "not-found" {
        return Ok(UnitSeen::NotFound);
    }
    Ok(UnitSeen::State { active: property("ActiveState").await?, sub: property("SubState").await? })
}
