use proptest::prelude::*;

use super::*;

fn issuers(names: &str) -> BTreeMap<Fingerprint, Issuer> {
    names
        .split_whitespace()
        .map(|name| {
            let pem = format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----");
            (name.to_owned(), Issuer { pem, name: name.to_uppercase() })
        })
        .collect()
}

fn set(names: &str) -> BTreeSet<Fingerprint> {
    names.split_whitespace().map(str::to_owned).collect()
}

fn seen(listed: Option<&str>, bundle: &str, proved: &str, in_use: &str) -> Seen {
    Seen {
        listed: listed.map(issuers),
        bundle: issuers(bundle),
        proved: set(proved),
        in_use: set(in_use),
    }
}

#[track_caller]
fn check(seen: &Seen, expected: &str) {
    let found: Vec<String> = bundle(seen).issuers.into_keys().collect();
    assert_eq!(found, expected.split_whitespace().collect::<Vec<_>>(), "{seen:?}");
}

#[test]
fn what_is_trusted() {
    // The first one; then Vault gets another; then it forgets the old one.
    check(&seen(Some("old"), "", "", ""), "old");
    check(&seen(Some("new old"), "old", "old", "old"), "new old");
    check(&seen(Some("new"), "new old", "new old", "old"), "new old");
    check(&seen(Some("new"), "new old", "new old", "new"), "new");
    // Somebody was hasty and dropped the old issuer in Vault before anybody here trusted the new one.
    check(&seen(Some("new"), "old", "old", "old"), "new old");
    check(&seen(Some("new"), "old", "old", ""), "new old");
    check(&seen(Some("new"), "new old", "old", "new"), "new old");
    // Nothing is forgotten while Vault is away, or says that there is nothing.
    check(&seen(None, "new old", "new old", "new"), "new old");
    check(&seen(Some(""), "new old", "new old", "new"), "new old");
}

#[test]
fn the_file_has_each_certificate_on_lines_of_its_own() {
    let bundle = bundle(&seen(Some("a b"), "", "", ""));
    let one = |name| format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n");
    assert_eq!(bundle.pem(), one("a") + &one("b"));
    assert!(bundle.is_changed());
}

#[test]
fn a_leaf_waits_for_its_issuer() {
    let go = |seen: &Seen, issuer: &str| may_activate(seen, issuer, issuer) == Verdict::Go;
    assert!(go(&seen(Some("old"), "", "", ""), "old"), "the first one");
    assert!(go(&seen(Some("old"), "old", "old", "old"), "old"));
    assert!(!go(&seen(Some("new old"), "old", "old", "old"), "new"));
    assert!(!go(&seen(Some("new old"), "new old", "old", "old"), "new"), "written, not proved");
    assert!(go(&seen(Some("new old"), "new old", "new old", "old"), "new"));
}

#[test]
fn how_far_a_node_is() {
    let stages = |seen: &Seen| -> String {
        let all = progress(seen).issuers;
        all.iter().map(|(of, it)| format!("{of}:{:?} ", it.stage)).collect()
    };
    assert_eq!(stages(&seen(Some("new old"), "old", "old", "old")), "new:Listed old:Issuing ");
    assert_eq!(
        stages(&seen(Some("new old"), "new old", "old", "old")),
        "new:Trusting old:Issuing "
    );
    assert_eq!(
        stages(&seen(Some("new old"), "new old", "new old", "old")),
        "new:Trusted old:Issuing "
    );
    assert_eq!(stages(&seen(Some("new"), "new old", "new old", "new")), "new:Issuing old:Leaving ");
    assert_eq!(stages(&seen(None, "new", "new", "new")), "new:Issuing ");
}

/// What may happen around a node, in any order.
#[derive(Clone, Debug)]
enum Event {
    /// Vault lists these from now on; none: it is away.
    List(Option<BTreeSet<u8>>),
    /// The bundle that is planned is written and proved, or is written and cannot be proved.
    Write { is_proved: bool },
    /// Vault signs a leaf with this issuer, and it is taken into use if it may be.
    Leaf(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        proptest::option::of(proptest::collection::btree_set(0..4_u8, 0..3)).prop_map(Event::List),
        any::<bool>().prop_map(|is_proved| Event::Write { is_proved }),
        (0..4_u8).prop_map(Event::Leaf),
    ]
}

proptest! {
    /// Whatever Vault's operators do in whatever order: the leaf in use is of an issuer that was proved to be trusted
    /// before, and that issuer stays trusted as long as the leaf is in use. And once Vault settles, so does the node.
    #[test]
    fn never_a_gap(events in proptest::collection::vec(event(), 0..60)) {
        let mut node = Seen::default();
        let mut has_leaf = false;
        for event in events {
            match event {
                Event::List(listed) => {
                    node.listed = listed.map(|all| {
                        issuers(&all.iter().map(u8::to_string).collect::<Vec<_>>().join(" "))
                    });
                }
                Event::Write { is_proved } => {
                    let next = bundle(&node);
                    if is_proved || !has_leaf {
                        node.bundle = next.issuers;
                        node.proved = node.bundle.keys().cloned().collect();
                    }
                    // Not proved: the caller has put the old bundle back.
                }
                Event::Leaf(issuer) => {
                    let issuer = issuer.to_string();
                    let is_listed = node.listed.as_ref().is_some_and(|all| all.contains_key(&issuer));
                    if is_listed && may_activate(&node, &issuer, "") == Verdict::Go {
                        let mut of_all = node.clone();
                        of_all.in_use.insert(issuer.clone());
                        node.bundle = bundle(&of_all).issuers;
                        node.proved = node.bundle.keys().cloned().collect();
                        node.in_use = BTreeSet::from([issuer]);
                        has_leaf = true;
                    }
                }
            }
            for issuer in &node.in_use {
                prop_assert!(node.bundle.contains_key(issuer) && node.proved.contains(issuer));
                prop_assert!(bundle(&node).issuers.contains_key(issuer));
            }
        }
        if let Some(listed) = node.listed.clone().filter(|listed| !listed.is_empty()) {
            let last = listed.keys().next_back().unwrap().clone();
            node.bundle = bundle(&node).issuers;
            node.proved = node.bundle.keys().cloned().collect();
            prop_assert_eq!(may_activate(&node, &last, ""), Verdict::Go);
            node.in_use = BTreeSet::from([last]);
            prop_assert_eq!(bundle(&node).issuers, listed);
        }
    }
}
