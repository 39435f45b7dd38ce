//! Login, messages that nobody asked for, and impossible lengths.

use super::named;
use super::peers::{NOTHING, Peers, STARTUP, backend, frontend};
use crate::TransactionStatus;
use crate::conversation::replies::server_sent;
use crate::conversation::requests::client_sent;
use crate::protocol::frame::{BadLength, MAX_HELD};
use crate::steering::Steering;

/// The SASL exchange and everything else before the end of the login passes unchanged. The wire adds our
/// parameters, in however many pieces the packet arrives.
#[test]
fn the_login_passes_with_our_parameters_added() {
    let startup = vec![("TimeZone".to_owned(), "UTC".to_owned())];
    let mut packet = b"\0\0\0\0\0\x03\0\0user\0u\0\0".to_vec();
    packet[3] = packet.len() as u8;
    for piece in 1..=packet.len() {
        let steering = Steering::new(startup.clone().into(), true);
        let mut peers = Peers::before_login(steering);
        for bytes in packet.chunks(piece) {
            client_sent(&mut peers.conversation, bytes).unwrap();
        }
        let sent = peers.at_server();
        assert_eq!(sent[..4], (sent.len() as u32).to_be_bytes());
        assert_eq!(sent[4..], *b"\0\x03\0\0user\0u\0TimeZone\0UTC\0\0");
        // AuthenticationSASL and its answer, and a password that looks like anything.
        let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
        let mut bytes = sasl.to_vec();
        assert_eq!(
            server_sent(&mut peers.conversation, &mut bytes),
            Ok(sasl.len())
        );
        let answer = b"p\xff\xff\xff\xffQ\0\0\0\x05S";
        client_sent(&mut peers.conversation, answer).unwrap();
        assert_eq!(peers.at_server(), answer);
        let told = peers.server(&["R ok", "S TimeZone=UTC", "K \0\0\x10\x01key", "Z I"]);
        assert_eq!(told, ["R", "S", "K", "Z I"]);
        assert_eq!(peers.observed.backend_pid(), 0x1001);
        assert_eq!(peers.observed.parameter("TimeZone").as_deref(), Some("UTC"));
        // diesel-async's two statements are answered, and nothing like them afterwards.
        peers.steering.set_rules(named());
        let first = peers.local(&["P s1 SET TIME ZONE 'UTC'", "D s1", "S"]);
        assert_eq!(first, ["1", "t", "n", "Z I"]);
        peers.local(&["P s2 SET CLIENT_ENCODING TO 'UTF8'", "D s2", "S"]);
        assert_eq!(peers.local(&["B s1", "E", "S"]), ["2", "C SET", "Z I"]);
        assert_eq!(
            peers
                .local(&["B s2", "E", "S", "C s1", "S", "C s2", "S"])
                .len(),
            7
        );
        assert_ne!(
            peers.client(&["P s3 SET TIME ZONE 'UTC'", "D s3", "S"]),
            NOTHING
        );
    }
}

/// A CancelRequest is not a startup packet.
#[test]
fn a_cancel_request_passes_as_it_is() {
    let packet = b"\0\0\0\x14\x04\xd2\x16\x2e\0\0\0\x01longkey\0";
    let startup = vec![("TimeZone".to_owned(), "UTC".to_owned())];
    let mut peers = Peers::before_login(Steering::new(startup.into(), false));
    client_sent(&mut peers.conversation, packet).unwrap();
    assert_eq!(peers.at_server(), packet);
}

/// A login that fails: the server's last words, and then nothing.
#[test]
fn a_refused_login_passes() {
    let mut peers = Peers::before_login(Steering::default());
    client_sent(&mut peers.conversation, STARTUP).unwrap();
    assert_eq!(peers.server(&["E 28P01"]), ["E 28P01"]);
    assert_eq!(
        peers.observed.last_error().unwrap().sqlstate().code(),
        "28P01"
    );
}

