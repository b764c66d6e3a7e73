//! Values as podman-run(1) and systemd.time(7) write them.

use super::draft::{Mount, MountSource, Port};

/// Where named volumes are kept on the host, each in a folder with its name.
pub const VOLUMES: &str = "/var/lib/basalt/volumes";

/// A size as podman takes it (`512m`, `1.5g`, `64KiB`; powers of 1024) as a Kubernetes quantity (`512Mi`).
pub(super) fn quantity(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    let power = i32::try_from(power).ok()?;
    let bytes = number.parse::<f64>().ok()? * 1024f64.powi(power);
    if !(0.0..=9e18).contains(&bytes) {
        return None;
    }
    let bytes = bytes.trunc() as u64;
    let fitting = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    let (unit, name) = fitting
        .into_iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit))
        .unwrap_or((1, ""));
    Some(format!("{}{name}", bytes / unit))
}

/// CPUs (`1.5`) as a Kubernetes quantity (`1500m`).
pub(super) fn cpus(text: &str) -> Option<String> {
    let cpus: f64 = text.trim().parse().ok()?;
    let milli = (cpus * 1000.0).round();
    (1.0..=1e9).contains(&milli).then(|| match milli as u64 {
        whole if whole.is_multiple_of(1000) => (whole / 1000).to_string(),
        milli => format!("{milli}m"),
    })
}

/// Whole seconds, rounded up, of a Go duration (`1m30s`) or a systemd time span (`1min 30s`, `90`).
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "ns" | "nsec" => 1e-9,
                "us" | "µs" | "usec" => 1e-6,
                "ms" | "msec" => 1e-3,
                "" | "s" | "sec" | "second" | "seconds" => 1.0,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hr" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86400.0,
                "w" | "week" | "weeks" => 604_800.0,
                _ => return None,
            };
        rest = rest[letters..].trim_start();
    }
    (0.0..=1e9).contains(&total).then(|| total.ceil() as u64)
}

/// A boolean as podman's flags and systemd's settings write it.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// `[[ip:][host]:]container[/protocol]`, with ranges, as `--publish` takes it.
///
/// # Errors
/// Says why there is no such port in a static pod.
pub(super) fn ports(text: &str) -> Result<Vec<Port>, &'static str> {
    const WRONG: &str = "it is not `[[IP:]HOST:]CONTAINER[/PROTOCOL]`";
    let (rest, protocol) = match text.split_once('/') {
        None => (text, "TCP"),
        Some((rest, "tcp")) => (rest, "TCP"),
        Some((rest, "udp")) => (rest, "UDP"),
        Some((rest, "sctp")) => (rest, "SCTP"),
        Some(_) => return Err(WRONG),
    };
    let (rest, container) = rest.rsplit_once(':').unwrap_or(("", rest));
    let (host_ip, host) = match rest.rsplit_once(':') {
        Some((ip, host)) => (Some(ip.trim_start_matches('[').trim_end_matches(']')), host),
        None => (None, rest),
    };
    let host_ip = match host_ip.filter(|ip| !ip.is_empty() && *ip != "0.0.0.0") {
        Some(ip) if ip.parse::<std::net::IpAddr>().is_err() => return Err(WRONG),
        ip => ip.map(str::to_owned),
    };
    let container = range(container).ok_or(WRONG)?;
    let port = |(host, container)| Port { host_ip: host_ip.clone(), host, container, protocol };
    if host.is_empty() {
        return Ok(container.map(|container| port((None, container))).collect());
    }
    let host = range(host).ok_or(WRONG)?;
    if host.len() != container.len() {
        return Err("the two ranges do not have one length");
    }
    Ok(host.map(Some).zip(container).map(port).collect())
}

fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some(first..=last)
}

/// What reading a mount gave: the mount, and options of it that a pod does not have.
pub(super) type Mounted = (Mount, Vec<String>);

