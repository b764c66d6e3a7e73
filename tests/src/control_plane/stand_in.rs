//! What stands at the API server's address in its place: the real haproxy with its certificate and fixed answers.

use std::fmt::Write;
use std::path::Path;

/// What the stand-in says to a request.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// The path that is asked for, without its query.
    pub path: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Its body, JSON.
    pub body: &'a str,
}

/// A configuration of haproxy that gives these answers, and `otherwise` as the status of all others.
pub(super) fn config(
    bind: &str,
    certificate: &Path,
    client_ca: &Path,
    answers: &[Answer<'_>],
    otherwise: u16,
) -> String {
    let mut text = format!(
        "global\n  maxconn 200\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n\
         frontend api\n  bind {bind} ssl crt {} ca-file {} verify optional alpn http/1.1\n",
        certificate.display(),
        client_ca.display(),
    );
    for Answer { path, status, body } in answers {
        let body = body.replace('\\', "\\\\").replace('\'', "'\\''");
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "  http-request return status {status} content-type application/json string '{body}' if {{ path {path} }}"
        );
    }
    let _ = writeln!(
        text,
        "  http-request return status {otherwise} content-type text/plain string 'out of order'"
    );
    text
}