/// Notices, notifications and parameters may come at any time, even in the middle of an answer that the wire
/// does not pass on.
#[test]
fn what_comes_unasked_passes_anywhere() {
    let mut peers = Peers::new(named());
    assert_eq!(peers.server(&["N hi", "A pid"]), ["N", "A"]);
    peers.learns("s1", "update t", "n");
    peers.local(&["Q BEGIN"]);
    peers.client(&["B s1", "E", "S"]);
    let told = peers.server(&[
        "N a",
        "1",
        "A b",
        "2",
        "S a=b",
        "C BEGIN",
        "N c",
        "2",
        "S c=d",
        "C UPDATE 1",
        "N e",
        "Z T",
    ]);
    assert_eq!(
        told,
        ["N", "A", "S", "N", "2", "S", "C UPDATE 1", "N", "Z T"]
    );
    assert_eq!(peers.observed.parameter("c").as_deref(), Some("d"));
    // The server's last words belong to no request.
    peers.client(&["Q COMMIT"]);
    peers.server(&["C COMMIT", "Z I"]);
    assert_eq!(peers.server(&["E 57P01"]), ["E 57P01"]);
    assert_eq!(
        peers.observed.last_error().unwrap().sqlstate().code(),
        "57P01"
    );
}

/// Bad input: a frame that is too long, one that is too long to be kept whole, and one that is too short.
#[test]
fn hostile_lengths_are_refused() {
    for header in [
        *b"D\0\0\0\x03",
        *b"D\x40\0\0\x01",
        *b"Z\xff\xff\xff\xff",
        *b"T\0\0\0\0",
    ] {
        let mut peers = Peers::new(named());
        assert!(server_sent(&mut peers.conversation, &mut header.clone()).is_err());
        let mut peers = Peers::new(named());
        assert!(client_sent(&mut peers.conversation, &header).is_err());
    }
    let [_, a, b, c] = MAX_HELD.to_be_bytes();
    let mut peers = Peers::new(named());
    let refused = server_sent(&mut peers.conversation, &mut [b'E', 2, a, b, c]);
    assert!(matches!(refused, Err(BadLength { tag: b'E', .. })));
    let mut peers = Peers::new(named());
    assert!(server_sent(&mut peers.conversation, &mut b"Z\0\0\0\x06IT".clone()).is_err());
    // A long row passes as it comes.
    assert_eq!(
        server_sent(&mut peers.conversation, &mut b"D\x30\0\0\0row".clone()),
        Ok(8)
    );
}

/// A server that says too often that it is ready does not confuse the wire's own answers.
#[test]
fn an_answer_too_many_passes() {
    let mut peers = Peers::new(named());
    assert_eq!(peers.server(&["Z I", "D x", "C SELECT 1", "Z I"]).len(), 4);
    assert_eq!(peers.local(&["Q BEGIN"]), ["C BEGIN", "Z T"]);
    assert_eq!(peers.server(&["Z I"]), ["Z I"]);
    assert_eq!(peers.local(&["Q ROLLBACK"]), ["C ROLLBACK", "Z I"]);
    assert_eq!(peers.status(), TransactionStatus::Idle);
}

/// Endless names of parameters cost a bounded amount of memory.
#[test]
fn parameters_are_bounded() {
    let mut peers = Peers::new(named());
    for n in 0..2000 {
        peers.server(&[&format!("S name{n}=value")]);
    }
    assert!(peers.observed.parameter("name1").is_some());
    assert!(peers.observed.parameter("name1999").is_none());
}

/// A large Bind that arrives in small pieces is looked at once, and its memory given back.
#[test]
fn a_large_request_in_small_pieces_costs_no_more_than_its_size() {
    let mut peers = Peers::new(named());
    peers.learns("s1", "update t", "n");
    let mut bind = frontend("B s1");
    bind.extend(std::iter::repeat_n(b'x', 8 << 20));
    let length = bind.len() as u32 - 1;
    bind[1..5].copy_from_slice(&length.to_be_bytes());
    let began = std::time::Instant::now();
    for piece in bind.chunks(1000) {
        client_sent(&mut peers.conversation, piece).unwrap();
    }
    let rest = [frontend("E"), frontend("S")].concat();
    client_sent(&mut peers.conversation, &rest).unwrap();
    assert!(
        began.elapsed() < std::time::Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(peers.at_server().len(), bind.len() + 15);
    let answer = [backend("2"), backend("C UPDATE 1"), backend("Z I")].concat();
    server_sent(&mut peers.conversation, &mut answer.clone()).unwrap();
    let kept = peers.conversation.buffers();
    assert!(kept.iter().all(|capacity| *capacity < 4096));
}
