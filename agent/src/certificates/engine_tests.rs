//! The engine with a Vault and consumers that do as they are told.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use basalt_model::node::{ActivationWindow, Certificate, CertificateLayout};
use tempfile::TempDir;

use super::engine::Engine;
use super::leaf::Leaf;
use super::record;
use super::report::{Outcome, Report, Standing};
use super::rotate::{self, Request};
use super::testing::{Ca, Fake, certificate, is_settled, names_in, node, served};
use super::time::{DAY, HOUR};
use crate::host::Host;
use crate::testing::scratch_host;

struct Bench {
    _keep: TempDir,
    host: Host,
    wanted: Certificate,
    engine: Engine<Fake>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(certificate("ingress"))
    }

    fn with(wanted: Certificate) -> Bench {
        let (keep, host) = scratch_host();
        let engine = Engine::new(&host, node(vec![wanted.clone()]), Fake::new());
        Bench { _keep: keep, host, wanted, engine }
    }

    fn work(&mut self) -> Report {
        let mut last = Report::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // A change of the issuers is laid out in the round after.
            while self.engine.work(&mut |report| last = report).await == Some(i64::MIN) {}
        });
        last
    }

    /// A new process on the same disk.
    fn restart(&mut self) {
        let (node, fake) = (node(vec![self.wanted.clone()]), Fake::new());
        let old = std::mem::replace(&mut self.engine, Engine::new(&self.host, node, fake));
        self.engine.outside = old.outside;
    }

    fn want(&mut self, change: impl FnOnce(&mut Certificate)) {
        change(&mut self.wanted);
        self.engine.obey(node(vec![self.wanted.clone()]));
    }

    #[track_caller]
    fn served(&self) -> Leaf {
        served(&self.host, &self.wanted).expect("every file is there")
    }

    fn log(&mut self) -> Vec<String> {
        self.engine.outside.taken_log()
    }

    fn pass(&mut self, seconds: i64) {
        let now = self.engine.outside.now.unwrap() + seconds;
        self.engine.outside.now = Some(now);
    }
}

const SIGN: &str = "sign ingress pki/node";

#[test]
fn a_first_certificate_replaces_its_placeholder() {
    let mut bench = Bench::new();
    bench.engine.outside.away = Some("Vault is sealed");
    let report = bench.work();
    assert_eq!(report.certificates[0].standing, Standing::Placeholder);
    assert!(bench.served().placeholder);
    assert!(
        bench.served().subject.contains("Basalt placeholder, not a certificate of the authority")
    );
    assert_eq!(report.problems(), ["certificate ingress is not signed: Vault is sealed"]);
    assert_eq!(bench.log(), [SIGN], "one call, and then a pause");
    bench.work();
    assert_eq!(bench.log(), [""; 0]);

    bench.engine.outside.away = None;
    bench.restart();
    let report = bench.work();
    assert_eq!(bench.log(), [SIGN, "activate ingress after another"]);
    let row = &report.certificates[0];
    assert_eq!((row.standing, report.problems()), (Standing::InUse, vec![]));
    let leaf = bench.served();
    assert_eq!(row.leaf.as_ref(), Some(&leaf));
    assert_eq!(leaf.life(), 720 * HOUR);
    assert_eq!(row.renew_by, Some(leaf.not_before + 360 * HOUR));
    assert!(row.renew_at.unwrap() > leaf.not_before + 180 * HOUR - 1);
    let names = names_in(&bench.host, &bench.wanted);
    assert_eq!(names.len(), 6, "one set, and no leftovers: {names:?}");
    bench.work();
    assert_eq!(bench.log(), [""; 0], "nothing is left to do");
}

#[test]
fn files_have_the_owner_and_mode_that_are_wanted() {
    let mut bench = Bench::new();
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        std::fs::create_dir_all(bench.host.path("/etc")).unwrap();
        std::fs::write(bench.host.path("/etc/passwd"), "web:x:4711:4711::/:/bin/sh\n").unwrap();
        std::fs::write(bench.host.path("/etc/group"), "tls:x:4712:\n").unwrap();
        bench.want(|it| (it.owner, it.group) = ("web".to_owned(), "tls".to_owned()));
    }
    bench.work();
    let folder = bench.host.real(bench.wanted.directory.as_str());
    for (name, mode) in
        [("key.pem", 0o640), ("combined.pem", 0o640), ("certificate.pem", 0o644), ("ca.pem", 0o644)]
    {
        let stat = folder.join(name).metadata().unwrap();
        assert_eq!(stat.permissions().mode() & 0o7777, mode, "{name}");
        if is_root {
            assert_eq!((stat.uid(), stat.gid()), (4711, 4712), "{name}");
        }
    }
    let records = bench.host.path(record::RECORDS_DIRECTORY);
    assert_eq!(records.metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(records.join("ingress.json").metadata().unwrap().mode() & 0o7777, 0o600);
    bench.want(|it| it.owner = "nobody-knows".to_owned());
    let report = bench.work();
    assert!(report.problems()[0].ends_with("the node has no user `nobody-knows`"), "{report:?}");
}

