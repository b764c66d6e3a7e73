//! The earliest that it can be: what lies on the node was made before now.
//!
//! Files carry no time that helps: an image is the same bytes every time, with its clock at zero. So the floor comes from
//! what is dated inside: the base system's release, what the agent was built from, the certificates that Vault has signed
//! for this node, the trust anchors.

use basalt_model::node::Node;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::TOLERANCE;
use crate::activate::certificates_in;
use crate::host::{Host, look};

/// Where the base system says what it is.
const RELEASE_PATH: &str = "/usr/lib/os-release";

/// The time of the newest of this program's sources, when whoever built it has said so.
/// <https://reproducible-builds.org/specs/source-date-epoch/>
const BUILT: Option<&str> = option_env!("SOURCE_DATE_EPOCH");

/// The earliest that it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    /// In seconds since the Unix epoch.
    pub(crate) unix_seconds: i64,
    /// What is as old as that.
    pub(crate) source: String,
}

/// Looks at everything on the host that has a date.
pub(crate) fn find(host: &Host, node: &Node) -> Floor {
    let release = look::read_behind(&host.real(RELEASE_PATH)).unwrap_or_default();
    let release = String::from_utf8_lossy(&release).into_owned();
    let anchors = node.trust_anchors.iter().flat_map(|(name, pem)| {
        dates(pem.as_bytes()).into_iter().map(move |date| (date, format!("trust anchor `{name}`")))
    });
    let own = node.vault.iter().flat_map(|vault| &vault.certificates).flat_map(|certificate| {
        let chain = format!("{}/certificate.pem", certificate.directory);
        let combined = format!("{}/combined.pem", certificate.directory);
        let read = |path: &String| {
            zeroize::Zeroizing::new(look::read_behind(&host.real(path)).unwrap_or_default())
        };
        let dates =
            [chain, combined].iter().flat_map(|path| dates(&read(path))).collect::<Vec<_>>();
        dates.into_iter().map(move |date| (date, format!("certificate `{}`", certificate.name)))
    });
    let built = BUILT.and_then(|seconds| seconds.parse().ok());
    let built = built.map(|seconds: i64| (seconds, "the build of the agent".to_owned()));
    let base =
        release_date(&release).map(|date| (date, "the release of the base system".to_owned()));
    highest(anchors.chain(own).chain(built).chain(base))
}

/// The newest of all dates. A placeholder that the node signed itself in a wrong time would be none: those who look skip it.
fn highest(dates: impl Iterator<Item = (i64, String)>) -> Floor {
    let newest = dates.max_by_key(|(date, _)| *date);
    let (unix_seconds, source) = newest.unwrap_or((0, "the Unix epoch".to_owned()));
    Floor { unix_seconds, source }
}

/// When the certificates in PEM text that others have signed began to be valid. One may be dated a little into the future.
fn dates(pem: &[u8]) -> Vec<i64> {
    let begin = |der: CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let is_own_placeholder =
            certificate.subject() == certificate.issuer() && !certificate.is_ca();
        let begin = certificate.validity().not_before.timestamp();
        let slack = i64::try_from(TOLERANCE.as_secs()).unwrap_or(0);
        (!is_own_placeholder).then_some(begin - slack)
    };
    certificates_in(pem).into_iter().filter_map(begin).collect()
}

/// The day in a version like `42.20250803.3.0`, as Fedora CoreOS numbers itself, at its beginning.
fn release_date(release: &str) -> Option<i64> {
    let value = |line: &str| {
        let (key, value) = line.split_once('=')?;
        ["OSTREE_VERSION", "VERSION"]
            .contains(&key)
            .then(|| value.trim_matches(['"', '\'']).to_owned())
    };
    let versions: Vec<String> = release.lines().filter_map(value).collect();
    let words = versions.iter().flat_map(|version| version.split(|c: char| !c.is_ascii_digit()));
    words.filter_map(day).max()
}

/// `20250803`, in seconds since the Unix epoch.
fn day(word: &str) -> Option<i64> {
    if word.len() != 8 {
        return None;
    }
    let (year, month, day): (i64, i64, i64) =
        (word[..4].parse().ok()?, word[4..6].parse().ok()?, word[6..].parse().ok()?);
    if !(2020..2100).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>, for years after 0.
    let (shifted_year, shifted_month) =
        if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (shifted_year / 400, shifted_year % 400);
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_host;

    #[track_caller]
    fn check(release: &str, expected: Option<i64>) {
        assert_eq!(release_date(release), expected, "{release}");
    }

    #[test]
    fn the_day_of_a_release() {
        check("NAME=\"Fedora Linux\"\nVERSION=\"42.20250803.3.0 (CoreOS)\"\n", Some(1_754_179_200));
        check("OSTREE_VERSION='38.20230609.3.0'", Some(1_686_268_800));
        check("VERSION=\"12 (bookworm)\"", None);
        check("VERSION=20251301", None);
        check("BUILD_ID=20250803", None);
        check("VERSION=20240229", Some(1_709_164_800));
        check("", None);
    }

    #[test]
    fn the_newest_date_counts() {
        let (_keep, host) = scratch_host();
        let text = include_str!("../../../static-pods/tests/lab/n1.json");
        let mut node = Node::from_json("n1.json", text).unwrap();
        node.trust_anchors.clear();
        let floor = find(&host, &node);
        assert!(floor.unix_seconds == 0 || BUILT.is_some(), "{floor:?}");

        std::fs::create_dir_all(host.path("/usr/lib")).unwrap();
        std::fs::write(host.path("/usr/lib/os-release"), "VERSION=42.20250803.3.0\n").unwrap();
        let expected = Floor {
            unix_seconds: 1_754_179_200,
            source: "the release of the base system".to_owned(),
        };
        assert!(find(&host, &node) == expected || BUILT.is_some());

        // A leaf that somebody else has signed in 2027; and a placeholder of the node's own, which says nothing.
        let key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "root");
        authority.not_before = rcgen::date_time_ymd(2020, 1, 1);
        let issuer = rcgen::Issuer::new(authority, key);
        let own = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        leaf.not_before = rcgen::date_time_ymd(2027, 1, 1);
        let signed = leaf.signed_by(&own, &issuer).unwrap().pem();
        leaf.not_before = rcgen::date_time_ymd(2040, 1, 1);
        let placeholder = leaf.self_signed(&own).unwrap().pem();
        let certificate = &node.vault.as_ref().unwrap().certificates[0];
        let folder = host.path(certificate.directory.as_str());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("combined.pem"), format!("{signed}{placeholder}")).unwrap();
        let found = find(&host, &node);
        assert_eq!(found.unix_seconds, 1_798_761_600 - 120, "{found:?}");
        assert_eq!(found.source, format!("certificate `{}`", certificate.name));
    }
}
