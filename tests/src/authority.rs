//! A certificate authority for servers, users and kubelets of the lab.

use std::fmt;
use std::time::SystemTime;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

/// A certificate authority with its key, which only tests may have.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Who a certificate is for.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its CN: for Kubernetes the user.
    pub common_name: &'a str,
    /// Its O: for Kubernetes the group.
    pub organization: Option<&'a str>,
    /// Names and addresses; for servers.
    pub alternative_names: &'a [&'a str],
    /// What it is good for.
    pub usage: Usage,
    /// When it ends; `None`: not while any test lives.
    pub not_after: Option<SystemTime>,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// To be known by.
    Client,
    /// To be reached.
    Server,
}

/// A certificate and its key, both PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Pair {
    /// Both in one text, key first, as a node keeps them.
    pub fn combined(&self) -> String {
        format!("{}{}", self.key, self.certificate)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl<'a> Subject<'a> {
    /// A user without a group.
    pub fn user(common_name: &'a str) -> Self {
        let (alternative_names, usage): (&[&str], _) = (&[], Usage::Client);
        Subject { common_name, organization: None, alternative_names, usage, not_after: None }
    }

    /// A server at these names and addresses.
    pub fn server(common_name: &'a str, alternative_names: &'a [&'a str]) -> Self {
        let usage = Usage::Server;
        Subject { common_name, organization: None, alternative_names, usage, not_after: None }
    }

    /// The same in a group.
    #[must_use]
    pub fn of(self, organization: &'a str) -> Self {
        Subject { organization: Some(organization), ..self }
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new(common_name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut wanted = CertificateParams::new(Vec::new())?;
        wanted.distinguished_name.push(DnType::CommonName, common_name);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = wanted.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(wanted, key) })
    }

    /// What trusts it, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its key, PEM: for a controller manager that signs.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A certificate of a server for names and addresses, and its key; both PEM.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue(&self, names: &[String]) -> Result<(String, String)> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let common_name = names.first().copied().unwrap_or_default();
        let pair = self.issue_to(&Subject::server(common_name, &names))?;
        Ok((pair.certificate, pair.key))
    }

    /// A key and a certificate for it.
    ///
    /// # Errors
    /// When a name is none.
    pub fn issue_to(&self, subject: &Subject<'_>) -> Result<Pair> {
        let names: Vec<String> =
            subject.alternative_names.iter().map(ToString::to_string).collect();
        let mut wanted = CertificateParams::new(names)?;
        wanted.distinguished_name = DistinguishedName::new();
        if let Some(organization) = subject.organization {
            wanted.distinguished_name.push(DnType::OrganizationName, organization);
        }
        wanted.distinguished_name.push(DnType::CommonName, subject.common_name);
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![match subject.usage {
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        wanted.use_authority_key_identifier_extension = true;
        if let Some(end) = subject.not_after {
            wanted.not_after = end.into();
        }
        let key = KeyPair::generate()?;
        let certificate = wanted.signed_by(&key, &self.issuer)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