#[test]
fn it_is_renewed_when_it_is_time_and_not_sooner() {
    let mut bench = Bench::new();
    bench.work();
    let (first, _) = (bench.served(), bench.log());
    bench.pass(180 * HOUR - 1);
    bench.work();
    assert_eq!(bench.log(), [""; 0]);
    bench.pass(180 * HOUR + 1);
    bench.work();
    assert_eq!(bench.log(), [SIGN, "activate ingress after another"]);
    let second = bench.served();
    assert!(second.serial != first.serial && second.not_after > first.not_after);
    // Vault is away for as long as it may be: the last one goes on, and the report counts down.
    bench.engine.outside.away = Some("no Vault server can be used");
    bench.pass(361 * HOUR);
    let report = bench.work();
    assert_eq!(bench.served(), second);
    let until = super::time::moment(second.not_after);
    assert_eq!(
        report.problems(),
        [format!("certificate ingress lasts until {until}: no Vault server can be used")]
    );
    assert!(second.not_after > bench.engine.outside.now.unwrap(), "not run out yet");
    // Off for longer than the certificate lives.
    bench.log();
    bench.engine.outside.away = None;
    bench.pass(400 * DAY);
    bench.restart();
    bench.work();
    assert_eq!(bench.log(), [SIGN, "activate ingress after another"]);
    assert!(bench.served().not_after > bench.engine.outside.now.unwrap());
}

#[test]
fn an_unsure_clock_changes_nothing_that_works() {
    let mut bench = Bench::new();
    bench.work();
    bench.log();
    bench.engine.outside.now = None;
    let report = bench.work();
    assert!(!report.certificates[0].clock_is_sure && report.problems().is_empty());
    assert_eq!(bench.log(), [""; 0]);
}

#[test]
fn one_that_is_not_served_goes_back() {
    let mut bench = Bench::new();
    bench.work();
    let first = bench.served();
    bench.log();
    bench.pass(360 * HOUR);
    bench.engine.outside.refusals = 1;
    let report = bench.work();
    assert_eq!(
        bench.log(),
        [SIGN, "activate ingress after another", "activate ingress after another"]
    );
    assert_eq!(bench.served(), first);
    let row = &report.certificates[0];
    assert_eq!(row.standing, Standing::InUse);
    assert!(
        row.problem()
            .unwrap()
            .contains("shows another certificate; the certificate before is back"),
        "{row:?}"
    );
    assert_eq!(names_in(&bench.host, &bench.wanted).len(), 6);
    // After a pause it is tried with another one.
    bench.work();
    assert_eq!(bench.log(), [""; 0]);
    bench.restart();
    bench.work();
    assert_ne!(bench.served().serial, first.serial);

    // There is nothing better than a first one, nor than a new one when the old one ran out.
    let mut bench = Bench::new();
    bench.engine.outside.refusals = 1;
    let report = bench.work();
    assert_eq!(report.certificates[0].standing, Standing::Unproved);
    assert!(!bench.served().placeholder && report.problems().len() == 1);
    bench.restart();
    assert_eq!(bench.work().certificates[0].standing, Standing::InUse);
}

#[test]
fn a_new_one_waits_for_its_window() {
    let mut bench = Bench::new();
    bench.engine.outside.now = Some(1_800_000_000 / DAY * DAY);
    bench.want(|it| {
        it.activation = Some(ActivationWindow {
            from: "02:00".parse().unwrap(),
            until: "04:00".parse().unwrap(),
        });
    });
    bench.work();
    let first = bench.served();
    assert!(!first.placeholder, "a first one waits for nothing");
    bench.pass(360 * HOUR + 5 * HOUR);
    bench.log();
    let report = bench.work();
    assert_eq!(bench.log(), [SIGN]);
    assert_eq!(bench.served(), first);
    let next = report.certificates[0].next.clone().unwrap();
    assert_eq!(next.activate_at, bench.engine.outside.now.unwrap() + 21 * HOUR);
    bench.pass(21 * HOUR);
    bench.restart();
    bench.work();
    assert_eq!(bench.served().serial, next.serial);
}

