//! What the tests of certificates need: a small authority, a certificate that a node wants, an authority to ask.

use std::time::{Duration, SystemTime};

use std::sync::Arc;

use basalt_model::node::{Certificate, CertificateLayout, KeyKind, KeyUsage, Node};
use camino::Utf8PathBuf;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::directory::{Directory, Seen};
use super::key::{Key, parameters};
use super::layout;
use super::leaf::Leaf;
use super::outside::{Order, Outside, Signed, Trouble};
use super::record::{self, Issued};
use super::secret::Secret;
use super::time::{HOUR, UnixSeconds, seconds};
use crate::host::Host;

/// A certificate that the lab's nodes want, below `/var/lib/basalt/certificates`.
pub(crate) fn certificate(name: &str) -> Certificate {
    Certificate {
        name: name.parse().unwrap(),
        pki_mount: None,
        pki_role: None,
        common_name: format!("{name}.lab.example"),
        subject_alternative_names: vec![
            format!("{name}.lab.example").parse().unwrap(),
            "192.0.2.10".parse().unwrap(),
        ],
        key: KeyKind::EcdsaP256,
        usages: vec![KeyUsage::Server],
        ttl_hours: 720,
        survive_outage_hours: 360,
        activation: None,
        directory: format!("/var/lib/basalt/certificates/{name}").parse().unwrap(),
        layouts: vec![CertificateLayout::Separate, CertificateLayout::Combined],
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: "0640".parse().unwrap(),
        reload: Vec::new(),
        prove: Vec::new(),
    }
}

/// A certificate authority, and what time it is for it.
pub(crate) struct Ca {
    pub(crate) pem: String,
    pub(crate) now: UnixSeconds,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Ca {
        Ca::make(name, None)
    }

    /// One that this one signs.
    pub(crate) fn below(&self, name: &str) -> Ca {
        Ca::make(name, Some(self))
    }

    /// The one whose key lies in a folder, so that several processes have the same; made when there is none.
    pub(crate) fn kept_in(folder: &camino::Utf8Path) -> Ca {
        let [key, pem] = ["ca.key", "ca.pem"].map(|name| folder.join(name));
        match (std::fs::read_to_string(&key), std::fs::read_to_string(&pem)) {
            (Ok(key), Ok(pem)) => {
                Ca { pem, ..Ca::with_key("lab", None, KeyPair::from_pem(&key).unwrap()) }
            }
            _ => {
                let new = KeyPair::generate().unwrap();
                std::fs::write(key, new.serialize_pem()).unwrap();
                let ca = Ca::with_key("lab", None, new);
                std::fs::write(pem, &ca.pem).unwrap();
                ca
            }
        }
    }

    fn make(name: &str, above: Option<&Ca>) -> Ca {
        Ca::with_key(name, above, KeyPair::generate().unwrap())
    }

    fn with_key(name: &str, above: Option<&Ca>, key: KeyPair) -> Ca {
        let mut parameters = CertificateParams::default();
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        parameters.distinguished_name = subject;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let signed = match above {
            None => parameters.self_signed(&key).unwrap(),
            Some(above) => parameters.signed_by(&key, &above.issuer).unwrap(),
        };
        let now = seconds(SystemTime::now());
        Ca { pem: signed.pem(), now, issuer: Issuer::new(parameters, key) }
    }

    /// Signs what is wanted for the wanted life from now on, with `change` made to it first.
    pub(crate) fn sign(
        &self,
        wanted: &Certificate,
        key: &Key,
        change: impl FnOnce(&mut CertificateParams),
    ) -> String {
        let mut it = parameters(wanted).unwrap();
        let at = |time: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(time.cast_unsigned());
        it.not_before = at(self.now);
        it.not_after = at(self.now + i64::from(wanted.ttl_hours) * HOUR);
        it.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut it);
        it.signed_by(key.pair(), &self.issuer).unwrap().pem()
    }

    /// A certificate with a key that nobody has, for these names.
    pub(crate) fn leaf(&self, common_name: &str, names: &[&str]) -> String {
        let mut wanted = certificate("leaf");
        wanted.common_name = common_name.to_owned();
        wanted.subject_alternative_names = names.iter().map(|name| name.parse().unwrap()).collect();
        self.sign(&wanted, &Key::new(wanted.key).unwrap(), |_| {})
    }
}

/// A node with these certificates.
pub(crate) fn node(certificates: Vec<Certificate>) -> Arc<Node> {
    let text = include_str!("../../../static-pods/tests/lab/n1.json");
    let mut node = Node::from_json("n1.json", text).unwrap();
    node.vault.as_mut().unwrap().certificates = certificates;
    Arc::new(node)
}

/// A Vault and consumers that do as they are told.
pub(crate) struct Fake {
    pub(crate) ca: Ca,
    /// Absent while nobody knows the time.
    pub(crate) now: Option<UnixSeconds>,
    /// Why Vault does not sign.
    pub(crate) away: Option<&'static str>,
    /// Vault signs another key than it is asked to.
    pub(crate) is_hostile: bool,
    /// The consumers refuse so many certificates, one after the other.
    pub(crate) refusals: u32,
    pub(crate) other_issuers: Vec<String>,
    /// What happened, in order.
    pub(crate) log: Vec<String>,
}

