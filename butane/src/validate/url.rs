//! URLs as Go's net/url reads them: what Ignition will fetch at boot is decided there.

use std::net::Ipv6Addr;

use super::data_url;
use crate::version::Spec;

/// What matters of a URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url<'t> {
    /// In lower case.
    pub scheme: String,
    /// Behind the `?`, escapes and all.
    pub query: &'t str,
}

impl Url<'_> {
    pub(crate) fn is_http(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }
}

/// Checks a URL that Ignition is to fetch from, by the rules of `spec`. The error says what is wrong.
pub(crate) fn source(text: &str, spec: Spec) -> Result<(), String> {
    let url = parse(text)?;
    match url.scheme.as_str() {
        "http" | "https" | "tftp" => Ok(()),
        "gs" if spec >= Spec::V3_2 => Ok(()),
        "arn" if spec >= Spec::V3_4 => arn(text, &url),
        "s3" => object_version(&url),
        "data" => match data_url::decode(text) {
            Ok(_) => Ok(()),
            Err(fault) => Err(format!("the data URL cannot be read: {fault}")),
        },
        "" => Err("the URL has no scheme, such as `https:`".to_owned()),
        scheme => Err(format!("Ignition does not fetch over `{scheme}`")),
    }
}

/// An object in S3 may name its version.
fn object_version(url: &Url) -> Result<(), String> {
    let mut versions = url.query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == "versionId").then_some(value)
    });
    match versions.next() {
        Some("") => Err("the `versionId` is empty".to_owned()),
        _ => Ok(()),
    }
}

/// An object in S3 by its Amazon resource name: `arn:aws:s3:::bucket/key`.
fn arn(text: &str, url: &Url) -> Result<(), String> {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let fault = || Err("this is not the name of an object in S3: `arn:aws:s3:::BUCKET/KEY`".into());
    let parts: Vec<&str> = path.splitn(6, ':').collect();
    let [_, partition, "s3", _, _, resource] = parts[..] else { return fault() };
    if partition.starts_with('/') {
        return fault();
    }
    let slashes = path.matches('/').count();
    if slashes < 1 || (resource.starts_with("accesspoint/") && slashes < 2) {
        return fault();
    }
    object_version(url)
}

/// Parses a URL. The error says what is wrong.
pub(crate) fn parse(text: &str) -> Result<Url<'_>, &'static str> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("the URL has a control character");
    }
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    check_escapes(fragment)?;
    let (scheme, rest) = split_scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        if scheme.is_empty() && rest.split('/').next().unwrap_or_default().contains(':') {
            return Err("the URL has a colon, and no scheme before it");
        }
        if scheme.is_empty() {
            check_escapes(rest)?;
        }
        return Ok(Url { scheme, query });
    }
    let mut path = rest;
    if let Some(rest) = rest.strip_prefix("//")
        && (!scheme.is_empty() || !rest.starts_with('/'))
    {
        let end = rest.find('/').unwrap_or(rest.len());
        check_authority(&scheme, &rest[..end])?;
        path = &rest[end..];
    }
    check_escapes(path)?;
    Ok(Url { scheme, query })
}

