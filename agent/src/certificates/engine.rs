//! Keeps the certificates of one node: looks at each, decides, and does one thing at a time. Every change is on the disk
//! before the next one begins, so that whatever ends it, the next start goes on from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use basalt_model::node::{Certificate, Node};

use super::answer::{self, Answer};
use super::decide::{Course, Reason, View, activates_at, decide, may_go_back};
use super::directory::{Directory, DirectoryError, Seen};
use super::outside::{Order, Outside, Signed, Trouble};
use super::record::{self, Issued, Record, RecordError, Waiting};
use super::report::{Last, Outcome, Report, Rotation};
use super::rotate::Request;
use super::rows::row;
use super::schedule::{Place, place};
use super::time::{UnixSeconds, moment, seconds};
use super::{adopt, key, layout, pauses, placeholder, rotate, trust, vault_of};
use crate::host::{Host, look};

use pauses::{Pauses, Work};

/// How long the issuers of a PKI are taken to be the same.
const TRUST_LIFE: Duration = Duration::from_secs(15 * 60);
/// One certificate takes no more courses than this at a time. It is one that goes in circles otherwise.
const MOST_COURSES: usize = 12;

/// The engine of one node.
pub(super) struct Engine<O> {
    host: Host,
    node: Arc<Node>,
    pub(super) outside: O,
    machine: String,
    pauses: Pauses,
    lasts: BTreeMap<String, Last>,
    /// Requests that a certificate was signed for, which is not in use yet.
    signed_for: BTreeMap<String, String>,
    rotations: BTreeMap<String, Rotation>,
    issuers: BTreeMap<String, (Instant, Vec<String>)>,
    /// By certificate: how often it was tried to have it signed, and how many tries of any kind failed.
    counts: BTreeMap<String, (u64, u64)>,
    /// Something was done that nobody has heard of.
    is_news: bool,
}