impl Fake {
    pub(crate) fn new() -> Fake {
        Fake::with(Ca::new("lab"))
    }

    pub(crate) fn with(ca: Ca) -> Fake {
        Fake {
            now: Some(ca.now),
            ca,
            away: None,
            is_hostile: false,
            refusals: 0,
            other_issuers: Vec::new(),
            log: Vec::new(),
        }
    }

    pub(crate) fn taken_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

/// The public key of a request; all requests of tests are for P-256.
struct Asked(Vec<u8>);

impl Asked {
    fn of(csr: &str) -> Asked {
        use x509_parser::prelude::FromDer as _;
        let (_, pem) = x509_parser::pem::parse_x509_pem(csr.as_bytes()).unwrap();
        let (_, csr) =
            x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents)
                .unwrap();
        csr.verify_signature().unwrap();
        Asked(csr.certification_request_info.subject_pki.subject_public_key.data.to_vec())
    }
}

impl rcgen::PublicKeyData for Asked {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn trouble(text: &str) -> Trouble {
    Trouble { text: text.to_owned(), hint: Some("wait".to_owned()), retry_at: None }
}

impl Outside for Fake {
    fn now(&mut self) -> Option<UnixSeconds> {
        self.now
    }

    fn obey(&mut self, _: &Node) {}

    async fn sign(&mut self, order: Order<'_>) -> Result<Signed, Trouble> {
        self.log.push(format!("sign {} {}/{}", order.certificate.name, order.mount, order.role));
        if let Some(reason) = self.away {
            return Err(trouble(reason));
        }
        let now = self.now.unwrap_or(self.ca.now);
        let at = |time: i64| date_time_ymd(1970, 1, 1) + Duration::from_secs(time.cast_unsigned());
        let certificate = match self.is_hostile {
            true => self.ca.leaf(&order.certificate.common_name, &[]),
            false => {
                let mut it = parameters(order.certificate).unwrap();
                it.not_before = at(now);
                it.not_after = at(now + i64::from(order.certificate.ttl_hours) * HOUR);
                it.signed_by(&Asked::of(order.csr), &self.ca.issuer).unwrap().pem()
            }
        };
        let issuing_ca = self.ca.pem.clone();
        Ok(Signed { certificate, chain: Vec::new(), issuing_ca })
    }

    async fn issuers(&mut self, _: &str) -> Result<Vec<String>, Trouble> {
        if let Some(reason) = self.away {
            return Err(trouble(reason));
        }
        Ok([std::slice::from_ref(&self.ca.pem), &self.other_issuers[..]].concat())
    }

    async fn activate(
        &mut self,
        certificate: &Certificate,
        old: Option<&Issued>,
        _: &Issued,
    ) -> Result<String, Trouble> {
        let old = if old.is_some() { "after another" } else { "alone" };
        self.log.push(format!("activate {} {old}", certificate.name));
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(trouble("the listener shows another certificate"));
        }
        Ok("told".to_owned())
    }

    async fn pause(&mut self, limit: Duration) {
        tokio::time::sleep(limit).await;
    }
}

/// What a consumer finds in the folder: whether every file is of one set, and of which serial. `None` when some are missing.
///
/// # Panics
/// When files of two sets are mixed.
#[track_caller]
pub(crate) fn served(host: &Host, certificate: &Certificate) -> Option<Leaf> {
    let folder = host.real(certificate.directory.as_str());
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let (chain, key, combined) =
        (text("certificate.pem")?, text("key.pem")?, text("combined.pem")?);
    assert_eq!(combined, format!("{chain}{key}"), "mixed");
    let leaf = Leaf::of(&chain).unwrap();
    let blocks = super::leaf::blocks(&chain).unwrap();
    let parsed = super::leaf::parsed(&blocks[0]).unwrap();
    let key = Key::from_pem(&Secret::new(key)).unwrap();
    assert_eq!(parsed.public_key().raw, key.public_der(), "the key is that of another certificate");
    assert_eq!(text("ca.pem").is_none(), leaf.placeholder, "real ones come with their issuers");
    Some(leaf)
}

/// Everything in the folder of a certificate, sorted.
pub(crate) fn names_in(host: &Host, certificate: &Certificate) -> Vec<String> {
    let folder: Utf8PathBuf = host.real(certificate.directory.as_str());
    let mut names: Vec<String> =
        folder.read_dir_utf8().unwrap().map(|it| it.unwrap().file_name().to_owned()).collect();
    names.sort();
    names
}

/// Whether record and folder say the same.
pub(crate) fn is_settled(host: &Host, certificate: &Certificate) -> bool {
    let record = record::load(host, certificate.name.as_str()).unwrap().unwrap();
    let directory = Directory::of(host, certificate).unwrap();
    directory.look(&layout::files(&record.current, certificate)) == Seen::Whole
}
