//! However the bytes of a conversation are cut, both sides get the same, and the observed facts are the
//! same.

use crate::conversation::replies::server_sent;
use crate::conversation::requests::client_sent;
use std::sync::Arc;

use proptest::prelude::*;

use super::peers::{Peers, backend, frames, frontend};
use super::recordings::{Recording, recordings};
use crate::protocol::message::put;

/// The effects of each event: bytes to the server, bytes to the client, and what the pool would see.
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
                client_sent(&mut peers.conversation, now).unwrap();
            } else {
                let kept = server_sent(&mut peers.conversation, now).unwrap();
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

fn whole(recording: &Recording) -> Trace {
    play(recording, |length| length)
}

/// The conversation in pieces of these lengths. After the last length it begins again with the first.
fn cut(recording: &Recording, lengths: &[usize]) -> Trace {
    let mut lengths = lengths.iter().copied().cycle();
    play(recording, |left| lengths.next().unwrap_or(1).min(left))
}

/// Lengths of pieces: in one case all short, in another some long.
fn lengths() -> impl Strategy<Value = Vec<usize>> {
    (1..=64_usize).prop_flat_map(|widest| proptest::collection::vec(1..=widest, 1..64))
}

/// A recording, and its effects in one piece.
fn recorded() -> impl Strategy<Value = Arc<(Recording, Trace)>> {
    let played = recordings().into_iter().map(|recording| {
        let trace = whole(&recording);
        Arc::new((recording, trace))
    });
    proptest::sample::select(played.collect::<Vec<_>>())
}

const NOTICE: &str = "N a notice";

/// The recording with a notice after each message of the server for which `behind` is true.
fn with_notices((rules, events): &Recording, behind: &[bool]) -> Recording {
    let mut behind = behind.iter().cycle();
    let events = events.iter().map(|(side, messages)| {
        let mut noisy = Vec::new();
        for message in messages {
            noisy.push(*message);
            if *side == '<' && behind.next() == Some(&true) {
                noisy.push(NOTICE);
            }
        }
        (*side, noisy)
    });
    (rules.clone(), events.collect())
}

fn without_notices(told: &[u8]) -> Vec<u8> {
    let notice = backend(NOTICE);
    let mut quiet = Vec::new();
    for (tag, body) in frames(told).filter(|(tag, body)| (*tag, *body) != (b'N', &notice[5..])) {
        put(&mut quiet, tag, &[body]);
    }
    quiet
}

/// Each recording, in the shortest possible pieces.
#[test]
fn recorded_conversations_are_the_same_byte_by_byte() {
    for (number, recording) in recordings().iter().enumerate() {
        assert_eq!(whole(recording), cut(recording, &[1]), "recording {number}");
    }
}

/// About 300 for each recording.
const CUTS: u32 = 3000;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CUTS) })]

    #[test]
    fn recorded_conversations_are_the_same_however_they_are_cut(
        recorded in recorded(),
        lengths in lengths(),
    ) {
        let (recording, whole) = &*recorded;
        prop_assert_eq!(&cut(recording, &lengths), whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Messages that a server may send at any time change nothing else.
    #[test]
    fn notices_between_any_messages_change_nothing_else(
        recorded in recorded(),
        behind in proptest::collection::vec(any::<bool>(), 1..16),
        lengths in lengths(),
    ) {
        let (recording, whole) = &*recorded;
        let noisy = cut(&with_notices(recording, &behind), &lengths);
        let quiet: Trace = noisy
            .into_iter()
            .map(|(asked, told, seen)| (asked, without_notices(&told), seen))
            .collect();
        prop_assert_eq!(&quiet, whole);
    }
}
