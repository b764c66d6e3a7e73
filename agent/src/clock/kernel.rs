//! Whether the kernel's clock is kept in time: systemd-timedated asks the kernel (adjtimex(2)) and says so on the system
//! bus, whichever program does the keeping. Asked there, since the call itself has no safe form in Rust.

use std::time::Duration;

use zbus::OwnedVariant;

use crate::host::Host;
use crate::host::systemd::BUS_SOCKET_PATH;

/// timedated is started by the question; that takes a moment.
const LIMIT: Duration = Duration::from_secs(3);

/// `None` when nobody can say.
pub(crate) async fn is_synchronised(host: &Host) -> Option<bool> {
    let socket = host.real(BUS_SOCKET_PATH);
    if !socket.exists() {
        return None;
    }
    match tokio::time::timeout(LIMIT, ask(socket.as_str())).await {
        Ok(Ok(is_synchronised)) => Some(is_synchronised),
        Ok(Err(error)) => {
            tracing::debug!(%error, "timedated does not say whether the clock is synchronised");
            None
        }
        Err(_) => None,
    }
}

async fn ask(socket: &str) -> zbus::Result<bool> {
    let address = format!("unix:path={socket}");
    let bus = zbus::connection::Builder::address(address.as_str()).build().await?;
    let service = "org.freedesktop.timedate1";
    let answer = bus
        .call_method(
            Some(service),
            "/org/freedesktop/timedate1",
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &(service, "NTPSynchronized"),
        )
        .await?;
    let value: OwnedVariant = answer.body().deserialize()?;
    bool::try_from(value)
}
