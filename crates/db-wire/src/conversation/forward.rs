//! Requests that pass as they are.

use crate::conversation::Conversation;
use crate::conversation::exchange::Exchange;
use crate::conversation::inbox::Frame;
use crate::request::Request;
use crate::sql::transactions::may_commit;

/// Sends a request on as it is.
pub(super) fn forward(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) {
    let mut request = Request::Housekeeping;
    let mut extended = true;
    for frame in frames {
        request = match frame.tag {
            b'Q' if may_commit(conversation.sql(frame.body(inbox))) => Request::Commit,
            b'Q' | b'E' | b'F' => Request::Work,
            _ => request,
        };
        extended &= frame.tag != b'Q';
    }
    pass(conversation, inbox, frames);
    let mut exchange = Exchange::new(request);
    exchange.extended = extended;
    conversation.expect_answer(exchange);
}

pub(super) fn pass(conversation: &mut Conversation, inbox: &[u8], frames: &[Frame]) {
    for frame in frames {
        conversation
            .to_server
            .end()
            .extend_from_slice(frame.bytes(inbox));
    }
}