/// `[source:]target[:options]`, as `--volume` takes it.
///
/// # Errors
/// Says why there is no such mount in a static pod.
pub(super) fn volume(text: &str) -> Result<Mounted, &'static str> {
    let mut parts = text.splitn(3, ':');
    let first = parts.next().unwrap_or_default();
    let (source, target) = match parts.next() {
        None => (MountSource::Anonymous, first),
        Some(target) => (source(first)?, target),
    };
    let options = parts.next().unwrap_or_default();
    finish(source, target, options.split(',').filter(|option| !option.is_empty()))
}

fn source(text: &str) -> Result<MountSource, &'static str> {
    if text.starts_with('/') {
        return Ok(MountSource::Host(text.to_owned(), ""));
    }
    if text.is_empty() {
        return Ok(MountSource::Anonymous);
    }
    let is_name = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if !is_name || text.starts_with('.') {
        return Err("the path on the host is relative");
    }
    Ok(MountSource::Named(text.to_owned()))
}

/// `type=bind,source=…,destination=…`, as `--mount` takes it.
///
/// # Errors
/// Says why there is no such mount in a static pod.
pub(super) fn mount(text: &str) -> Result<Mounted, &'static str> {
    let (mut kind, mut from, mut target, mut options) = ("volume", "", "", Vec::new());
    let mut size = None;
    let mut part_of_image = None;
    for part in text.split(',') {
        match part.split_once('=').unwrap_or((part, "")) {
            ("type", value) => kind = value,
            ("src" | "source", value) => from = value,
            ("dst" | "destination" | "target", value) => target = value,
            ("tmpfs-size", value) => size = quantity(value),
            ("ro" | "readonly", "" | "true") | ("rw" | "readwrite", "false") => options.push("ro"),
            ("ro" | "readonly", "false") | ("rw" | "readwrite", "" | "true") => options.push("rw"),
            ("bind-propagation", value) => options.push(value),
            ("subpath" | "image-subpath", path) if kind == "image" => {
                part_of_image = Some(path.trim_matches('/').to_owned()).filter(|it| !it.is_empty());
            }
            _ => options.push(part),
        }
    }
    let source = match kind {
        "bind" if from.starts_with('/') => MountSource::Host(from.to_owned(), ""),
        "bind" => return Err("the path on the host is relative"),
        "volume" => source(from)?,
        "tmpfs" | "ramfs" => MountSource::Memory(size),
        "image" if from.is_empty() => return Err("it names no image"),
        "image" => return image(from, part_of_image, target, &options),
        _ => return Err("the kubelet has no mount of this type"),
    };
    finish(source, target, options.into_iter())
}

/// An image is read-only for podman unless `rw` says otherwise, and for the kubelet always.
fn image(
    reference: &str,
    part: Option<String>,
    target: &str,
    options: &[&str],
) -> Result<Mounted, &'static str> {
    let source = MountSource::Image(reference.to_owned(), part);
    let (mut mount, mut other) = finish(source, target, options.iter().copied())?;
    mount.read_only = true;
    // As with `O`, what is written goes nowhere.
    other.extend(options.contains(&"rw").then(|| "O".to_owned()));
    Ok((mount, other))
}

/// `target[:options]`, as `--tmpfs` takes it.
///
/// # Errors
/// Says why there is no such mount in a static pod.
pub(super) fn tmpfs(text: &str) -> Result<Mounted, &'static str> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let size = options.split(',').find_map(|option| quantity(option.strip_prefix("size=")?));
    let options = options.split(',').filter(|o| !o.is_empty() && !o.starts_with("size="));
    finish(MountSource::Memory(size), target, options)
}

