//! Before the first statement: the startup packet, and the statements with which diesel-async sets
//! up a connection.

use crate::conversation::Conversation;
use crate::conversation::inbox::Frame;
use crate::conversation::startup::Phase;

/// Passes the login on, and adds our parameters to its first packet, which is a length, the version,
/// pairs of texts, and a NUL.
pub(super) fn log_in(conversation: &mut Conversation, bytes: &[u8]) {
    if conversation.phase == Phase::Login {
        conversation.to_server.end().extend_from_slice(bytes);
        return;
    }
    let mut packet = conversation.inbox.take();
    packet.extend_from_slice(bytes);
    let length = packet
        .first_chunk::<4>()
        .map(|length| u32::from_be_bytes(*length) as usize);
    let Some(length) = length.filter(|length| packet.len() >= *length) else {
        return conversation.inbox.put_back(packet, 0);
    };
    conversation.phase = Phase::Login;
    let (packet, rest) = packet.split_at(length);
    let mut added = Vec::new();
    for (name, value) in conversation.steering.startup() {
        for text in [name, value] {
            added.extend_from_slice(text.as_bytes());
            added.push(0);
        }
    }
    let out = conversation.to_server.end();
    match packet.split_last() {
        Some((0, pairs)) if pairs.get(4..6) == Some(&MAJOR) && !added.is_empty() => {
            let longer = (length + added.len()) as u32;
            out.extend_from_slice(&longer.to_be_bytes());
            out.extend_from_slice(&pairs[4..]);
            out.extend_from_slice(&added);
            out.push(0);
        }
        _ => out.extend_from_slice(packet),
    }
    out.extend_from_slice(rest);
}

/// Answers diesel-async's set-up statements. Returns `false` if the request is something else.
pub(super) fn answer_set_up(
    conversation: &mut Conversation,
    inbox: &[u8],
    frames: &[Frame],
) -> bool {
    if !conversation.steering.answers_set_up() || conversation.set_up.is_over() {
        return false;
    }
    let Some(messages) = conversation.set_up.answer(inbox, frames) else {
        return false;
    };
    conversation.answer(messages, None);
    true
}

/// The major version in a startup packet. A CancelRequest has another number in its place.
const MAJOR: [u8; 2] = [0, 3];
