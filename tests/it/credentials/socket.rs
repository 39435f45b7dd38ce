//! The same secret, hunted in what goes to the server where nothing is encrypted.

use std::sync::{Arc, Mutex};

use harness::TestDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::canary::{Hunted, betrays, change};
use super::{open, reaches_generation, sourced_at, user};

/// case R49: at a login, at one that is refused, at a rotation.
#[tokio::test]
async fn the_secret_is_in_no_socket() {
    let db = TestDatabase::empty().await.unwrap();
    let Hunted {
        secrets,
        path,
        first,
        second,
        wrong,
    } = Hunted::begin(&db).await;
    let (port, passed) = relay(db.server().port()).await;
    let url = harness::url(port, db.name(), db.role().name(), "nobody");
    let database = open(&sourced_at(&url, "file", &path, &[])).await;
    change(&db, &secrets, &second).await;
    reaches_generation(&database, 2).await;
    secrets.put_json("secret", db.role().name(), &wrong);
    database.refresh().await.unwrap_err();
    database.write(user).await.unwrap();
    let passed = String::from_utf8_lossy(&passed.lock().unwrap()).into_owned();
    assert!(passed.contains("SCRAM-SHA-256") && passed.contains(db.role().name()));
    for secret in [&first, &second, &wrong] {
        assert!(!betrays(&passed, secret));
    }
}

/// Passes bytes on to a port, and keeps them.
async fn relay(target: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let passed = Arc::<Mutex<Vec<u8>>>::default();
    let kept = Arc::clone(&passed);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pass_on(from_client, to_server, Arc::clone(&kept)));
            tokio::spawn(pass_on(from_server, to_client, Arc::clone(&kept)));
        }
    });
    (port, passed)
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, kept: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        kept.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