#[test]
fn rotations_are_answered() {
    let mut bench = Bench::new();
    bench.want(|it| {
        it.activation = Some(ActivationWindow {
            from: "02:00".parse().unwrap(),
            until: "02:01".parse().unwrap(),
        });
    });
    bench.engine.outside.now = Some(1_800_000_000 / DAY * DAY);
    bench.work();
    let first = bench.served();
    let ask = |bench: &mut Bench, id: &str, now: bool| {
        rotate::ask(&bench.host, "ingress", &Request { id: id.to_owned(), now }).unwrap();
        let report = bench.work();
        let rotation = report.certificates[0].rotation.clone().unwrap();
        assert_eq!(rotation.id, id);
        assert_eq!(rotate::pending(&bench.host), [], "it is answered");
        rotation.outcome
    };
    let Outcome::Done(text) = ask(&mut bench, "1", false) else { panic!("it is signed") };
    assert!(text.contains("is signed, and taken into use at"), "{text}");
    assert_eq!(bench.served(), first);
    let Outcome::Done(text) = ask(&mut bench, "2", true) else { panic!("it is in use") };
    assert!(text.ends_with("is in use") && text.starts_with(&bench.served().serial), "{text}");
    assert_ne!(bench.served(), first);
    bench.engine.outside.away = Some("Vault is sealed");
    assert_eq!(ask(&mut bench, "3", true), Outcome::Failed("Vault is sealed".to_owned()));
}

#[test]
fn a_hostile_answer_changes_nothing() {
    let mut bench = Bench::new();
    bench.work();
    let first = bench.served();
    bench.pass(360 * HOUR);
    bench.engine.outside.is_hostile = true;
    let report = bench.work();
    assert_eq!(bench.served(), first);
    assert!(report.problems()[0].contains("signed another key"), "{report:?}");
}

