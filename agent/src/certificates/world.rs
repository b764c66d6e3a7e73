//! The real [`Outside`]: the node's Vault, the consumers of its certificates, the machine's clock. What else the node has of
//! Vault, its session and its secret files, is tended here as well, since a node has one conversation with Vault.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use basalt_model::node::{Certificate, KeyUsage, Node, VaultAuth};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::{sleep, timeout};

use super::announce::Announcer;
use super::layout;
use super::outside::{Order, Outside, Signed, Trouble};
use super::record::Issued;
use super::report::SecretRow;
use super::time::{UnixSeconds, seconds};
use crate::activate::{self, CertificateSet, Restarter, Serial, certificates_in};
use crate::clock::steps::Steps;
use crate::clock::{self, Clock as _, ClockState, Floor, SystemClock, VaultDate, Witnesses};
use crate::host::Host;
use crate::secret_files::{self, Pace, Refreshed};
use crate::vault::{SignRequest, Vault, VaultError, VaultReport};

/// How often timedated is asked whether the clock is kept in time, while nothing else says so.
const ASK_TIMEDATED: Duration = Duration::from_secs(30);

/// Whom the engine of a running service talks to.
pub(super) struct World {
    host: Host,
    node: Option<Node>,
    /// Why not, when the node's Vault cannot even be asked.
    vault: Option<Result<Vault, VaultError>>,
    floor: Floor,
    is_synchronised: Option<bool>,
    asked_timedated: Option<Instant>,
    steps: Option<Steps>,
    secrets: BTreeMap<String, (Pace, SecretRow)>,
    announcer: Announcer,
}

impl World {
    pub(super) fn new(host: &Host) -> World {
        let steps = Steps::new();
        if let Err(error) = &steps {
            tracing::warn!(%error, "a clock that is set is noticed by the timer only");
        }
        World {
            host: host.clone(),
            node: None,
            vault: None,
            floor: Floor { unix_seconds: 0, source: "the Unix epoch".to_owned() },
            is_synchronised: None,
            asked_timedated: None,
            steps: steps.ok(),
            secrets: BTreeMap::new(),
            announcer: Announcer::default(),
        }
    }

    /// Tells the fleet how things stand, and returns when that is due again.
    pub(super) async fn announce(&mut self) -> Option<Instant> {
        let (Some(node), Some(Ok(vault))) = (&self.node, &mut self.vault) else { return None };
        self.announcer.announce(&self.host, node, vault).await;
        self.announcer.next()
    }

    /// Does what is due besides certificates, and returns when there is something next.
    pub(super) async fn tend(&mut self) -> Option<Instant> {
        let node = self.node.clone()?;
        if self.host.is_this_machine()
            && self.asked_timedated.is_none_or(|at| at.elapsed() >= ASK_TIMEDATED)
            && self.is_synchronised != Some(true)
        {
            self.asked_timedated = Some(Instant::now());
            self.is_synchronised = clock::kernel::is_synchronised(&self.host).await;
        }
        let Some(Ok(vault)) = &mut self.vault else { return None };
        if vault.next_maintenance() <= Instant::now()
            && let Err(error) = vault.maintain().await
        {
            tracing::debug!(%error, "cannot keep the session with Vault");
        }
        let mut next = vault.next_maintenance();
        for file in node.vault.iter().flat_map(|vault| &vault.secrets) {
            let name = file.name.to_string();
            let now = tokio::time::Instant::now();
            let fresh = || (Pace::new(now), SecretRow::new(&name, file.destination.as_str()));
            let (mut pace, mut row) = self.secrets.remove(&name).unwrap_or_else(fresh);
            if pace.due() <= now {
                let refreshed = secret_files::refresh(&self.host, &node, file, vault).await;
                let now = tokio::time::Instant::now();
                match refreshed {
                    Ok(refreshed) => {
                        pace.succeeded(file, now, draw());
                        if let Refreshed::Changed(changed) = &refreshed {
                            row.written_unix_seconds = Some(seconds(SystemTime::now()));
                            row.untold.clone_from(&changed.failures);
                        }
                        (row.is_there, row.error, row.hint) = (true, None, None);
                        row.confirmed_unix_seconds = Some(seconds(SystemTime::now()));
                        row.failures = 0;
                    }
                    Err(error) => {
                        pace.failed(file, now, draw());
                        row.failures = row.failures.saturating_add(1);
                        row.hint = Some(error.hint().to_owned());
                        row.error = Some(Trouble::of(&error, None).text);
                    }
                }
            }
            next = next.min(pace.due().into_std());
            self.secrets.insert(name, (pace, row));
        }
        Some(next)
    }

    /// The rows of the node's secret files.
    pub(super) fn secret_rows(&self) -> Vec<SecretRow> {
        self.secrets.values().map(|(_, row)| row.clone()).collect()
    }

    /// What there is to say about Vault, without what changes all the time.
    pub(super) fn vault_report(&self) -> Option<VaultReport> {
        match self.vault.as_ref()? {
            Ok(vault) => {
                Some(VaultReport { token_seconds: None, next_call_seconds: None, ..vault.report() })
            }
            Err(error) => Some(VaultReport {
                error: Some(Trouble::of(error, None).text),
                hint: error.hint().map(str::to_owned),
                ..VaultReport::default()
            }),
        }
    }

