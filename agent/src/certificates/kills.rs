//! The process is killed at every point where a certificate's files change: a consumer finds the old set or the new one,
//! and the next process goes on from there.

use std::process::Command;

use basalt_model::node::{Certificate, CertificateLayout};
use camino::{Utf8Path, Utf8PathBuf};

use super::engine::Engine;
use super::leaf::Leaf;
use super::testing::{Ca, Fake, certificate, is_settled, names_in, node, served};
use super::time::HOUR;
use crate::fault;
use crate::host::Host;

/// Where the child works, and what it does there.
const ROOT: &str = "BASALT_TEST_ROOT";
const SCENE: &str = "BASALT_TEST_SCENE";

/// What is going on when the process is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// There is nothing yet.
    First,
    Renewal,
    /// Another issuer signs from now on: the old one is trusted until the new one is in use.
    Issuer,
    /// The new one is not served, and the old one returns.
    Return,
    /// Somebody wrote over the key.
    Mending,
    /// PKCS#12 is wanted as well.
    Layout,
}

const SCENES: [Scene; 6] =
    [Scene::First, Scene::Renewal, Scene::Issuer, Scene::Return, Scene::Mending, Scene::Layout];

impl Scene {
    fn wanted(self) -> Certificate {
        let mut wanted = certificate("ingress");
        if self == Scene::Layout {
            wanted.layouts.push(CertificateLayout::Pkcs12);
        }
        wanted
    }

    /// What happens before the process that is killed starts.
    fn prepare(self, host: &Host) {
        if self != Scene::First {
            work(host, &certificate("ingress"), Fake::with(Ca::kept_in(&host.path("/"))), 0);
        }
        if self == Scene::Mending {
            let key = host.real("/var/lib/basalt/certificates/ingress/key.pem");
            std::fs::write(key, "other").unwrap();
        }
    }

    /// What the process does that is killed, and the next one, whose consumers refuse nothing.
    fn play(self, host: &Host, is_first: bool) {
        // Another one each time: the next process meets a third one.
        let ca = if self == Scene::Issuer { Ca::new("lab") } else { Ca::kept_in(&host.path("/")) };
        let mut fake = Fake::with(ca);
        let is_due = matches!(self, Scene::Renewal | Scene::Issuer | Scene::Return);
        fake.refusals = u32::from(self == Scene::Return && is_first);
        work(host, &self.wanted(), fake, if is_due { 360 * HOUR } else { 0 });
    }
}

fn work(host: &Host, wanted: &Certificate, mut fake: Fake, later: i64) {
    fake.now = fake.now.map(|now| now + later);
    let mut engine = Engine::new(host, node(vec![wanted.clone()]), fake);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { while engine.work(&mut |_| {}).await == Some(i64::MIN) {} });
}

/// Runs in a process of its own; nothing in this one.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let host = Host::at(Utf8Path::new(root.to_str().unwrap())).unwrap();
    let scene = std::env::var(SCENE).unwrap();
    let scene = SCENES.into_iter().find(|it| format!("{it:?}") == scene).unwrap();
    scene.play(&host, true);
    fault::tell();
}

/// Plays the scene in a process of its own, which is killed at the point of this number. How many points it passed, when it
/// was not.
fn play(scene: Scene, root: &Utf8Path, kill_at: Option<usize>) -> Option<usize> {
    let variables = [(ROOT, root.as_str()), (SCENE, &format!("{scene:?}"))];
    fault::play("certificates::kills::child", &variables, kill_at)
}

fn copy(from: &Utf8Path) -> (tempfile::TempDir, Utf8PathBuf) {
    let keep = tempfile::tempdir().unwrap();
    let to = Utf8PathBuf::from_path_buf(keep.path().join("root")).unwrap();
    assert!(
        Command::new("cp").args(["-a", from.as_str(), to.as_str()]).status().unwrap().success()
    );
    (keep, to)
}

/// What a consumer finds, unless it is spoiled from the start.
fn seen(scene: Scene, host: &Host) -> Option<Leaf> {
    let key = host.real("/var/lib/basalt/certificates/ingress/key.pem");
    let is_spoiled = scene == Scene::Mending && std::fs::read(key).is_ok_and(|it| it == b"other");
    if is_spoiled { None } else { served(host, &certificate("ingress")) }
}

#[test]
fn killed_at_every_point_the_set_is_the_old_or_the_new_one() {
    let mut kills = 0;
    for scene in SCENES {
        let (_keep, base) = copy(Utf8Path::from_path(tempfile::tempdir().unwrap().path()).unwrap());
        let prepared = Host::at(&base).unwrap();
        scene.prepare(&prepared);
        let old = seen(scene, &prepared);
        let (_keep_whole, whole) = copy(&base);
        let points = play(scene, &whole, None).expect("nobody killed it");
        for point in 0..points {
            let (_keep, root) = copy(&base);
            assert_eq!(play(scene, &root, Some(point)), None, "{scene:?}: no point {point}");
            kills += 1;
            let host = Host::at(&root).unwrap();
            // Panics when files of two sets are mixed.
            let found = seen(scene, &host);
            let is_one_of_two = match (scene, &found) {
                (Scene::First | Scene::Mending, _) => true,
                (Scene::Layout, found) => *found == old,
                (Scene::Renewal | Scene::Issuer | Scene::Return, found) => found.is_some(),
            };
            assert!(is_one_of_two, "{scene:?} {point}: {found:?}");
            // The next process ends what this one began.
            scene.play(&host, false);
            let wanted = scene.wanted();
            let last = served(&host, &wanted).expect("every file is there");
            assert!(!last.placeholder && is_settled(&host, &wanted), "{scene:?} {point}");
            let names = names_in(&host, &wanted);
            let expected = if scene == Scene::Layout { 8 } else { 6 };
            assert_eq!(names.len(), expected, "{scene:?} {point}: {names:?}");
        }
        println!("{scene:?}: {points} points");
    }
    println!("{kills} kills");
    assert!(kills >= 200, "{kills} kills only");
}
