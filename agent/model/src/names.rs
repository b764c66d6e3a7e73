//! The small texts of the model, each a type that holds only valid values.
//!
//! Every type parses from text ([`FromStr`]), prints as the same text and travels as a JSON string. The error of a
//! failed parse, [`NotA`], reads as the end of a sentence: ``"`x_y` is not an RFC 1123 label"``.

pub mod reference;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::secret_value::quoted;

/// A text that is not what a type asks for. What looks like a secret is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is not {wanted}", quoted(.text))]
pub struct NotA {
    /// The text that was refused.
    pub text: String,
    /// What was wanted, with its article.
    pub wanted: &'static str,
}

/// A text type: what is wanted in words, and the JSON Schema facts about it.
pub trait TextType: Sized + FromStr<Err = NotA> {
    /// What is wanted, with its article: ``an RFC 1123 label``.
    const WANTED: &'static str;
    /// A regular expression (ECMA 262) that every valid text matches, for editors.
    const PATTERN: &'static str;
    /// A valid text.
    const EXAMPLE: &'static str;
}

macro_rules! text_types {
    ($($(#[doc = $doc:literal])+ $name:ident: $wanted:literal, $pattern:literal, $example:literal, $valid:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TextType for $name {
            const WANTED: &'static str = $wanted;
            const PATTERN: &'static str = $pattern;
            const EXAMPLE: &'static str = $example;
        }

        impl FromStr for $name {
            type Err = NotA;
            fn from_str(text: &str) -> Result<Self, NotA> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NotA { text: text.to_owned(), wanted: $wanted })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotA;
            fn try_from(text: String) -> Result<Self, NotA> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

text_types! {
    /// The name of a cluster: an RFC 1123 label.
    ClusterName: "an RFC 1123 label (a-z, 0-9 and `-`, at most 63 characters)", "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "cluster", is_label;
    /// The name of a node: an RFC 1123 label, since it becomes a hostname and a Kubernetes node name. Not a number:
    /// most programs read `10` as the address `0.0.0.10`.
    NodeName: "an RFC 1123 label that is no number (a-z, 0-9 and `-`, at most 63 characters)", "^(?![0-9]+$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "node", |text| is_label(text) && !text.bytes().all(|b| b.is_ascii_digit());
    /// The name of a role: an RFC 1123 label.
    RoleName: "an RFC 1123 label (a-z, 0-9 and `-`, at most 63 characters)", "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "role", is_label;
    /// The name of a static pod: an RFC 1123 label, since it is a file name and part of the pod's name in the cluster.
    PodName: "an RFC 1123 label (a-z, 0-9 and `-`, at most 63 characters)", "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "pod", is_label;
    /// The name of a thing inside a configuration file (a frontend, a certificate, a VRRP instance): an RFC 1123 label.
    ItemName: "an RFC 1123 label (a-z, 0-9 and `-`, at most 63 characters)", "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", "item", is_label;
    /// A DNS name: RFC 1123 labels joined by dots, at most 253 characters.
    DnsName: "a DNS name", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", "host.example", is_dns_name;
    /// A DNS name or an IP address, as a certificate's subject alternative name or a time server is written.
    Host: "a DNS name or an IP address", "^[0-9A-Za-z:.-]+$", "host.example", is_host;
    /// The name of a network interface that is set up: 1 to 15 characters that mean nothing to the files it ends up in
    /// (systemd, NetworkManager, keepalived, shell). Linux would take more. Not `lo`, which is there by itself.
    InterfaceName: "a network interface name (at most 15 of a-z, A-Z, 0-9, `.`, `_` and `-`, no number, not `lo`)", "^(?!([0-9]+|lo|all|default)$)[0-9A-Za-z_][0-9A-Za-z._-]{0,14}$", "eth0", is_interface_name;
    /// The Ethernet address of one network card in lower case with colons, `52:54:00:12:34:56`.
    MacAddress: "an Ethernet address of one network card like `52:54:00:12:34:56`, in lower case", "^(?!00:00:00:00:00:00$)[0-9a-f][02468ace](:[0-9a-f]{2}){5}$", "52:54:00:12:34:56", is_mac_address;
    /// A container image reference that names its manifest by digest, `registry/name[:tag]@sha256:…`.
    ImageReference: "an image reference with a digest (`registry/name@sha256:` and 64 hex digits)", "^[^\\s@]+/[a-z0-9/._-]+(:[0-9A-Za-z_][0-9A-Za-z_.-]{0,127})?@sha256:[0-9a-f]{64}$", "registry.example/image@sha256:0000000000000000000000000000000000000000000000000000000000000000", is_image_reference;
    /// A container registry, with its port where it is not the usual one: `registry.example`, `registry:5000`.
    Registry: "a registry like `registry.example` or `registry:5000`", "^([0-9a-z.-]+|\\[[0-9a-fA-F:.]+\\])(:[0-9]{1,5})?$", "registry.example", reference::is_registry;
    /// A SHA-256 digest: 64 lower-case hex digits.
    Sha256: "a SHA-256 digest (64 hex digits in lower case)", "^[0-9a-f]{64}$", "0000000000000000000000000000000000000000000000000000000000000000", is_sha256;
    /// An absolute path without `.`, `..`, empty parts or a final `/`.
    AbsolutePath: "an absolute path without `..`, `//` or a final `/`", "^/[^\\s]*[^/\\s]$", "/path", is_absolute_path;
    /// A path below some folder: relative, without `.`, `..`, empty parts or a final `/`.
    RelativePath: "a relative path that stays below its folder (no `..`, no leading or final `/`)", "^[^/].*$", "path", is_relative_path;
    /// The name of a file without its folder: letters, digits, `.`, `_` and `-`, not beginning with a dot.
    FileName: "a file name (at most 63 of a-z, A-Z, 0-9, `.`, `_` and `-`, no dot at the beginning)", "^[0-9A-Za-z_][0-9A-Za-z._-]{0,62}$", "file.map", is_file_name;
    /// The name of a systemd unit with its suffix, `haproxy.service`.
    UnitName: "a systemd unit name with its suffix", "^[A-Za-z0-9:_.@\\\\-]+\\.(service|socket|target|timer|path|mount)$", "unit.service", is_unit_name;
    /// The key of a Kubernetes label or taint, `zone` or `lab.example/zone`.
    LabelKey: "a label key (at most 63 letters, digits, `-`, `_` and `.`, with a DNS name and `/` in front at will)", "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[0-9A-Za-z]([0-9A-Za-z._-]{0,61}[0-9A-Za-z])?$", "lab.example/zone", is_label_key;
    /// The value of a Kubernetes label or taint, which may be empty.
    LabelValue: "a label value (at most 63 letters, digits, `-`, `_` and `.`)", "^([0-9A-Za-z]([0-9A-Za-z._-]{0,61}[0-9A-Za-z])?)?$", "value", is_label_value;
    /// A file mode as four octal digits in a string, `\"0640\"`; permission bits only.
    FileMode: "a file mode of four octal digits between \"0000\" and \"0777\"", "^0[0-7]{3}$", "0600", is_file_mode;
    /// A time of day with hours and minutes in a string, `\"02:30\"`.
    TimeOfDay: "a time of day like \"02:30\", between \"00:00\" and \"23:59\"", "^([01][0-9]|2[0-3]):[0-5][0-9]$", "00:00", is_time_of_day;
}

impl TimeOfDay {
    /// Minutes since midnight, 0 to 1439.
    pub fn minutes(&self) -> u16 {
        let (hours, minutes) = self.0.split_once(':').expect("a TimeOfDay holds a `:`");
        let number = |text: &str| text.parse::<u16>().expect("a TimeOfDay holds digits");
        number(hours) * 60 + number(minutes)
    }
}

impl FileMode {
    /// The mode as a number.
    pub fn bits(&self) -> u32 {
        u32::from_str_radix(&self.0, 8).expect("a FileMode holds octal digits")
    }
}

impl LabelKey {
    /// The DNS name in front of the `/`.
    pub fn domain(&self) -> Option<&str> {
        self.0.split_once('/').map(|(domain, _)| domain)
    }
}

impl MacAddress {
    /// The address with hyphens, as iPXE's `${mac:hexhyp}` prints it.
    pub fn hyphenated(&self) -> String {
        self.0.replace(':', "-")
    }
}

impl ImageReference {
    /// The name without the digest: `registry/name`, with the tag where there is one.
    pub fn name(&self) -> &str {
        self.0.split('@').next().unwrap_or_default()
    }

    /// The name without tag and digest: `registry/name`.
    pub fn repository(&self) -> &str {
        let name = self.name();
        // A colon behind the last slash begins the tag; one before it belongs to the registry's port.
        match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => name,
        }
    }

    /// The manifest digest, `sha256:…`.
    pub fn digest(&self) -> &str {
        self.0.rsplit('@').next().expect("an ImageReference holds an `@`")
    }
}

impl Host {
    /// The IP address, when that is what the host is.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }
}

/// An IP address and a TCP or UDP port, `192.0.2.1:6443` or `[2001:db8::1]:6443`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Endpoint(pub SocketAddr);

impl TextType for Endpoint {
    const WANTED: &'static str =
        "an IP address with a port, like `192.0.2.1:6443` or `[2001:db8::1]:6443`";
    const PATTERN: &'static str = "^(\\[[0-9a-fA-F:.]+\\]|[0-9.]+):[0-9]{1,5}$";
    const EXAMPLE: &'static str = "192.0.2.1:6443";
}

impl FromStr for Endpoint {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Self, NotA> {
        match text.parse::<SocketAddr>() {
            // `[fe80::1%2]` names an interface by its number on one machine; haproxy takes no such thing.
            Ok(address) if address.port() != 0 && !text.contains('%') => Ok(Self(address)),
            _ => Err(NotA { text: text.to_owned(), wanted: Self::WANTED }),
        }
    }
}

/// An IP address with the prefix length of its network, `192.0.2.11/24`: an interface's own address, not the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr(pub ipnet::IpNet);

impl Cidr {
    /// The address without the prefix length.
    pub fn address(&self) -> IpAddr {
        self.0.addr()
    }

    /// Whether `address` lies in this address's network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl TextType for Cidr {
    const WANTED: &'static str = "a CIDR address like `192.0.2.11/24` or `2001:db8::11/64`";
    const PATTERN: &'static str = "^[0-9a-fA-F:.]+/[0-9]{1,3}$";
    const EXAMPLE: &'static str = "192.0.2.11/24";
}

impl FromStr for Cidr {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Self, NotA> {
        text.parse().map(Self).map_err(|_| NotA { text: text.to_owned(), wanted: Self::WANTED })
    }
}

/// What serde and messages need of a type that is another type's text.
macro_rules! as_text {
    ($($name:ident)+) => {$(
        impl TryFrom<String> for $name {
            type Error = NotA;
            fn try_from(text: String) -> Result<Self, NotA> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}
as_text!(Endpoint Cidr);

fn is_time_of_day(text: &str) -> bool {
    let number = |text: &str, end: u8| {
        text.len() == 2
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u8>().is_ok_and(|number| number < end)
    };
    text.split_once(':').is_some_and(|(hours, minutes)| number(hours, 24) && number(minutes, 60))
}

fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// A name whose last label is all digits would be read as an IP address by most programs (RFC 3696 section 2), so it
/// has to be one.
fn is_host(text: &str) -> bool {
    let looks_like_ip =
        text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.parse::<IpAddr>().is_ok() || (!looks_like_ip && is_dns_name(text))
}

/// Within the rules of `dev_valid_name` in Linux's net/core/dev.c, and within those of systemd's `ifname_valid`, which
/// refuses numbers (they would be indexes) and the names of two folders of `/proc/sys/net`.
fn is_interface_name(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=15).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with(['.', '-'])
        && !text.bytes().all(|b| b.is_ascii_digit())
        && !["lo", "all", "default"].contains(&text)
}

/// Of one card: neither all zeros nor a group's, which has the lowest bit of the first byte (IEEE 802 section 8.2).
fn is_mac_address(text: &str) -> bool {
    let byte = |part: &str| match part.len() == 2 && is_lower_hex(part) {
        true => u8::from_str_radix(part, 16).ok(),
        false => None,
    };
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    bytes.is_some_and(|bytes| bytes.len() == 6 && bytes != [0; 6] && bytes[0] & 1 == 0)
}

fn is_image_reference(text: &str) -> bool {
    match text.split_once("@sha256:") {
        Some((name, hex)) => reference::is_name(name) && is_sha256(hex),
        None => false,
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && is_lower_hex(text)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_absolute_path(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(is_relative_path)
}

fn is_relative_path(text: &str) -> bool {
    !text.is_empty()
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !text.chars().any(|c| c.is_control())
}

fn is_file_name(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=63).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with(['.', '-'])
}

fn is_unit_name(text: &str) -> bool {
    let suffixes = [".service", ".socket", ".target", ".timer", ".path", ".mount"];
    let is_unit_character = |b: u8| b.is_ascii_alphanumeric() || b":_.@\\-".contains(&b);
    text.len() <= 255
        && text.bytes().all(is_unit_character)
        && suffixes
            .iter()
            .any(|suffix| text.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_dns_name(domain) && !name.is_empty() && is_label_value(name),
        None => !text.is_empty() && is_label_value(text),
    }
}

fn is_label_value(text: &str) -> bool {
    let is_end = |b: &u8| b.is_ascii_alphanumeric();
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    text.len() <= 63
        && text.as_bytes().first().is_none_or(is_end)
        && text.as_bytes().last().is_none_or(is_end)
        && text.bytes().all(is_inner)
}

fn is_file_mode(text: &str) -> bool {
    text.len() == 4 && text.starts_with('0') && text.bytes().all(|b| (b'0'..=b'7').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: TextType>(good: &[&str], bad: &[&str]) {
        for text in [T::EXAMPLE].iter().chain(good) {
            assert!(text.parse::<T>().is_ok(), "{text:?} should be {}", T::WANTED);
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} should not be {}", T::WANTED);
        }
    }

    #[test]
    fn texts() {
        let long = "a".repeat(64);
        check::<ClusterName>(&["a"], &["A"]);
        check::<RoleName>(&["a"], &["A"]);
        check::<PodName>(&["a"], &["A"]);
        check::<ItemName>(&["a"], &["A"]);
        check::<DnsName>(&["a", "a.b"], &["a..b", "A"]);
        check::<Registry>(&["a:5000"], &["a:b"]);
        check::<Sha256>(&[], &["0", "sha256:0"]);
        check::<NodeName>(&["n1", "0a", "a-b"], &["", "10", "-a", "a-", "A", "a_b", "a.b", &long]);
        check::<Host>(
            &["time.example", "192.0.2.1", "2001:db8::1"],
            &["", "192.0.2.300", "a..b", "fe80::g", "1.2.3"],
        );
        check::<InterfaceName>(
            &["eth0", "bond0.100", "enp1s0f0np0", "wan_2", "Eth-1"],
            &[
                "",
                "a/b",
                "a b",
                "..",
                ".a",
                "-a",
                "abcdefghijklmnop",
                "lo",
                "all",
                "default",
                "12",
                "*",
                "\"",
                "a;b",
                "%i",
                "#x",
                "$a",
                "ä",
            ],
        );
        check::<MacAddress>(
            &["52:54:00:12:34:56"],
            &[
                "52:54:00:12:34",
                "52-54-00-12-34-56",
                "52:54:00:12:34:5G",
                "52:54:00:AA:34:56",
                "00:00:00:00:00:00",
                "ff:ff:ff:ff:ff:ff",
                "01:00:5e:00:00:01",
            ],
        );
        let hex = "0123456789abcdef".repeat(4);
        check::<ImageReference>(
            &[&format!("r.example/a/b:1@sha256:{hex}"), &format!("localhost/a@sha256:{hex}")],
            &[
                "r.example/a:1",
                &format!("a@sha256:{hex}"),
                &format!("r.example/a@sha256:{}", &hex[1..]),
                &format!("r.example//a@sha256:{hex}"),
                &format!("r.example/A:@sha256:{hex}"),
                &format!("r.example/a:b:c@sha256:{hex}"),
            ],
        );
        check::<AbsolutePath>(
            &["/a", "/a/b.c"],
            &["", "/", "a", "/a/", "/a/../b", "//a", "/a/./b"],
        );
        check::<RelativePath>(&["a", "a/b"], &["", "/a", "a/", "../a", "a//b"]);
        check::<UnitName>(
            &["a.service", "a@b.service"],
            &["a", ".service", "a b.service", "a/b.service"],
        );
        check::<TimeOfDay>(&["00:00", "23:59"], &["24:00", "00:60", "0:00", "00:00:00", "+1:00"]);
        check::<FileMode>(&["0640", "0000"], &["640", "1755", "0888", "00640"]);
        check::<Endpoint>(
            &["192.0.2.1:6443", "[::1]:80"],
            &["192.0.2.1", "192.0.2.1:0", "host:80", "::1:80", "[fe80::1%2]:80", "[fe80::1%0]:80"],
        );
        check::<Cidr>(&["192.0.2.1/24", "2001:db8::1/64"], &["192.0.2.1", "192.0.2.1/33"]);
    }

    #[test]
    fn parts_of_an_image_reference() {
        let digest = format!("sha256:{}", "1".repeat(64));
        for (name, repository) in [
            ("r.example:5000/a/b:1", "r.example:5000/a/b"),
            ("r.example:5000/a", "r.example:5000/a"),
            ("localhost/a:1", "localhost/a"),
        ] {
            let reference: ImageReference = format!("{name}@{digest}").parse().unwrap();
            assert_eq!(
                (reference.name(), reference.repository(), reference.digest()),
                (name, repository, digest.as_str())
            );
        }
    }

    #[test]
    fn file_mode_bits() {
        assert_eq!("0640".parse::<FileMode>().unwrap().bits(), 0o640);
    }
}
