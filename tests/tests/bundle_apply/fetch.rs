//! Bundles from a registry over TLS: one that dies in the middle, one that has what nobody has signed, and none at all.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use basalt_image::bundle::store;
use basalt_image::io::digest::Digest;
use basalt_image::oci::registry::{self, Access, Client, Reference};
use basalt_model::node::Node;
use camino::Utf8Path;
use e2e::peers::{Peer, peer};
use e2e::wait::until;

use crate::bench::{Lab, Machine, PATIENCE};
use crate::bundles::{Signed, config_map, hello};

/// A registry behind something that may cut its answers off.
struct Registry {
    real: e2e::registry::Registry,
    /// The port that nodes know.
    port: u16,
    /// How many bytes of answers still pass.
    left: Arc<AtomicI64>,
}

impl Registry {
    fn start(program: &Peer) -> Registry {
        let real = e2e::registry::Registry::start(program, None).unwrap();
        let behind = real.address();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let of_relay = left.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(behind) else {
                    continue;
                };
                relay(client, server, &of_relay);
            }
        });
        Registry { real, port, left }
    }

    /// Lets so many bytes of answers pass, and cuts every connection when they have.
    fn dies_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    fn reference(&self, digest: &Digest) -> String {
        format!("localhost:{}/team/hello@{digest}", self.port)
    }

    /// Uploads a bundle; gives the archive that it was uploaded from.
    fn push(&self, signed: &Signed) -> std::path::PathBuf {
        let path = self.real.folder().join(format!("{}.tar", signed.generation));
        let archive = Utf8Path::from_path(&path).unwrap();
        store::write(archive, &signed.built, &signed.signatures).unwrap();
        let opened = store::open(archive, None).unwrap();
        let name: Reference = self.reference(&signed.built.manifest).parse().unwrap();
        let authorities = Some(self.real.authority().as_bytes().to_vec());
        let client = Client::new(&name, Access { authorities, credentials: None }).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(registry::bundle::push(&client, &opened)).unwrap();
        path
    }

    /// Has a node fetch a bundle from here.
    fn ask(&self, machine: &Machine, node_generation: u64, signed: &Signed) {
        let reference = self.reference(&signed.built.manifest).parse().unwrap();
        machine.ask(node_generation, signed, |node: &mut Node| {
            // Two, and none ends with a newline.
            let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
            let anchors =
                [("other", other.cert.pem()), ("registry", self.real.authority().to_owned())];
            let anchor =
                |(name, pem): (&str, String)| (name.parse().unwrap(), pem.trim().to_owned());
            node.trust_anchors = anchors.into_iter().map(anchor).collect();
            node.bundle.as_mut().unwrap().reference = reference;
        });
    }
}

/// Passes bytes on both ways, and answers for as long as some are left.
fn relay(client: TcpStream, server: TcpStream, left: &Arc<AtomicI64>) {
    let one_way = |mut from: TcpStream, mut to: TcpStream, left: Option<Arc<AtomicI64>>| {
        thread::spawn(move || {
            let mut buffer = [0; 4 << 10];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let taken = i64::try_from(count).unwrap();
                let is_over =
                    left.as_ref().is_some_and(|it| it.fetch_sub(taken, Ordering::SeqCst) < taken);
                if is_over || to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            for end in [&from, &to] {
                let _ = end.shutdown(Shutdown::Both);
            }
        });
    };
    one_way(client.try_clone().unwrap(), server.try_clone().unwrap(), None);
    one_way(server, client, Some(left.clone()));
}

/// Text that a compressor makes nothing of.
fn noise(bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text += Digest::of(text.as_bytes()).hex().as_str();
    }
    text
}

#[test]
fn a_bundle_comes_from_its_registry_and_outlives_it() {
    let (Some(lab), Some(program)) = (Lab::new(), peer("registry")) else { return };
    let registry = Registry::start(&program);
    let n1 = lab.machine("n1");
    let large = hello().with("40-maps/large.yaml", &config_map("large", &noise(200_000)));
    let first = lab.signer.sign(1, &large);
    lab.grants().add(&registry.push(&first));
    registry.ask(&n1, 1, &first);

    // It dies with the first answers on their way, and with most of them.
    registry.dies_after(40_000);
    let service = n1.start();
    let missed = || {
        n1.wait_for("the registry to be missed", |picture| {
            picture["state"] == "refused" && picture["message"].to_string().contains("be fetched")
        });
        assert_eq!(lab.writes(), [] as [String; 0]);
    };
    missed();
    registry.dies_after(90_000);
    missed();
    let node = n1.agent(&["status"]);
    let node = String::from_utf8(node.stdout).unwrap();
    assert!(node.contains("cannot be fetched"), "the status of the node says so: {node}");
    registry.dies_after(i64::MAX);
    n1.wait_for_commit(&first);
    let map = lab.get(&["configmap", "large", "-n", "hello"]).unwrap();
    assert_eq!(map["data"]["value"], noise(200_000));

    // What nobody has signed is not applied, whoever has it.
    let mut unsigned =
        lab.signer.sign(2, &large.clone().with("40-maps/two.yaml", &config_map("two", "x")));
    unsigned.signatures.clear();
    lab.grants().add(&registry.push(&unsigned));
    registry.ask(&n1, 2, &unsigned);
    n1.wait_for("no signature to be missed", |picture| {
        picture["state"] == "refused" && picture["message"].to_string().contains("is not signed")
    });
    let third = lab.signer.sign(3, &large);
    registry.push(&third);
    registry.ask(&n1, 3, &third);
    n1.wait_for_commit(&third);
    assert!(!lab.names("configmaps").contains(&"two".to_owned()));

    // With the registry gone, an agent that starts anew still has what it applied.
    drop(service);
    registry.real.stop().unwrap();
    lab.plane.kubectl(&["delete", "configmap", "large", "-n", "hello"]).unwrap();
    let _again = n1.start();
    until("the map to be repaired", PATIENCE, || {
        lab.names("configmaps").contains(&"large".to_owned()).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", n1.status()));
    n1.wait_for_commit(&third);
}