fn finish<'o>(
    source: MountSource,
    target: &str,
    options: impl Iterator<Item = &'o str>,
) -> Result<Mounted, &'static str> {
    if !target.starts_with('/') || target == "/" {
        return Err("the path in the container is not an absolute one below `/`");
    }
    let target = target.trim_end_matches('/').to_owned();
    let mut mount = Mount { source, target, read_only: false, propagation: None };
    let mut other = Vec::new();
    for option in options {
        match option {
            "ro" => mount.read_only = true,
            "rw" | "rbind" | "private" | "rprivate" => {}
            "shared" | "rshared" => mount.propagation = Some("Bidirectional"),
            "slave" | "rslave" => mount.propagation = Some("HostToContainer"),
            option => other.push(option.to_owned()),
        }
    }
    Ok((mount, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        for (text, expected) in [
            ("512m", Some("512Mi")),
            ("1.5g", Some("1536Mi")),
            ("1000", Some("1000")),
            ("64KiB", Some("64Ki")),
            ("0", Some("0")),
            ("5x", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(quantity(text).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("1m30s", Some(90)),
            ("1min 30s", Some(90)),
            ("90", Some(90)),
            ("1500ms", Some(2)),
            ("infinity", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        assert_eq!(cpus("1.5").as_deref(), Some("1500m"));
        assert_eq!(cpus("2").as_deref(), Some("2"));
        assert_eq!(cpus("0"), None);
    }

    #[test]
    fn published_ports() {
        let show = |text: &str| {
            ports(text).map(|ports| {
                let show = |p: &Port| {
                    let ip = p.host_ip.as_deref().unwrap_or("*");
                    let host = p.host.map_or("?".to_owned(), |host| host.to_string());
                    format!("{ip} {host}>{}/{}", p.container, p.protocol)
                };
                ports.iter().map(show).collect::<Vec<_>>().join(" ")
            })
        };
        for (text, expected) in [
            ("8080:80", "* 8080>80/TCP"),
            ("127.0.0.1:53:53/udp", "127.0.0.1 53>53/UDP"),
            ("[::1]:80:81", "::1 80>81/TCP"),
            ("80", "* ?>80/TCP"),
            ("127.0.0.1::80", "127.0.0.1 ?>80/TCP"),
            ("0.0.0.0:80-81:90-91", "* 80>90/TCP * 81>91/TCP"),
        ] {
            assert_eq!(show(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["a:b", "1:2/x", "1-2:3", "0:1", "70000:1", "1.2:3:4"] {
            assert!(show(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mounts() {
        let host = |path: &str, kind| MountSource::Host(path.to_owned(), kind);
        for (read, source, target, read_only) in [
            (volume("/a:/b:ro,z"), host("/a", ""), "/b", true),
            (volume("data:/b/"), MountSource::Named("data".to_owned()), "/b", false),
            (volume("/b"), MountSource::Anonymous, "/b", false),
            (mount("type=bind,src=/a,dst=/b,ro=true"), host("/a", ""), "/b", true),
            (
                mount("type=tmpfs,dst=/b,tmpfs-size=1m"),
                MountSource::Memory(Some("1Mi".into())),
                "/b",
                false,
            ),
            (tmpfs("/b:size=64k,mode=1777"), MountSource::Memory(Some("64Ki".into())), "/b", false),
        ] {
            let (mount, _) = read.unwrap();
            assert_eq!(
                (mount.source, mount.target.as_str(), mount.read_only),
                (source, target, read_only)
            );
        }
        let image = |part: Option<&str>| {
            MountSource::Image("r.example/a:1".to_owned(), part.map(str::to_owned))
        };
        for (text, source, other) in [
            ("type=image,source=r.example/a:1,dst=/b", image(None), &[][..]),
            ("type=image,src=r.example/a:1,dst=/b,subpath=/etc/", image(Some("etc")), &[]),
            ("type=image,src=r.example/a:1,dst=/b,rw=true", image(None), &["O".to_owned()]),
            ("type=image,src=r.example/a:1,dst=/b,readwrite=false", image(None), &[]),
        ] {
            let (mount, options) = super::mount(text).unwrap();
            assert_eq!((mount.source, mount.read_only), (source, true), "{text}");
            assert_eq!(options, other, "{text}");
        }
        assert!(mount("type=bind,src=/a,dst=/b,rw=false").unwrap().0.read_only);
        assert!(mount("type=image,dst=/b").is_err());
        for text in ["./a:/b", "/a:b", "/a:/", "a/b:/c"] {
            assert!(volume(text).is_err(), "{text}");
        }
        assert_eq!(volume("/a:/b:U").unwrap().1, ["U"]);
    }
}
