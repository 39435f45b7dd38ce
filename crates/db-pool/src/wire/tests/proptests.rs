//! However the bytes of a conversation are cut, what either side gets and what is observed is the same.

use std::time::{SystemTime, UNIX_EPOCH};

use super::peers::{Peers, backend, frontend};
use super::recordings::{Recording, recordings};

/// What has come of each event: bytes to the server, bytes to the client, and what the pool would see.
type Trace = Vec<(Vec<u8>, Vec<u8>, String)>;

fn play((rules, events): &Recording, mut piece: impl FnMut(usize) -> usize) -> Trace {
    let mut peers = Peers::new(rules.clone());
    let mut trace = Vec::new();
    for (side, messages) in events {
        let make = if *side == '>' { frontend } else { backend };
        let mut bytes: Vec<u8> = messages.iter().flat_map(|text| make(text)).collect();
        let mut rest = &mut bytes[..];
        let mut at_client = Vec::new();
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(piece(rest.len()));
            if *side == '>' {
                peers.conversation.client_sent(now).unwrap();
            } else {
                let kept = peers.conversation.server_sent(now).unwrap();
                at_client.extend_from_slice(&now[..kept]);
            }
            at_client.extend_from_slice(&peers.at_client());
            rest = later;
        }
        let seen = &peers.observed;
        let observed = format!(
            "{:?} {} {} {} {} {} {} {:?} {}",
            seen.transaction_status(),
            seen.is_working(),
            seen.is_committing(),
            seen.statements(),
            seen.errors(),
            seen.stale_statements(),
            seen.refused_commits(),
            seen.last_error(),
            seen.is_spoilt(),
        );
        trace.push((peers.at_server(), at_client, observed));
    }
    trace
}

#[test]
fn recorded_conversations_are_the_same_however_they_are_cut() {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let mut random = fastrand::Rng::with_seed(seed);
    for (number, recording) in recordings().iter().enumerate() {
        let whole = play(recording, |length| length);
        assert_eq!(whole, play(recording, |_| 1), "recording {number} by bytes");
        for _ in 0..300 {
            let widest = random.usize(1..=64);
            let cut = play(recording, |length| random.usize(1..=widest.min(length)));
            assert_eq!(whole, cut, "recording {number}, seed {seed}");
        }
    }
}

/// What a server may send at any time changes nothing but itself.
#[test]
fn notices_between_any_two_messages_change_nothing_else() {
    let notice = backend("N a notice");
    for (number, recording) in recordings().iter().enumerate() {
        let plain = play(recording, |length| length);
        let mut noisy = recording.clone();
        for (side, messages) in &mut noisy.1 {
            if *side == '<' {
                let between = messages
                    .drain(..)
                    .flat_map(|text| ["N a notice", text])
                    .collect();
                *messages = between;
            }
        }
        let noisy = play(&noisy, |length| length);
        for ((asked, told, seen), (plain_asked, plain_told, plain_seen)) in noisy.iter().zip(&plain)
        {
            let quiet: Vec<u8> = super::peers::frames(told)
                .filter(|(tag, body)| (*tag, *body) != (b'N', &notice[5..]))
                .flat_map(|(tag, body)| {
                    let mut out = Vec::new();
                    super::super::message::put(&mut out, tag, &[body]);
                    out
                })
                .collect();
            assert_eq!(
                (asked, &quiet, seen),
                (plain_asked, plain_told, plain_seen),
                "{number}"
            );
        }
    }
}
