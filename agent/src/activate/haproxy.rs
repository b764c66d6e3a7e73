//! haproxy takes a certificate: by its runtime API, which touches nothing else; by a reload when that does not work.
//!
//! A transaction on the worker's socket exchanges the certificate in memory: connections that come after it see the new
//! one, nothing is closed, no process starts.
//! <https://docs.haproxy.org/2.6/management.html#9.3-set%20ssl%20cert>
//!
//! A certificate that haproxy refuses is not for nothing: OpenSSL's error stays with the worker's thread, and the next
//! connection that this thread reads from is closed for it (2.6). So what can be known before is checked before: that the
//! set is whole and its key its own, by [`CertificateSet::read`] and when Vault answers.

use basalt_model::node::Certificate;
use basalt_static_pods::control;
use camino::Utf8Path;
use zeroize::Zeroizing;

use super::Way;
use super::set::{CA_FILE, CertificateSet};
use crate::host::Host;
use crate::reload::haproxy::{ask, reload};

/// Longer commands do not fit into haproxy's buffer (`tune.bufsize`), and it closes the connection.
const MOST_COMMAND_BYTES: usize = 16_000;

pub(super) async fn tell(
    host: &Host,
    certificate: &Certificate,
    new: &CertificateSet,
) -> Result<Way, String> {
    let admin = host.real(control::HAPROXY_ADMIN_SOCKET);
    let master = host.real(control::HAPROXY_MASTER_SOCKET);
    let by_runtime = match swap(&admin, certificate, new).await {
        Ok(()) => return Ok(Way::Told("runtime API")),
        Err(reason) => reason,
    };
    if !is_there(&admin).await && !is_there(&master).await {
        return Ok(Way::NotRunning);
    }
    tracing::info!(certificate = %certificate.name, reason = by_runtime, "haproxy is reloaded instead");
    match reload(&master, &admin).await {
        Ok(()) => Ok(Way::Told("reload")),
        Err(error) => Err(format!("by its runtime API: {by_runtime}; by a reload: {error}")),
    }
}

/// Whether anybody listens.
async fn is_there(socket: &Utf8Path) -> bool {
    tokio::net::UnixStream::connect(socket.as_std_path()).await.is_ok()
}

/// Exchanges the certificate in the worker's memory. What was begun and failed is taken back.
async fn swap(
    admin: &Utf8Path,
    certificate: &Certificate,
    new: &CertificateSet,
) -> Result<(), String> {
    let file = control::haproxy_certificate_file(&certificate.directory);
    let combined = new.combined.as_ref().ok_or("the certificate has no `combined.pem`")?;
    let ca_file = format!("{}/{CA_FILE}", certificate.directory);
    let authorities = say(admin, "show ssl ca-file").await?;
    // The issuers first: a leaf of a new issuer is not to be shown before its peers can be held against it.
    if authorities.lines().any(|line| line.split(" - ").next() == Some(ca_file.as_str())) {
        exchange(admin, "ca-file", &ca_file, &new.ca_pem).await?;
    }
    exchange(admin, "cert", &file, combined).await
}

/// One transaction.
async fn exchange(admin: &Utf8Path, kind: &str, file: &str, pem: &[u8]) -> Result<(), String> {
    let set = set_command(kind, file, pem)?;
    let begun = say(admin, &set).await;
    let done = match begun {
        Ok(said)
            if said.contains("Transaction created") || said.contains("Transaction updated") =>
        {
            match say(admin, &format!("commit ssl {kind} {file}")).await {
                Ok(said) if said.contains("Success!") => return Ok(()),
                Ok(said) => Err(first_line(&said)),
                Err(reason) => Err(reason),
            }
        }
        Ok(said) => Err(first_line(&said)),
        Err(reason) => Err(reason),
    };
    // A transaction that stays open would be in the way of the next.
    let _ = say(admin, &format!("abort ssl {kind} {file}")).await;
    done
}

/// `set ssl … <<` with its payload, which ends at the first empty line: so none may be in it.
fn set_command(kind: &str, file: &str, pem: &[u8]) -> Result<Zeroizing<String>, String> {
    let text = std::str::from_utf8(pem).map_err(|_| format!("`{file}` is no text"))?;
    // As large as it may become, so that no copy of the key stays where a smaller one was.
    let mut command = Zeroizing::new(String::with_capacity(text.len() + file.len() + 64));
    command.push_str("set ssl ");
    command.push_str(kind);
    command.push(' ');
    command.push_str(file);
    command.push_str(" <<\n");
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        command.push_str(line);
        command.push('\n');
    }
    if command.len() > MOST_COMMAND_BYTES {
        return Err(format!("`{file}` is too large for a runtime command"));
    }
    Ok(command)
}

async fn say(admin: &Utf8Path, command: &str) -> Result<String, String> {
    ask(admin, command).await.map_err(|error| format!("haproxy does not answer: {error}"))
}

/// What haproxy says of a failure; it names files and reasons, never what is in them.
fn first_line(said: &str) -> String {
    let line =
        said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it says nothing");
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_no_empty_line_and_one_at_its_end() {
        let pem =
            b"-----BEGIN A-----\nx\r\n-----END A-----\n\n  \n-----BEGIN B-----\ny\n-----END B-----";
        let command = set_command("cert", "/c/combined.pem", pem).unwrap();
        let expected = "set ssl cert /c/combined.pem <<\n-----BEGIN A-----\nx\n-----END A-----\n-----BEGIN B-----\ny\n-----END B-----\n";
        assert_eq!(*command, expected);
        // `ask` ends every command with a newline, and so the payload with an empty line.
        let large = vec![b'x'; MOST_COMMAND_BYTES];
        assert!(set_command("cert", "/c", &large).is_err());
        assert!(set_command("cert", "/c", &[0xff]).is_err());
    }
}
