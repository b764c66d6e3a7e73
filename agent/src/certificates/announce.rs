//! What the node tells its fleet through Vault: whom it trusts, and who signed what it uses. A change of an authority waits
//! for all nodes to say so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use basalt_model::node::{
    IDENTITY_CERTIFICATE_PATH, MountReport, Node, NodeReport, REPORT_MOUNT, VaultAuth, report_path,
};

use super::record::{self, Record};
use super::time::seconds;
use super::{trust, vault_of};
use crate::host::{Host, look};
use crate::vault::{Vault, VaultError};

/// Said again after this time, so that a node that has gone is told from one that has nothing new to say.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Tried again after a failure. Nobody on the node waits for it.
const RETRY: Duration = Duration::from_secs(5 * 60);

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    said: Option<BTreeMap<String, MountReport>>,
    due: Option<Instant>,
}

impl Announcer {
    /// When there is something to say, if nothing changes before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// Says how things stand, when that is new or a day old. Nodes without an identity of their own say nothing: no policy
    /// lets them.
    pub(super) async fn announce(&mut self, host: &Host, node: &Node, vault: &mut Vault) {
        let Some(of) = vault_of(node).filter(|it| matches!(it.auth, VaultAuth::Node(_))) else {
            return;
        };
        let mut mounts: BTreeMap<String, MountReport> = BTreeMap::new();
        for certificate in &of.certificates {
            let mount = certificate.pki_mount.as_ref().unwrap_or(&of.pki_mount);
            let record = record::load(host, certificate.name.as_str()).ok().flatten();
            merge(mounts.entry(mount.clone()), record.as_ref());
        }
        if let VaultAuth::Node(identity) = &of.auth {
            let chain =
                look::read_behind(&host.real(IDENTITY_CERTIFICATE_PATH)).unwrap_or_default();
            let issuers = trust::fingerprints(&String::from_utf8_lossy(&chain)).into_iter().skip(1);
            let issuer: Vec<String> = issuers.take(1).collect();
            let report = MountReport { trusts: issuer.clone(), leaves: issuer };
            mounts.entry(identity.pki_mount.clone()).or_insert(report);
        }
        // Before the first certificate there is nothing that anybody waits for.
        if mounts.values().all(|mount| mount.leaves.is_empty()) {
            return;
        }
        let is_due = self.due.is_none_or(|at| at <= Instant::now());
        if !is_due && self.said.as_ref() == Some(&mounts) {
            return;
        }
        let at = seconds(std::time::SystemTime::now()).max(0).cast_unsigned();
        let report = NodeReport { mounts: mounts.clone(), at };
        let data = serde_json::to_value(&report).expect("a report has text keys only");
        let path = report_path(&node.cluster, &node.name);
        let pause = match vault.write_kv(REPORT_MOUNT, &path, &data).await {
            Ok(()) => {
                self.said = Some(mounts);
                DAY
            }
            // It waits for a slot, like everything else that is asked.
            Err(VaultError::Waiting { until, .. }) => {
                until.saturating_duration_since(Instant::now())
            }
            Err(error) => {
                tracing::debug!(%error, "cannot tell the fleet whom this node trusts");
                // Not at each change: what is refused once is refused again.
                self.said = Some(mounts);
                match error {
                    VaultError::Denied { .. } | VaultError::Refused { .. } => DAY,
                    _ => RETRY,
                }
            }
        };
        self.due = Some(Instant::now() + pause);
    }
}

/// Adds one certificate to the report of its mount: what every one of them trusts, and whoever signed any.
fn merge(
    entry: std::collections::btree_map::Entry<'_, String, MountReport>,
    record: Option<&Record>,
) {
    let (trusts, leaves) = record.map(trust::said).unwrap_or_default();
    let all = |set: BTreeSet<String>| set.into_iter().collect::<Vec<String>>();
    match entry {
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(MountReport { trusts: all(trusts), leaves: all(leaves) });
        }
        std::collections::btree_map::Entry::Occupied(mut entry) => {
            let report = entry.get_mut();
            report.trusts.retain(|issuer| trusts.contains(issuer));
            let both = leaves.into_iter().chain(std::mem::take(&mut report.leaves));
            report.leaves = all(both.collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_certificate_that_does_not_trust_an_issuer_speaks_for_all_of_its_mount() {
        let mut mounts = BTreeMap::new();
        let report = |trusts: &[&str], leaves: &[&str]| MountReport {
            trusts: trusts.iter().map(|it| (*it).to_owned()).collect(),
            leaves: leaves.iter().map(|it| (*it).to_owned()).collect(),
        };
        mounts.insert("pki".to_owned(), report(&["new", "old"], &["old"]));
        // A placeholder, or nothing at all, trusts nobody.
        merge(mounts.entry("pki".to_owned()), None);
        assert_eq!(mounts["pki"], report(&[], &["old"]));
    }
}