fn split_scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err("the URL has no scheme before the colon"),
            b':' => return Ok((text[..index].to_ascii_lowercase(), &text[index + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn check_authority(scheme: &str, authority: &str) -> Result<(), &'static str> {
    let host = match authority.rsplit_once('@') {
        None => authority,
        Some((user, host)) => {
            let is_allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
            if !user.bytes().all(is_allowed) {
                return Err("the user in the URL has a character that has to be escaped");
            }
            check_escapes(user)?;
            host
        }
    };
    const PORT: &str = "the port in the URL is not a number";
    if let Some(bracket) = host.rfind('[') {
        let end = host.rfind(']').filter(|_| bracket == 0);
        let end = end.ok_or("the IPv6 address in the URL is not in brackets")?;
        if !is_port(&host[end + 1..]) {
            return Err(PORT);
        }
        let (address, zone) = host[1..end].split_once("%25").unwrap_or((&host[1..end], "x"));
        if address.parse::<Ipv6Addr>().is_err() || zone.is_empty() {
            return Err("what is in brackets in the URL is not an IPv6 address");
        }
        return check_escapes(zone);
    }
    if let Some(first) = host.find(':') {
        // Go allows more colons where schemes of databases have several hosts.
        let is_strict = matches!(scheme, "http" | "https");
        let colon = if is_strict { first } else { host.rfind(':').unwrap_or(first) };
        if !is_port(&host[colon..]) {
            return Err(PORT);
        }
    }
    check_host(host)
}

/// Whether `text` is empty, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty()
        || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn check_host(host: &str) -> Result<(), &'static str> {
    const HOST: &str = "the host in the URL has a character that hosts do not have";
    check_escapes(host)?;
    let mut rest = host;
    while let Some(index) = rest.find('%') {
        // Only bytes of other alphabets may be escaped here.
        if rest.as_bytes()[index + 1] < b'8' && !rest[index..].starts_with("%25") {
            return Err(HOST);
        }
        rest = &rest[index + 3..];
    }
    let is_allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || byte >= 0x80 || b"-_.~!$&'()*+,;=:[]<>\"%".contains(&byte)
    };
    if host.bytes().all(is_allowed) { Ok(()) } else { Err(HOST) }
}

/// Each `%` has two hex digits behind it.
fn check_escapes(text: &str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    let is_hex = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_hexdigit);
    for (index, _) in text.match_indices('%') {
        if !is_hex(index + 1) || !is_hex(index + 2) {
            return Err("a `%` in the URL is not followed by two hex digits");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        for url in [
            "http://example.com",
            "HTTPS://user:pass@example.com:8443/a%20b?c=%zz#d",
            "https://[2001:db8::1]:8443/",
            "https://[fe80::1%25eth0]/",
            "tftp://192.0.2.1/a",
            "s3://bucket/key?versionId=x",
            "s3://bucket/key",
            "gs://bucket/key",
            "data:,a",
            "https:opaque",
            "http://ex%C3%A4mple.com/",
            "http://exämple.com",
            "http://example.com:",
        ] {
            assert_eq!(source(url, Spec::V3_3), Ok(()), "{url}");
        }
        for url in [
            "",
            "a",
            "/a",
            "//example.com",
            ":a",
            "1http://example.com",
            "a_b://c",
            "ftp://example.com",
            "http://exa mple.com",
            "http://example.com/%zz",
            "http://example.com/%2",
            "http://example.com:port",
            "http://a:b:1",
            "http://[::1",
            "http://a[::1]",
            "http://[192.0.2.1]/",
            "http://us er@example.com",
            "http://ex%41mple.com",
            "http://example.com/\n",
            "s3://bucket/key?versionId=",
            "s3://bucket/key?versionId",
            "arn:aws:s3:::bucket/key",
            "data:",
            "http://example.com#%z",
        ] {
            assert!(source(url, Spec::V3_3).is_err(), "{url}");
        }
    }

    #[test]
    fn schemes_by_spec() {
        for (url, since) in [
            ("tftp://a/b", Spec::V3_0),
            ("gs://bucket/key", Spec::V3_2),
            ("arn:aws:s3:::bucket/key", Spec::V3_4),
            ("arn:aws:s3:eu-west-1:1:accesspoint/name/key", Spec::V3_4),
            ("arn:aws:s3:::bucket/key?versionId=a", Spec::V3_4),
        ] {
            for spec in [Spec::V3_0, Spec::V3_1, Spec::V3_2, Spec::V3_3, Spec::V3_4, Spec::V3_7] {
                assert_eq!(source(url, spec).is_ok(), spec >= since, "{url} {spec:?}");
            }
        }
        for url in [
            "arn:aws:s3:::bucket",
            "arn:aws:iam::1:user/a",
            "arn:aws:s3:bucket/key",
            "arn:/aws:s3:::bucket/key",
            "arn:aws:s3:::accesspoint/name",
            "arn:aws:s3:::bucket/key?versionId=",
        ] {
            assert!(source(url, Spec::V3_4).is_err(), "{url}");
        }
    }
}
