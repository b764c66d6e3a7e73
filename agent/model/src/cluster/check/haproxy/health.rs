//! Health checks of haproxy's servers: requests that are one line, TLS where haproxy can speak it.

use super::trust_anchor;
use crate::decode::Located;
use crate::input::{ClusterInput, FrontendInput, HealthCheckInput};
use crate::node::ProxyMode;
use crate::report::Report;

pub(super) fn check(
    input: &ClusterInput,
    frontend: &FrontendInput,
    check: &Located<HealthCheckInput>,
    report: &mut Report,
) {
    if let Some(path) = &check.value.path {
        let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/-._~%?=&".contains(c));
        if !path.starts_with('/') || !is_plain {
            report
                .error(path.place, &path.path, "not the path of an HTTP request")
                .hint("write it like `/healthz`");
        }
    } else if check.host.is_some() && report.is_whole(&check.path) {
        report
            .error(
                check.place,
                format!("{}.host", check.path),
                "nothing is asked for without a `path`",
            )
            .hint("add `path`, or remove `host`");
    }
    if !is_statuses(&check.status) {
        report
            .error(check.status.place, &check.status.path, "not a list of HTTP statuses")
            .hint("write `200`, `200-299` or `200,401`");
    }
    tls(input, frontend, check, report);
}

/// The check speaks to the servers as the traffic does. Over bytes that haproxy does not look into, it may speak TLS by
/// itself.
fn tls(
    input: &ClusterInput,
    frontend: &FrontendInput,
    check: &Located<HealthCheckInput>,
    report: &mut Report,
) {
    let sends_plain = frontend.mode == ProxyMode::Http || frontend.certificate.is_some();
    let (place, path) = match &check.value.path {
        Some(path) => (path.place, path.path.as_str()),
        None => (check.place, check.path.as_str()),
    };
    if check.tls && frontend.server_tls.is_some() {
        report
            .error(
                place,
                path,
                "the check goes over TLS already, as all of it does by `server_tls`",
            )
            .hint("leave `tls` out");
    } else if check.tls && sends_plain {
        report
            .error(
                place,
                path,
                "haproxy speaks to these servers without TLS, and cannot check them with it",
            )
            .hint("carry the bytes with `mode: tcp` and no certificate, or say `server_tls`");
    }
    if let Some(ca) = &check.ca {
        trust_anchor(input, ca, report);
        if !check.tls && report.is_whole(&check.path) {
            report
                .error(ca.place, &ca.path, "there is no certificate to verify without `tls`")
                .hint("add `tls: true`");
        }
    } else if let Some(name) = &check.server_name
        && report.is_whole(&check.path)
    {
        report
            .error(name.place, &name.path, "a name is verified only together with `ca`")
            .hint("name the trust anchor that signs the servers' certificates");
    }
}

/// Statuses as `http-check expect status` takes them: `200`, `200-299`, several with commas.
fn is_statuses(text: &str) -> bool {
    let number = |text: &str| {
        text.parse::<u16>().ok().filter(|number| text.len() == 3 && (100..=599).contains(number))
    };
    text.split(',').all(|part| match part.split_once('-') {
        Some((first, last)) => {
            matches!((number(first), number(last)), (Some(a), Some(b)) if a <= b)
        }
        None => number(part).is_some(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn statuses() {
        for fine in ["200", "200-299", "200,401", "200-204,301-302,401"] {
            assert!(super::is_statuses(fine), "{fine}");
        }
        for bad in ["", "99", "600", "2000", "299-200", "200,", "200 401", "+200", "200-"] {
            assert!(!super::is_statuses(bad), "{bad}");
        }
    }
}
