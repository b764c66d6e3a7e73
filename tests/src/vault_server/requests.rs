//! What the server was asked, from its own log (`log_requests_level`): it has a line for every answer, also for those
//! that an audit device never sees because the server is sealed or has no room for more.

use std::net::IpAddr;

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// The path below `/v1/`.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// Address of the client.
    pub client: IpAddr,
    /// When it was asked, as the server's log has it.
    pub time: String,
}

/// The requests in a server's log. Lines about anything else are passed over.
pub(super) fn parse(log: &str) -> Vec<Request> {
    let mut lines: Vec<&str> = log.lines().filter(|line| line.contains(MARK)).collect();
    // While it is being sealed the server logs twice.
    lines.dedup();
    lines.into_iter().filter_map(request).collect()
}

const MARK: &str = "core: completed_request: ";

fn request(line: &str) -> Option<Request> {
    let (_, rest) = line.split_once(MARK)?;
    let field =
        |name: &str| rest.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let (client, _port) = field("client_address")?.rsplit_once(':')?;
    Some(Request {
        method: field("request_method")?.to_owned(),
        path: field("request_path")?.trim_start_matches("/v1/").to_owned(),
        status: field("status_code")?.parse().ok()?,
        client: client.trim_matches(['[', ']']).parse().ok()?,
        time: field("start_time")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_off_a_real_log() {
        let line = "2026-11-21T17:01:16.846Z [INFO]  core: completed_request: start_time=2026-11-21T17:01:16Z \
                    duration=0ms client_id=\"\" client_address=[::1]:45986 status_code=403 \
                    request_path=/v1/auth/approle/login request_method=POST";
        let log = format!("core: vault is sealed\n{line}\n{line}\nsomething else\n");
        let expected = Request {
            method: "POST".to_owned(),
            path: "auth/approle/login".to_owned(),
            status: 403,
            client: "::1".parse().unwrap(),
            time: "2026-11-21T17:01:16Z".to_owned(),
        };
        assert_eq!(parse(&log), [expected]);
    }
}