    /// Whether the clock may be believed.
    pub(super) fn clock(&self) -> ClockState {
        let date = match &self.vault {
            Some(Ok(vault)) => vault.last_seen_date(),
            _ => None,
        };
        let vault = date.map(|seen| VaultDate {
            unix_seconds: seconds(seen.date),
            age: Instant::now().saturating_duration_since(seen.at),
        });
        clock::judge(&Witnesses {
            now: SystemClock.unix_seconds(),
            floor: self.floor.clone(),
            is_synchronised: self.is_synchronised,
            vault,
        })
    }

    fn vault(&mut self) -> Result<&mut Vault, Trouble> {
        match &mut self.vault {
            Some(Ok(vault)) => Ok(vault),
            Some(Err(error)) => Err(Trouble::of(error, error.hint())),
            None => Err(Trouble::of(&VaultError::None, None)),
        }
    }
}

/// Whether the node asks Vault for anything. Its lasting identity is also what vault-agent logs in with.
fn needs_vault(node: &Node) -> bool {
    node.vault.as_ref().is_some_and(|vault| {
        let is_node = matches!(vault.auth, VaultAuth::Node(_));
        is_node || !vault.certificates.is_empty() || !vault.secrets.is_empty()
    })
}

/// A number from 0 to 1.
fn draw() -> f64 {
    let mut bytes = [0_u8; 4];
    SystemRandom::new().fill(&mut bytes).expect("getrandom(2) gives as much as asked");
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

fn trouble(error: &VaultError, pause: Option<Instant>) -> Trouble {
    let hint = error.hint();
    match error {
        // Without the seconds that are left, so that the text stays the same.
        VaultError::Waiting { until, because } => {
            Trouble { text: because.clone(), hint: hint.map(str::to_owned), retry_at: Some(*until) }
        }
        error => Trouble { retry_at: pause, ..Trouble::of(error, hint) },
    }
}

/// The set as the activation knows it.
fn set_of(issued: &Issued, certificate: &Certificate) -> Option<CertificateSet> {
    let mut files = layout::files(issued, certificate).into_iter();
    let chain =
        certificates_in(format!("{}\n{}", issued.certificate, issued.chain.join("\n")).as_bytes());
    let serial = Serial::of(chain.first()?)?;
    Some(CertificateSet {
        chain,
        issuers: certificates_in(issued.trust.as_bytes()),
        ca_pem: issued.trust.clone().into_bytes(),
        combined: files.find(|file| file.name == "combined.pem").map(|file| file.contents),
        serial,
    })
}

impl Outside for World {
    fn now(&mut self) -> Option<UnixSeconds> {
        self.clock().is_good().then(|| SystemClock.unix_seconds())
    }

    fn obey(&mut self, node: &Node) {
        self.floor = clock::floor::find(&self.host, node);
        self.vault = needs_vault(node).then(|| Vault::new(&self.host, node));
        self.secrets.clear();
        self.node = Some(node.clone());
    }

    async fn sign(&mut self, order: Order<'_>) -> Result<Signed, Trouble> {
        let names = order.certificate.subject_alternative_names.clone();
        // A server without names is one by its common name alone.
        let is_named_by_subject =
            names.is_empty() && order.certificate.usages.contains(&KeyUsage::Server);
        let request = SignRequest {
            mount: order.mount.to_owned(),
            role: order.role.to_owned(),
            csr_pem: order.csr.to_owned(),
            common_name: order.certificate.common_name.clone(),
            alt_names: names,
            ttl_hours: order.certificate.ttl_hours,
            exclude_cn_from_sans: !is_named_by_subject,
        };
        let vault = self.vault()?;
        match vault.sign(&request).await {
            Ok(it) => Ok(Signed {
                certificate: it.certificate,
                chain: it.chain,
                issuing_ca: it.issuing_ca,
            }),
            Err(error) => Err(trouble(&error, vault.not_before_signing(&request))),
        }
    }

    async fn issuers(&mut self, mount: &str) -> Result<Vec<String>, Trouble> {
        let vault = self.vault()?;
        vault.issuers(mount).await.map_err(|error| trouble(&error, None))
    }

    async fn activate(
        &mut self,
        certificate: &Certificate,
        old: Option<&Issued>,
        new: &Issued,
    ) -> Result<String, Trouble> {
        let Some(node) = self.node.as_ref() else { return Ok(String::new()) };
        let old = old.filter(|it| !it.is_placeholder()).and_then(|it| set_of(it, certificate));
        let Some(new) = set_of(new, certificate) else {
            let text = "the certificate cannot be read again".to_owned();
            return Err(Trouble { text, hint: None, retry_at: None });
        };
        let old = old.as_ref();
        let restarter = Restarter::Loop;
        match activate::activate(&self.host, node, certificate, old, &new, restarter).await {
            Ok(activation) => {
                let text = activation.text();
                let none = (!activation.is_proved()).then_some("no listener shows it");
                Ok(none.into_iter().chain(text.lines()).collect::<Vec<_>>().join("; "))
            }
            Err(error) => Err(Trouble::of(&error, Some(error.hint()))),
        }
    }

    async fn pause(&mut self, limit: Duration) {
        match &self.steps {
            Some(steps) => {
                if let Ok(Ok(())) = timeout(limit, steps.stepped()).await {
                    tracing::info!("the clock was set; working out every deadline anew");
                    self.is_synchronised = None;
                    self.asked_timedated = None;
                }
            }
            None => sleep(limit).await,
        }
    }
}
