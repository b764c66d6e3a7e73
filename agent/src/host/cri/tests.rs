use std::time::Instant;

use tempfile::TempDir;
use tokio::net::UnixListener;

use super::*;

fn socket_in(scratch: &TempDir) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(scratch.path().join("cri.sock")).unwrap()
}

#[tokio::test]
async fn nobody_listens() {
    let scratch = TempDir::new().unwrap();
    let cri = Cri::at(&socket_in(&scratch)).unwrap();
    let error = cri.sandboxes().await.unwrap_err();
    assert!(matches!(error, CriError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_runtime_that_hangs_does_not_hang_the_agent() {
    let scratch = TempDir::new().unwrap();
    let socket = socket_in(&scratch);
    // Accepts in the kernel's queue and never says a word.
    let _listener = UnixListener::bind(&socket).unwrap();
    let cri = Cri::at(&socket).unwrap();
    let start = Instant::now();
    let error = cri.sandboxes().await.unwrap_err();
    assert!(start.elapsed() < DEADLINE * 2, "{:?}", start.elapsed());
    assert!(matches!(error, CriError::Deadline { .. }), "{error}");
}

/// Bytes written by hand from the definition, so that a wrong field number shows.
#[test]
fn field_numbers() {
    // items { id: "s" metadata { name: "n" uid: "u" namespace: "k" attempt: 7 } state: 1 created_at: 5 }
    let bytes = b"\x0a\x14\x0a\x01s\x12\x0b\x0a\x01n\x12\x01u\x1a\x01k\x20\x07\x18\x01\x20\x05";
    let answer = messages::ListPodSandboxResponse::decode(&bytes[..]).unwrap();
    let pod = PodRun { name: "n".into(), namespace: "k".into(), uid: "u".into() };
    let expected = Sandbox { id: "s".into(), pod, is_ready: false, created_unix_nanos: 5 };
    let seen: Vec<Sandbox> = answer.items.into_iter().map(sandbox).collect();
    assert_eq!(seen, [expected]);
}