#[test]
fn what_somebody_broke_is_mended() {
    type Spoil = (&'static str, fn(&Bench));
    let spoils: [Spoil; 9] = [
        ("a file is gone", |it| {
            std::fs::remove_file(folder_of(it).join("..data/key.pem")).unwrap()
        }),
        ("a key of another", |it| std::fs::write(folder_of(it).join("key.pem"), "other").unwrap()),
        ("a mode", |it| {
            let path = folder_of(it).join("key.pem");
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("a link is a file", |it| {
            let path = folder_of(it).join("key.pem");
            std::fs::remove_file(&path).unwrap();
            std::fs::write(path, "x").unwrap();
        }),
        ("all is gone", |it| std::fs::remove_dir_all(folder_of(it)).unwrap()),
        ("..data is gone", |it| std::fs::remove_file(folder_of(it).join("..data")).unwrap()),
        ("..data leads elsewhere", |it| {
            let path = folder_of(it).join("..data");
            std::fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/nowhere", path).unwrap();
        }),
        ("a stranger in the set", |it| std::fs::write(folder_of(it).join("..data/x"), "").unwrap()),
        ("the folder's mode", |it| {
            std::fs::set_permissions(folder_of(it), std::fs::Permissions::from_mode(0o700))
                .unwrap();
        }),
    ];
    let mut bench = Bench::new();
    bench.work();
    let first = bench.served();
    for (what, spoil) in spoils {
        bench.log();
        spoil(&bench);
        assert!(!is_settled(&bench.host, &bench.wanted), "{what}");
        bench.work();
        assert!(is_settled(&bench.host, &bench.wanted), "{what}");
        assert_eq!(bench.served(), first, "{what}");
        assert_eq!(
            bench.log(),
            ["activate ingress alone"],
            "{what}: consumers are told, Vault is not asked"
        );
    }
    assert_eq!(names_in(&bench.host, &bench.wanted).len(), 6);
}

fn folder_of(bench: &Bench) -> camino::Utf8PathBuf {
    bench.host.real(bench.wanted.directory.as_str())
}

#[test]
fn a_lost_record_costs_no_certificate() {
    for spoil in ["gone", "broken"] {
        let mut bench = Bench::new();
        bench.work();
        let (first, path) =
            (bench.served(), bench.host.path(record::RECORDS_DIRECTORY).join("ingress.json"));
        match spoil {
            "gone" => std::fs::remove_file(&path).unwrap(),
            _ => std::fs::write(&path, "{}").unwrap(),
        }
        super::ensure_placeholders(&bench.host, &node(vec![bench.wanted.clone()]));
        bench.engine.outside.away = Some("Vault is sealed");
        bench.restart();
        let report = bench.work();
        assert_eq!(bench.served(), first, "{spoil}");
        assert_eq!(report.certificates[0].standing, Standing::InUse);
        bench.engine.outside.away = None;
        bench.restart();
        bench.work();
        assert_ne!(bench.served(), first, "what it was asked for is not known any more");
    }
}

#[test]
fn another_wish_is_another_certificate() {
    let mut bench = Bench::new();
    bench.work();
    let first = bench.served();
    bench.want(|it| it.subject_alternative_names.push("more.lab.example".parse().unwrap()));
    bench.work();
    assert!(bench.served().names.contains("more.lab.example"));
    // A longer life or another window is no reason for a new one.
    bench.log();
    bench.want(|it| it.ttl_hours = 1000);
    bench.work();
    assert_eq!(bench.log(), [""; 0]);
    assert_ne!(bench.served(), first);
}

#[test]
fn layouts_come_and_go_without_vault() {
    let mut bench = Bench::new();
    bench.work();
    let first = bench.served();
    bench.log();
    bench.engine.outside.away = Some("away");
    bench.want(|it| it.layouts.push(CertificateLayout::Pkcs12));
    bench.work();
    assert_eq!(bench.served(), first);
    let text = |name: &str| std::fs::read(folder_of(&bench).join(name)).unwrap();
    let password = String::from_utf8(text("p12.password")).unwrap();
    assert_eq!(password.len(), 32);
    let policy = p12_keystore::Pkcs12ImportPolicy::Strict;
    let store =
        p12_keystore::KeyStore::from_pkcs12(&text("bundle.p12"), &password, policy).unwrap();
    let (_, chain) = store.private_key_chain().unwrap();
    assert!(chain.certs()[0].subject().contains("ingress.lab.example"));
    bench.want(|it| it.layouts = vec![CertificateLayout::Pkcs12]);
    bench.work();
    let names = names_in(&bench.host, &bench.wanted);
    assert_eq!(&names[2..], ["bundle.p12", "ca.pem", "p12.password"]);
    assert!(is_settled(&bench.host, &bench.wanted));
}

#[test]
fn a_new_issuer_is_trusted_before_it_signs() {
    let mut bench = Bench::new();
    bench.work();
    let first = bench.served();
    bench.log();
    let new = Ca::new("lab 2");
    bench.engine.outside.other_issuers = vec![new.pem.clone()];
    bench.restart();
    bench.work();
    assert_eq!(bench.log(), ["activate ingress alone"], "no new certificate for that");
    assert_eq!(bench.served(), first);
    let trust = std::fs::read_to_string(folder_of(&bench).join("ca.pem")).unwrap();
    assert!(trust.contains(new.pem.trim()) && trust.matches("BEGIN").count() == 2);
}

/// Trust everywhere, then issue, then drop the old one.
#[test]
fn another_issuer_signs_from_now_on() {
    let mut bench = Bench::new();
    bench.work();
    bench.log();
    let new = Ca::new("lab 2");
    bench.engine.outside.ca = new;
    bench.pass(360 * HOUR);
    bench.restart();
    bench.work();
    let log = bench.log();
    let expected = [
        SIGN,
        "activate ingress alone",
        "activate ingress after another",
        "activate ingress alone",
    ];
    assert_eq!(log, expected, "the bundle with both, the new leaf, the bundle without the old one");
    assert_eq!(bench.served().issuer, "CN=lab 2");
    let names = names_in(&bench.host, &bench.wanted);
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn ten_are_renewed_one_after_the_other() {
    let (_keep, host) = scratch_host();
    let many: Vec<Certificate> = (0..10).map(|number| certificate(&format!("c{number}"))).collect();
    let mut engine = Engine::new(&host, node(many.clone()), Fake::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = |engine: &mut Engine<Fake>| {
        let start = std::time::Instant::now();
        runtime.block_on(engine.work(&mut |_| {}));
        start.elapsed()
    };
    let first = work(&mut engine);
    let now = engine.outside.now.unwrap() + 360 * HOUR;
    engine.outside.now = Some(now);
    engine.outside.taken_log();
    let renewed = work(&mut engine);
    assert_eq!(engine.outside.taken_log().len(), 20);
    for wanted in &many {
        assert_eq!(served(&host, wanted).unwrap().not_before, now);
    }
    println!("10 certificates: first {first:?}, renewed {renewed:?} (debug build, no network)");
}
