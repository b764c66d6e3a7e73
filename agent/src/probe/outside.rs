//! Whether other nodes reach an address that this node holds: asks the witness of each other node's haproxy
//! ([`basalt_static_pods::control::haproxy_witness_path`]).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Answer;
use super::ask::status_of;

/// How long a witness may take; it has looked already.
const LIMIT: Duration = Duration::from_secs(2);

/// What a witness says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Reached,
    NotReached,
    /// It is away, or does not know the address.
    Nothing,
}

/// Asks all of them at once, from this node's address `source`; they are named by address.
pub(super) async fn ask(
    source: IpAddr,
    witnesses: &[SocketAddr],
    path: &str,
) -> Vec<(IpAddr, Word)> {
    let mut asked = JoinSet::new();
    for witness in witnesses.iter().copied() {
        let path = path.to_owned();
        asked.spawn(async move {
            let word = timeout(LIMIT, word(source, witness, &path)).await;
            (witness.ip(), word.unwrap_or(Word::Nothing))
        });
    }
    let mut words = asked.join_all().await;
    words.sort_by_key(|(address, _)| *address);
    words
}

async fn word(source: IpAddr, witness: SocketAddr, path: &str) -> Word {
    let url = format!("http://{witness}{path}");
    let Ok(stream) = connect(source, witness).await else { return Word::Nothing };
    match status_of(stream, &url, witness, path).await {
        Ok(200) => Word::Reached,
        Ok(503) => Word::NotReached,
        Ok(_) | Err(_) => Word::Nothing,
    }
}

/// A connection from `source`: the witness answers the addresses that it knows, and this machine has others too.
async fn connect(source: IpAddr, witness: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = match witness {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(witness).await
}

/// What follows from the words of the others about an address that works as seen from here (`here`).
pub(super) fn verdict(here: String, words: &[(IpAddr, Word)]) -> (Answer, String) {
    let who = |word: Word| {
        let those = words.iter().filter(|(_, said)| *said == word);
        those.map(|(address, _)| address.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (reached, not_reached) = (who(Word::Reached), who(Word::NotReached));
    match (reached.is_empty(), not_reached.is_empty()) {
        (false, true) => (Answer::Good, format!("{here}; reached by {reached}")),
        (false, false) => {
            (Answer::Good, format!("{here}; reached by {reached}, not by {not_reached}"))
        }
        (true, false) => (Answer::Bad, format!("{here}, but it is not reached by {not_reached}")),
        (true, true) => (
            Answer::Good,
            format!(
                "{here}; this node holds the address, and nobody else says whether it is reached"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn one_that_reaches_it_is_enough_and_one_that_does_not_counts_where_none_does() {
        let [a, b, c] = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let (reached, not, nothing) = (Word::Reached, Word::NotReached, Word::Nothing);
        for (words, answer, evidence) in [
            (
                vec![(a, reached), (b, reached)],
                Answer::Good,
                "here; reached by 192.0.2.1, 192.0.2.2",
            ),
            (
                vec![(a, not), (b, reached), (c, nothing)],
                Answer::Good,
                "here; reached by 192.0.2.2, not by 192.0.2.1",
            ),
            (vec![(a, not), (c, nothing)], Answer::Bad, "here, but it is not reached by 192.0.2.1"),
            (
                vec![(c, nothing)],
                Answer::Good,
                "here; this node holds the address, and nobody else says whether it is reached",
            ),
            (
                vec![],
                Answer::Good,
                "here; this node holds the address, and nobody else says whether it is reached",
            ),
        ] {
            assert_eq!(verdict("here".to_owned(), &words), (answer, evidence.to_owned()));
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_witnesses_say() {
        async fn witness(address: &str, answer: &'static str) -> SocketAddr {
            let listener = TcpListener::bind((address, 0)).await.unwrap();
            let own = listener.local_addr().unwrap();
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /192.0.2.10/443 HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
            own
        }
        let path = "/192.0.2.10/443";
        let witnesses = [
            witness("127.0.0.2", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await,
            witness("127.0.0.3", "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await,
            witness("127.0.0.4", "HTTP/1.1 404 Unknown\r\nContent-Length: 0\r\n\r\n").await,
            // Nobody listens there.
            "127.0.0.5:1".parse().unwrap(),
        ];
        let words = ask(IpAddr::from([127, 0, 0, 1]), &witnesses, path).await;
        let expected = [Word::Reached, Word::NotReached, Word::Nothing, Word::Nothing];
        assert_eq!(words.into_iter().map(|(_, word)| word).collect::<Vec<_>>(), expected);
    }
}
