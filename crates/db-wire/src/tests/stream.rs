//! The stream itself, over a transport in memory.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use std::sync::Arc;

use tokio::sync::oneshot;

use super::named;
use crate::{Observed, Steering, TransactionStatus, Wire};

const STARTUP: &[u8] = b"\0\0\0\x08\0\x03\0\0";

/// case F1, case F2 and F5: the wire reads from the bytes what the pool must know.
#[tokio::test]
async fn the_wire_sees_status_work_and_sqlstate() {
    let (ours, mut server) = duplex(4096);
    let observed = Arc::new(Observed::default());
    let mut wire = Wire::new(ours, Arc::clone(&observed), Arc::default(), None);
    let mut read = [0; 256];

    wire.write_all(STARTUP).await.unwrap();
    server
        .write_all(b"K\0\0\0\x0c\0\0\x10\x01\0\0\0\x02S\0\0\0\x08a\0b\0Z\0\0\0\x05I")
        .await
        .unwrap();
    let _count = wire.read(&mut read).await.unwrap();
    assert_eq!(observed.backend_pid(), 0x1001);
    assert_eq!(observed.parameter("a").as_deref(), Some("b"));
    assert_eq!(observed.transaction_status(), TransactionStatus::Idle);

    // A lone Close is no work. A statement is work until its ReadyForQuery.
    wire.write_all(b"C\0\0\0\x06S\0S\0\0\0\x04").await.unwrap();
    assert!(!observed.is_working());
    wire.write_all(b"Q\0\0\0\x0bCOMMIT\0").await.unwrap();
    assert!(observed.is_working() && observed.is_committing());
    server
        .write_all(b"3\0\0\0\x04Z\0\0\0\x05IC\0\0\0\x0bCOMMIT\0Z\0\0\0\x05I")
        .await
        .unwrap();
    let _count = wire.read(&mut read).await.unwrap();
    assert!(!observed.is_working() && !observed.is_committing());
    assert_eq!(observed.statements(), 1);
}

#[tokio::test]
async fn an_error_is_kept_with_its_code() {
    let (ours, mut server) = duplex(4096);
    let observed = Arc::new(Observed::default());
    let mut wire = Wire::new(ours, Arc::clone(&observed), Arc::default(), None);
    let fields = b"SFEHLER\0VERROR\0C40P01\0Mwechselseitige Blockade\0nkey\0Rroutine\0\0";
    let mut bytes = vec![b'E'];
    bytes.extend_from_slice(&(fields.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(fields);
    server.write_all(&bytes).await.unwrap();
    let _count = wire.read(&mut [0; 256]).await.unwrap();
    let error = observed.last_error().unwrap();
    assert_eq!(error.sqlstate().code(), "40P01");
    assert_eq!(error.constraint(), Some("key"));
    assert_eq!(observed.errors(), 1);
}

#[tokio::test]
async fn a_dropped_wire_hands_its_transport_over() {
    let (ours, _server) = duplex(16);
    let observed = Arc::new(Observed::default());
    let (hand_back, claimed) = oneshot::channel();
    drop(Wire::new(
        ours,
        Arc::clone(&observed),
        Arc::default(),
        Some(hand_back),
    ));
    claimed.await.unwrap();
    assert!(observed.is_closed());
}

/// The wire counts what the transport has taken and given, and not what the client wrote or was
/// told.
#[tokio::test]
async fn bytes_are_counted_where_the_transport_takes_and_gives_them() {
    let (ours, mut server) = duplex(16);
    let observed = Arc::new(Observed::default());
    let steering = Arc::new(Steering::default());
    let mut wire = Wire::new(ours, Arc::clone(&observed), Arc::clone(&steering), None);
    let count = || (observed.bytes_sent(), observed.bytes_received());

    wire.write_all(STARTUP).await.unwrap();
    server.write_all(b"Z\0\0\0\x05I").await.unwrap();
    let _count = wire.read(&mut [0; 256]).await.unwrap();
    assert_eq!(count(), (8, 6));

    // The transport has room for eight more bytes until its other end is read.
    wire.write_all(b"Q\0\0\0\x0dselect 1\0").await.unwrap();
    assert_eq!(count(), (16, 6));
    server.read_exact(&mut [0; 16]).await.unwrap();
    wire.flush().await.unwrap();
    assert_eq!(count(), (22, 6));

    // The wire answers BEGIN itself.
    server.write_all(b"Z\0\0\0\x05I").await.unwrap();
    let _count = wire.read(&mut [0; 256]).await.unwrap();
    steering.set_rules(named());
    wire.write_all(b"Q\0\0\0\x0aBEGIN\0").await.unwrap();
    assert!(wire.read(&mut [0; 256]).await.unwrap() > 0);
    assert_eq!(count(), (22, 12));
}