/// What keeps a course from being taken.
#[derive(Debug, thiserror::Error)]
enum CourseError {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Placeholder(#[from] placeholder::PlaceholderError),
    #[error(transparent)]
    Key(#[from] key::KeyError),
    #[error(transparent)]
    Pkcs12(#[from] layout::Pkcs12Error),
    #[error(transparent)]
    Answer(#[from] answer::AnswerError),
    #[error("{}", .0.text)]
    Outside(Trouble),
}

impl CourseError {
    fn trouble(self) -> Trouble {
        let hint = match &self {
            CourseError::Directory(error) => Some(error.hint()),
            CourseError::Answer(error) => Some(error.hint()),
            CourseError::Placeholder(placeholder::PlaceholderError::Directory(error)) => {
                Some(error.hint())
            }
            CourseError::Record(_) | CourseError::Placeholder(_) => {
                Some("look at the disk of /var/lib/basalt")
            }
            CourseError::Key(_) | CourseError::Pkcs12(_) | CourseError::Outside(_) => None,
        };
        match self {
            CourseError::Outside(trouble) => trouble,
            error => Trouble::of(&error, hint),
        }
    }
}

impl<O: Outside> Engine<O> {
    pub(super) fn new(host: &Host, node: Arc<Node>, mut outside: O) -> Engine<O> {
        outside.obey(&node);
        let machine = machine(host, &node);
        Engine {
            host: host.clone(),
            node,
            outside,
            machine,
            pauses: Pauses::default(),
            lasts: BTreeMap::new(),
            signed_for: BTreeMap::new(),
            rotations: BTreeMap::new(),
            issuers: BTreeMap::new(),
            counts: BTreeMap::new(),
            is_news: false,
        }
    }

    /// Another node is obeyed from now on.
    pub(super) fn obey(&mut self, node: Arc<Node>) {
        if self.node.vault != node.vault || self.node.trust_anchors != node.trust_anchors {
            self.outside.obey(&node);
            self.pauses = Pauses::default();
        }
        self.node = node;
    }

    /// Does everything that can be done now, and returns when there is something to do next. `say` hears of every change.
    pub(super) async fn work(&mut self, say: &mut impl FnMut(Report)) -> Option<UnixSeconds> {
        let node = Arc::clone(&self.node);
        let certificates = || vault_of(&node).into_iter().flat_map(|vault| &vault.certificates);
        self.refuse_unknown(certificates().map(|it| it.name.as_str()).collect());
        // What needs nobody comes first: pods may be waiting for the files.
        for certificate in certificates() {
            self.work_on(certificate, false).await;
        }
        let mut next: Option<UnixSeconds> = None;
        for certificate in certificates() {
            let until = self.work_on(certificate, true).await;
            if std::mem::take(&mut self.is_news) {
                say(self.report());
            }
            next = next.into_iter().chain(until).min();
        }
        if self.look_at_trust(say).await {
            return Some(UnixSeconds::MIN);
        }
        say(self.report());
        next
    }

    /// The node that is obeyed.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// When a pause after a failure ends.
    pub(super) fn pause_ends(&self) -> Option<Instant> {
        self.pauses.next()
    }

    async fn work_on(
        &mut self,
        certificate: &Certificate,
        with_others: bool,
    ) -> Option<UnixSeconds> {
        for _ in 0..MOST_COURSES {
            let course = match self.consider(certificate) {
                Ok(course) => course,
                Err(error) => {
                    self.failed(certificate, Work::Put, error.trouble());
                    return None;
                }
            };
            let name = certificate.name.as_str();
            let work = match &course {
                Course::Wait { until } => {
                    self.rest(certificate);
                    return *until;
                }
                Course::MakePlaceholder | Course::Put(_) | Course::Activate => Work::Put,
                Course::Prove => Work::Prove,
                Course::Issue(_) => Work::Issue,
            };
            if work != Work::Put && !with_others || !self.pauses.may(name, work) {
                return None;
            }
            tracing::debug!(certificate = name, ?course, "taking a course");
            match self.take(certificate, course).await {
                Ok(()) => self.pauses.end(name, work),
                Err(error) => self.failed(certificate, work, error.trouble()),
            }
            self.is_news = true;
        }
        tracing::warn!(certificate = %certificate.name, "went on and on; looking again later");
        None
    }

    fn consider(&mut self, certificate: &Certificate) -> Result<Course, CourseError> {
        let name = certificate.name.as_str();
        let record = self.load(certificate)?;
        if let (Some(last), false) =
            (record.as_ref().and_then(|it| it.last.clone()), self.lasts.contains_key(name))
        {
            self.lasts.insert(name.to_owned(), last);
        }
        let folder = match &record {
            None => Seen::Differs(String::new()),
            Some(record) if layout::lacks_pkcs12(&record.current, certificate) => {
                Seen::Differs("its PKCS#12 is not made yet".to_owned())
            }
            Some(record) => Directory::of(&self.host, certificate)?
                .look(&layout::files(&record.current, certificate)),
        };
        let asked = self.asked(certificate);
        let view = View {
            wanted: certificate,
            asked: &asked,
            record: record.as_ref(),
            folder: &folder,
            now: self.outside.now(),
            place: self.place(name),
            rotate: self.request(name).is_some_and(|it| self.signed_for.get(name) != Some(&it.id)),
            may_issue: self.pauses.may(name, Work::Issue),
            may_prove: self.pauses.may(name, Work::Prove),
        };
        Ok(decide(&view))
    }

    /// The record, or that of what lies in the folder when there is none, or a broken one.
    fn load(&self, certificate: &Certificate) -> Result<Option<Record>, CourseError> {
        let name = certificate.name.as_str();
        match record::load(&self.host, name) {
            Ok(Some(record)) => return Ok(Some(record)),
            Ok(None) => {}
            Err(error @ RecordError::Broken { .. }) => {
                tracing::error!(certificate = name, %error, "set aside; a new certificate is needed");
                let aside = record::set_aside(&self.host, name);
                aside.map_err(|source| RecordError::Write { name: name.to_owned(), source })?;
            }
            Err(error) => return Err(error.into()),
        }
        let found = adopt::found(&self.host, certificate);
        if let Some(record) = &found {
            tracing::warn!(
                certificate = name,
                "goes on with the certificate that lies in its folder"
            );
            record::save(&self.host, name, record)?;
        }
        Ok(found)
    }

    async fn take(&mut self, certificate: &Certificate, course: Course) -> Result<(), CourseError> {
        match course {
            Course::MakePlaceholder => {
                placeholder::make(&self.host, certificate)?;
                Ok(())
            }
            Course::Put(what) => self.put(certificate, &what),
            Course::Activate => {
                let mut record = self.existing(certificate)?;
                // One that nobody has shown to work is not worth a wait.
                if trust::may_activate(&record) || !record.proved {
                    trust::overlap(&mut record);
                    record.activate();
                } else if let Some(next) = &record.next {
                    // Those who are here trust its issuer first, with the certificate that they know.
                    tracing::info!(certificate = %certificate.name, "a new issuer is trusted before it is used");
                    record.current.trust =
                        trust::joined(&record.current.trust, &next.issued.issuer);
                    record.proved = false;
                }
                self.dress(certificate, &mut record)?;
                record::save(&self.host, certificate.name.as_str(), &record)?;
                self.lay_out(certificate, &record)
            }
            Course::Prove => self.prove(certificate).await,
            Course::Issue(reason) => self.issue(certificate, reason).await,
            Course::Wait { .. } => Ok(()),
        }
    }

    fn put(&mut self, certificate: &Certificate, what: &str) -> Result<(), CourseError> {
        let mut record = self.existing(certificate)?;
        tracing::info!(certificate = %certificate.name, reason = what, "making its files anew");
        if self.dress(certificate, &mut record)? {
            record::save(&self.host, certificate.name.as_str(), &record)?;
        }
        self.lay_out(certificate, &record)?;
        // Whoever read the broken ones has to read these.
        if record.proved && !record.current.is_placeholder() {
            record.proved = false;
            record::save(&self.host, certificate.name.as_str(), &record)?;
        }
        Ok(())
    }

    fn lay_out(&self, certificate: &Certificate, record: &Record) -> Result<(), CourseError> {
        let directory = Directory::of(&self.host, certificate)?;
        Ok(directory.put(&layout::files(&record.current, certificate))?)
    }

    fn dress(&self, certificate: &Certificate, record: &mut Record) -> Result<bool, CourseError> {
        let lacks = layout::lacks_pkcs12(&record.current, certificate);
        if lacks {
            record.current.pkcs12 = Some(layout::Pkcs12::of(&record.current)?);
        }
        Ok(lacks)
    }

    async fn issue(
        &mut self,
        certificate: &Certificate,
        reason: Reason,
    ) -> Result<(), CourseError> {
        let name = certificate.name.as_str();
        let request = self.request(name);
        self.counts.entry(name.to_owned()).or_default().0 += 1;
        let (mount, role) = self.issuer_of(certificate);
        let made = key::request(certificate).await?;
        let order = Order { certificate, mount: &mount, role: &role, csr: &made.csr };
        let Signed { certificate: pem, chain, issuing_ca } =
            self.outside.sign(order).await.map_err(CourseError::Outside)?;
        let answer = Answer { certificate: &pem, chain: &chain, issuing_ca: &issuing_ca };
        let leaf = answer::check(answer, &made.key, certificate, self.outside.now())?;
        let known = self.issuers(&mount).await;
        let record = self.load(certificate)?;
        let trust = trust::first_bundle(&issuing_ca, &known);
        let mut issued = Issued {
            key: made.key,
            certificate: pem,
            chain,
            issuer: issuing_ca,
            trust,
            pkcs12: None,
            asked: self.asked(certificate),
            signed_at: self.outside.now().unwrap_or_else(|| seconds(SystemTime::now())),
        };
        if layout::lacks_pkcs12(&issued, certificate) {
            issued.pkcs12 = Some(layout::Pkcs12::of(&issued)?);
        }
        let at_once = request.as_ref().is_some_and(|request| request.now);
        let mut record = match record {
            None => Record::new(issued),
            Some(mut record) => {
                if !record.current.is_placeholder() && trust::refresh(&mut record, &known) {
                    record.proved = false;
                }
                record.next = Some(Waiting { issued, at_once });
                record
            }
        };
        let text = format!("signed {} until {}", leaf.serial, moment(leaf.not_after));
        tracing::info!(
            certificate = name, serial = %leaf.serial, not_after = %moment(leaf.not_after), reason = reason.text(),
            "Vault signed a certificate"
        );
        self.went_well(name, &mut record, text);
        record::save(&self.host, name, &record)?;
        if let Some(request) = request {
            self.signed_for.insert(name.to_owned(), request.id);
        }
        Ok(())
    }

    async fn prove(&mut self, certificate: &Certificate) -> Result<(), CourseError> {
        let name = certificate.name.as_str();
        let mut record = self.existing(certificate)?;
        match self.outside.activate(certificate, record.previous.as_ref(), &record.current).await {
            Ok(text) => self.proved(certificate, record, &text),
            Err(trouble) if may_go_back(&record, self.outside.now()) => {
                let refused = record.current.clone();
                record.go_back();
                tracing::error!(
                    certificate = name,
                    error = trouble.text,
                    "the new certificate is not served; the one before returns"
                );
                record::save(&self.host, name, &record)?;
                self.lay_out(certificate, &record)?;
                let back =
                    self.outside.activate(certificate, Some(&refused), &record.current).await;
                // The next one has to be another one, and not at once.
                let text = format!("{}; the certificate before is back", trouble.text);
                self.failed(certificate, Work::Issue, Trouble { text, ..trouble });
                match back {
                    Ok(_) => {
                        let mut record = self.existing(certificate)?;
                        record.prove();
                        record::save(&self.host, name, &record)?;
                        Ok(Directory::of(&self.host, certificate)?.prune()?)
                    }
                    Err(trouble) => Err(CourseError::Outside(trouble)),
                }
            }
            Err(trouble) => Err(CourseError::Outside(trouble)),
        }
    }

    fn proved(
        &mut self,
        certificate: &Certificate,
        mut record: Record,
        text: &str,
    ) -> Result<(), CourseError> {
        let name = certificate.name.as_str();
        record.prove();
        let serial = record.current.leaf().map(|leaf| leaf.serial).unwrap_or_default();
        tracing::info!(certificate = name, %serial, outcome = text, "the certificate is in use");
        self.went_well(name, &mut record, format!("in use: {serial}"));
        record::save(&self.host, name, &record)?;
        Directory::of(&self.host, certificate)?.prune()?;
        let is_answer = self.signed_for.remove(name).is_some();
        if is_answer && record.next.is_none() {
            self.answer(name, Outcome::Done(format!("{serial} is in use")));
        }
        Ok(())
    }

    /// Asks for the issuers of every PKI whose answer is old, and lays out bundles that differ. Whether there are any.
    async fn look_at_trust(&mut self, say: &mut impl FnMut(Report)) -> bool {
        let node = Arc::clone(&self.node);
        let mut is_changed = false;
        for certificate in vault_of(&node).into_iter().flat_map(|vault| &vault.certificates) {
            let name = certificate.name.as_str();
            let Ok(Some(record)) = record::load(&self.host, name) else { continue };
            if record.current.is_placeholder() || !record.proved {
                continue;
            }
            let (mount, _) = self.issuer_of(certificate);
            let known = self.issuers(&mount).await;
            let mut record = record;
            if !trust::refresh(&mut record, &known) {
                continue;
            }
            tracing::info!(certificate = name, "the issuers of its PKI have changed");
            record.proved = false;
            match record::save(&self.host, name, &record) {
                Ok(()) => is_changed = true,
                Err(error) => {
                    self.failed(certificate, Work::Put, CourseError::from(error).trouble())
                }
            }
            say(self.report());
        }
        is_changed
    }

    /// The issuers of a PKI; empty when Vault does not say.
    async fn issuers(&mut self, mount: &str) -> Vec<String> {
        if let Some((at, known)) = self.issuers.get(mount)
            && at.elapsed() < TRUST_LIFE
        {
            return known.clone();
        }
        let known = match self.outside.issuers(mount).await {
            Ok(known) => known,
            Err(trouble) => {
                tracing::debug!(mount, error = trouble.text, "cannot find out the issuers");
                // What was known stays known, and Vault is left alone.
                self.issuers.get(mount).map(|(_, known)| known.clone()).unwrap_or_default()
            }
        };
        self.issuers.insert(mount.to_owned(), (Instant::now(), known.clone()));
        known
    }

    fn existing(&self, certificate: &Certificate) -> Result<Record, CourseError> {
        let name = certificate.name.as_str();
        let gone =
            || RecordError::Broken { name: name.to_owned(), reason: "it is gone".to_owned() };
        Ok(record::load(&self.host, name)?.ok_or_else(gone)?)
    }

    fn went_well(&mut self, name: &str, record: &mut Record, text: String) {
        let unix_seconds = seconds(SystemTime::now());
        let last = Last { unix_seconds, good: true, text, hint: None, failures: 0 };
        record.last = Some(last.clone());
        self.lasts.insert(name.to_owned(), last);
    }

    fn failed(&mut self, certificate: &Certificate, work: Work, trouble: Trouble) {
        let name = certificate.name.as_str();
        self.pauses.begin(name, work, trouble.retry_at);
        self.counts.entry(name.to_owned()).or_default().1 += 1;
        let before = self.lasts.get(name).filter(|last| !last.good);
        let failures = before.map_or(0, |last| last.failures) + 1;
        let is_news = before.is_none_or(|last| last.text != trouble.text);
        if is_news {
            tracing::warn!(
                certificate = name,
                error = trouble.text,
                hint = trouble.hint,
                "trying again"
            );
        }
        let unix_seconds = seconds(SystemTime::now());
        let Trouble { text, hint, .. } = trouble;
        self.signed_for.remove(name);
        self.answer(name, Outcome::Failed(text.clone()));
        let last = Last { unix_seconds, good: false, text, hint, failures };
        self.lasts.insert(name.to_owned(), last.clone());
        if is_news && let Ok(Some(mut record)) = record::load(&self.host, name) {
            record.last = Some(last);
            if let Err(error) = record::save(&self.host, name, &record) {
                tracing::debug!(certificate = name, %error, "cannot note the failure");
            }
        }
    }

    fn request(&self, name: &str) -> Option<Request> {
        rotate::pending(&self.host)
            .into_iter()
            .find(|(of, _)| of == name)
            .map(|(_, request)| request)
    }

    /// There is nothing to do now. What an interruption left behind goes; and a certificate that was signed on request and
    /// waits for its window is as far as it gets.
    fn rest(&mut self, certificate: &Certificate) {
        let name = certificate.name.as_str();
        let Ok(Some(record)) = record::load(&self.host, name) else { return };
        if record.proved
            && let Err(error) = Directory::of(&self.host, certificate).and_then(|it| it.prune())
        {
            tracing::debug!(certificate = name, %error, "cannot tidy up");
        }
        if self.signed_for.contains_key(name)
            && let Some(leaf) = record.next.as_ref().and_then(|next| next.issued.leaf().ok())
        {
            let at = moment(activates_at(&record, certificate));
            self.signed_for.remove(name);
            self.answer(
                name,
                Outcome::Done(format!("{} is signed, and taken into use at {at}", leaf.serial)),
            );
        }
    }

    /// Answers the request about a certificate, if there is one.
    fn answer(&mut self, name: &str, outcome: Outcome) {
        let Some(request) = self.request(name) else { return };
        if let Err(error) = rotate::done(&self.host, name) {
            tracing::warn!(certificate = name, %error, "cannot remove the request to rotate");
        }
        self.rotations.insert(name.to_owned(), Rotation { id: request.id, outcome });
    }

    fn refuse_unknown(&mut self, known: Vec<&str>) {
        for (name, _) in rotate::pending(&self.host) {
            if !known.contains(&name.as_str()) {
                self.answer(&name, Outcome::Failed("the node has no such certificate".to_owned()));
            }
        }
    }

    fn asked(&self, certificate: &Certificate) -> String {
        let (mount, role) = self.issuer_of(certificate);
        record::asked(certificate, &mount, &role)
    }

    fn issuer_of(&self, certificate: &Certificate) -> (String, String) {
        let vault = vault_of(&self.node).expect("its certificates are those of a Vault");
        let or = |own: &Option<String>, general: &String| own.as_ref().unwrap_or(general).clone();
        (or(&certificate.pki_mount, &vault.pki_mount), or(&certificate.pki_role, &vault.pki_role))
    }

    fn place(&self, name: &str) -> Place {
        place(&self.machine, name)
    }

    /// How every certificate stands.
    pub(super) fn report(&mut self) -> Report {
        let clock_is_sure = self.outside.now().is_some();
        let certificates = vault_of(&self.node).into_iter().flat_map(|vault| &vault.certificates);
        let rows = certificates.map(|certificate| {
            let name = certificate.name.as_str();
            let (mount, _) = self.issuer_of(certificate);
            let known = self.issuers.get(&mount).map_or(&[][..], |(_, known)| known);
            let record = record::load(&self.host, name).ok().flatten();
            let mut row = row(certificate, record.as_ref(), known, self.place(name));
            row.clock_is_sure = clock_is_sure;
            (row.attempts, row.failures) = self.counts.get(name).copied().unwrap_or_default();
            row.last = self.lasts.get(name).cloned().or(row.last);
            row.rotation = self.rotations.get(name).cloned();
            row
        });
        let mut certificates: Vec<_> = rows.collect();
        certificates.sort_by(|a, b| a.name.cmp(&b.name));
        Report { certificates, ..Report::default() }
    }
}

/// What tells this machine from all others; the name of the node where nothing else does.
pub(super) fn machine(host: &Host, node: &Node) -> String {
    let id = look::read_behind(&host.real("/etc/machine-id")).ok();
    let id = id.and_then(|text| String::from_utf8(text).ok()).map(|text| text.trim().to_owned());
    id.filter(|id| !id.is_empty()).unwrap_or_else(|| node.name.to_string())
}
