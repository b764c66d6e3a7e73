//! A registry sends an upload elsewhere, and whoever is there asks for the password.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use e2e::authority::Authority;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::{Desk, base64_of};

/// A server on loopback, and the heads of the requests that came.
struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers each request with what `answer` makes of its head, on a connection of its own.
    fn start(config: &Arc<ServerConfig>, answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server { address: listener.local_addr().unwrap(), heads: Arc::default() };
        let (config, heads) = (Arc::clone(config), Arc::clone(&server.heads));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(connection, stream));
                let Some(head) = head(&mut stream) else { continue };
                let answer = answer(&head);
                heads.lock().unwrap().push(head);
                let stream = stream.get_mut();
                let _ = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        server
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// The head of a request, whose body is read and thrown away.
fn head(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: u64 = length.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
    std::io::copy(&mut stream.take(length), &mut std::io::sink()).ok()?;
    Some(head)
}

fn answer(status: &str, field: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{field}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

#[test]
fn the_password_is_the_registrys_alone() {
    let Some(desk) = Desk::new() else { return };
    desk.build("layout");
    let authority = Authority::new("Lab registry CA").unwrap();
    let (chain, key) = authority.issue(&["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        );
    let config = Arc::new(config.unwrap());

    for scheme in ["Basic", "Bearer"] {
        let realm = Server::start(&config, |_| answer("200 OK", "X-Token: none"));
        let wish = format!("WWW-Authenticate: {scheme} realm=\"https://{}/token\"", realm.address);
        let elsewhere = Server::start(&config, move |_| answer("401 Unauthorized", &wish));
        let place = format!("Location: https://{}/upload", elsewhere.address);
        let registry = Server::start(&config, move |head| match head.split(' ').next() {
            Some("HEAD") => answer("404 Not Found", "X-Blob: none"),
            _ => answer("202 Accepted", &place),
        });

        let trusted = desk.path("ca.pem");
        fs::write(&trusted, authority.pem()).unwrap();
        let auth = desk.path("auth.json");
        let login = json!({"auth": base64_of(b"lab:lab-password")});
        let host = registry.address.to_string();
        fs::write(&auth, json!({"auths": {host.as_str(): login}}).to_string()).unwrap();
        let reference = format!("{host}/team/hello:1");
        let options = ["--certificate-authority", &trusted, "--authfile", &auth, "--unsigned"];
        let layout = desk.path("layout");
        let said = desk.bad(&[&["push", &layout, &reference][..], &options].concat());
        assert!(said.contains("401"), "{scheme}: {said}");

        assert_eq!(elsewhere.heads().len(), 1, "{scheme}");
        for head in [realm.heads(), elsewhere.heads()].concat() {
            assert!(!head.to_ascii_lowercase().contains("authorization"), "{scheme}: {head}");
        }
        assert!(realm.heads().is_empty(), "{scheme}: {:?}", realm.heads());
        assert!(!registry.heads().is_empty(), "{scheme}");
    }
}
