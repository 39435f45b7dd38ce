//! Each of several addresses gets its chance.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use db_config::PooledUrl;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// FATAL with this code and message, as a server refuses a login.
fn refusal(code: &str, message: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0Rauth_failed\0\0");
    let length = (fields.len() as u32 + 4).to_be_bytes();
    [b"E".as_slice(), &length, fields.as_bytes()].concat()
}

/// A listener that answers each login with this and hangs up, or stays silent; and how often it was called.
async fn listener(answer: Option<Vec<u8>>) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = &answer {
                let _startup = stream.read(&mut [0; 1024]).await;
                let _said = stream.write_all(answer).await;
            } else {
                silent.push(stream);
            }
        }
    });
    (address, calls)
}

async fn open_among(addresses: Vec<SocketAddr>, bound: Duration) -> ConnectError {
    let url = PooledUrl::parse("postgres://u:p@db.example.com/d?sslmode=disable").unwrap();
    let endpoint = Endpoint::from(url);
    let settings = SessionSettings::of_endpoint(&endpoint, "tests");
    let login = Login::new(&endpoint, settings, SocketBounds::default());
    let resolved = Resolved {
        addresses: addresses.into_iter().map(Some).collect(),
        clock: Clock::start(),
    };
    let deadline = Instant::now() + bound;
    let progress = ConnectProgress::default();
    let opening = login.open_among(&endpoint, &login.hosts[0], resolved, deadline, &progress);
    match opening.await {
        Ok(_opened) => panic!("nobody lets us in"),
        Err(error) => error,
    }
}

/// The first address swallows packets, and the second one is tried in time.
#[tokio::test]
async fn an_address_that_is_silent_leaves_time_for_the_next() {
    let (silent, _) = listener(None).await;
    let (refusing, calls) = listener(Some(refusal("28P01", "no"))).await;
    let began = Instant::now();
    let error = open_among(vec![silent, refusing], Duration::from_secs(2)).await;
    assert_eq!(error.failure(), ConnectFailure::Authentication, "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// A refused login is final, and the answer of the next address does not hide it. A failure that may heal
/// is not final.
#[tokio::test]
async fn the_word_of_a_server_is_told_whichever_address_it_came_from() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let (refusing, _) = listener(Some(refusal("28P01", "no"))).await;
    let (next, calls) = listener(Some(refusal("28P01", "no"))).await;
    let error = open_among(vec![refusing, next], Duration::from_secs(5)).await;
    assert_eq!(error.failure(), ConnectFailure::Authentication, "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 0, "a refused login is final");

    let (starting, _) = listener(Some(refusal("57P03", "starting up"))).await;
    for order in [vec![starting, nobody], vec![nobody, starting]] {
        let error = open_among(order, Duration::from_secs(5)).await;
        assert_eq!(error.failure(), ConnectFailure::Unavailable, "{error}");
    }
}

/// The peer was reached, and does not speak PostgreSQL.
#[tokio::test]
async fn what_answers_in_another_protocol_was_reached() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"-ERR unknown command\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
    ] {
        let (other, _) = listener(Some(answer.to_vec())).await;
        let error = open_among(vec![other], Duration::from_secs(5)).await;
        assert_eq!(error.failure(), ConnectFailure::NotPostgres, "{error}");
        assert!(
            error.to_string().contains("does not speak PostgreSQL"),
            "{error}"
        );
    }
}
