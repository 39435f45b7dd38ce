//! Does the wire survive any two peers, and treat their bytes in the same way wherever they are cut?
//!
//! The input is a script of what client and server send: well-formed messages, which reach deep states,
//! and arbitrary bytes, which cover many errors. The target plays it twice: once whole, once cut into
//! pieces over a transport that takes little at a time. Both runs must give both sides the same bytes,
//! and show the pool the same facts. If neither side sent nonsense, both sides must have received whole
//! messages only.
//!
//! `just fuzz 600` first plays the statements of PostgreSQL's regression scripts.

#![no_main]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use db_wire::{LocalSettings, Naming, Observed, Rules, Steering, Wire};

fuzz_target!(|input: &[u8]| {
    let Some((&flags, script)) = input.split_first() else {
        return;
    };
    let events = events(script);
    let whole = play(flags, &events, usize::MAX);
    let cut = play(flags, &events, 1 + usize::from(flags) % 7);
    for (number, (whole, cut)) in whole.iter().zip(&cut).enumerate() {
        assert_eq!(whole, cut, "event {number}");
    }
    assert_eq!(whole.len(), cut.len());
    if events.iter().all(|event| !event.raw) {
        for (at_server, at_client, _) in &whole {
            assert_frames(&at_server.0);
            assert_frames(&at_client.0);
        }
    }
});

struct Event {
    by_client: bool,
    raw: bool,
    bytes: Vec<u8>,
    /// The client says that its next statement is the last of its transaction.
    last: bool,
}

const TEXTS: [&str; 12] = [
    "BEGIN",
    "BEGIN READ ONLY",
    "COMMIT",
    "ROLLBACK",
    "select 1",
    "update t set a = $1",
    "select * from t",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "set search_path to b",
    "LISTEN a",
    "",
];

fn events(script: &[u8]) -> Vec<Event> {
    let mut script = script.iter().copied();
    let mut events = Vec::new();
    while let Some(op) = script.next() {
        let argument = script.next().unwrap_or_default();
        let name = [b's', b'0' + argument % 4, 0];
        let text = TEXTS[usize::from(argument / 4) % TEXTS.len()].as_bytes();
        let (by_client, parts): (bool, &[(u8, &[&[u8]])]) = match op % 43 {
            0..=3 => (
                true,
                &[
                    (b'P', &[&name, text, b"\0\0\0"]),
                    (b'D', &[b"S", &name]),
                    (b'S', &[]),
                ],
            ),
            4..=7 => (
                true,
                &[
                    (b'B', &[b"\0", &name, b"\0\0\0\0\0\0"]),
                    (b'E', &[b"\0\0\0\0\0"]),
                    (b'S', &[]),
                ],
            ),
            8 => (true, &[(b'C', &[b"S", &name]), (b'S', &[])]),
            9..=12 => (true, &[(b'Q', &[text, b"\0"])]),
            13 => (
                true,
                &[(b'B', &[b"p\0", &name, b"\0\0\0\0\0\0"]), (b'S', &[])],
            ),
            14 => (true, &[(b'E', &[b"\0\0\0\0\0"]), (b'H', &[])]),
            15 => (true, &[(b'S', &[])]),
            16 => (true, &[(b'd', &[b"row"])]),
            17 => (true, &[(b'c', &[])]),
            18 => (
                false,
                &[
                    (b'1', &[]),
                    (b't', &[b"\0\0"]),
                    (b'n', &[]),
                    (b'Z', &[b"I"]),
                ],
            ),
            19 => (false, &[(b'1', &[])]),
            20 => (false, &[(b'2', &[])]),
            21 => (false, &[(b'3', &[])]),
            22 => (false, &[(b't', &[b"\0\0"])]),
            23 => (false, &[(b'n', &[])]),
            24 => (
                false,
                &[(
                    b'T',
                    &[
                        b"\0\x01a\0\0\0\0\0\0\0\0\0\0",
                        &[argument],
                        b"\0\x04\0\0\0\0\0\0",
                    ],
                )],
            ),
            25 => (false, &[(b'D', &[b"\0\x01\0\0\0\x01x"])]),
            26 => (false, &[(b'C', &[text, b"\0"])]),
            27 => (false, &[(b'Z', &[b"I"])]),
            28 => (false, &[(b'Z', &[b"T"])]),
            29 => (false, &[(b'Z', &[b"E"])]),
            30 => (
                false,
                &[(b'E', &[b"SERROR\0C0A000\0RRevalidateCachedQuery\0\0"])],
            ),
            31 => (false, &[(b'E', &[b"SERROR\0C26000\0\0"])]),
            32 => (false, &[(b'E', &[b"SERROR\0C23505\0nkey\0\0"])]),
            33 => (false, &[(b'G', &[b"\0\0\0"])]),
            34 => (false, &[(b'A', &[b"\0\0\0\x01a\0b\0"])]),
            35 => (false, &[(b'S', &[&name, b"v\0"])]),
            36 => (false, &[(b'1', &[]), (b'2', &[]), (b'C', &[b"BEGIN\0"])]),
            37 => (
                false,
                &[(b'2', &[]), (b'C', &[b"UPDATE 1\0"]), (b'Z', &[b"I"])],
            ),
            // Arbitrary statements, up to a NUL.
            op @ (40 | 41) => {
                let text: Vec<u8> = script.by_ref().take_while(|byte| *byte != 0).collect();
                let query: &[(u8, &[&[u8]])] = &[(b'Q', &[&text, b"\0"])];
                let prepared: &[(u8, &[&[u8]])] = &[
                    (b'P', &[&name, &text, b"\0\0\0"]),
                    (b'D', &[b"S", &name]),
                    (b'S', &[]),
                ];
                events.push(Event {
                    by_client: true,
                    raw: false,
                    bytes: messages(if op == 40 { query } else { prepared }),
                    last: false,
                });
                continue;
            }
            42 => {
                events.push(Event {
                    by_client: true,
                    raw: false,
                    bytes: Vec::new(),
                    last: true,
                });
                continue;
            }
            op => {
                let bytes = script.by_ref().take(usize::from(argument % 64)).collect();
                events.push(Event {
                    by_client: op == 38,
                    raw: true,
                    bytes,
                    last: false,
                });
                continue;
            }
        };
        events.push(Event {
            by_client,
            raw: false,
            bytes: messages(parts),
            last: false,
        });
    }
    events
}

fn messages(parts: &[(u8, &[&[u8]])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, parts) in parts {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        bytes.push(*tag);
        bytes.extend_from_slice(&(length as u32 + 4).to_be_bytes());
        bytes.extend(parts.iter().flat_map(|part| part.iter()));
    }
    bytes
}

type Trace = Vec<(Shown, Shown, String)>;

/// Bytes that are shown as text.
#[derive(PartialEq)]
struct Shown(Vec<u8>);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Plays until the wire refuses something.
fn play(flags: u8, events: &[Event], piece: usize) -> Trace {
    let observed = Arc::new(Observed::default());
    let startup = vec![("TimeZone".to_owned(), "UTC".to_owned())];
    let steering = Arc::new(Steering::new(startup.into(), flags & 1 != 0));
    let pipe = Rc::new(RefCell::new(Pipe::default()));
    pipe.borrow_mut().piece = piece;
    let transport = Transport(Rc::clone(&pipe));
    let mut wire = Wire::new(
        transport,
        Arc::clone(&observed),
        Arc::clone(&steering),
        None,
    );
    let mut trace = Trace::new();
    if flags & 2 != 0 {
        let mut told = Vec::new();
        write(&mut wire, b"\0\0\0\x10\0\x03\0\0user\0u\0\0").expect("a startup packet");
        pipe.borrow_mut().incoming.extend(b"Z\0\0\0\x05I");
        read(&mut wire, piece, &mut told).expect("a login");
        pipe.borrow_mut().outgoing.clear();
    }
    if flags & 4 != 0 {
        steering.set_rules(Rules {
            naming: if flags & 8 != 0 {
                Naming::Named
            } else {
                Naming::Unnamed
            },
            statement_cache: usize::from(flags >> 4 & 3),
            defer_begin: flags & 64 != 0,
            local_settings: LocalSettings::new(&[("a".to_owned(), "b".to_owned())])
                .filter(|_| flags & 128 != 0),
            shared_session: flags & 128 != 0,
            refuses_set: flags & 128 != 0,
            reset: Some("RESET ALL".into()),
            read_committed_by_default: flags & 8 != 0,
            observes_only: flags & 12 == 12 && flags & 48 == 0,
            ..Rules::default()
        });
    }
    for event in events {
        let mut told = Vec::new();
        if event.last {
            steering.commit_with_next();
        }
        for bytes in event.bytes.chunks(piece) {
            let outcome = if event.by_client {
                write(&mut wire, bytes)
            } else {
                pipe.borrow_mut().incoming.extend(bytes);
                Ok(())
            };
            if outcome.is_err() || read(&mut wire, piece, &mut told).is_err() {
                return trace;
            }
        }
        let asked = std::mem::take(&mut pipe.borrow_mut().outgoing);
        let seen = format!(
            "{:?} {} {} {} {} {:?}",
            observed.transaction_status(),
            observed.is_working(),
            observed.is_committing(),
            observed.errors(),
            observed.stale_statements(),
            observed.last_error(),
        );
        trace.push((Shown(asked), Shown(told), seen));
    }
    trace
}

fn write(wire: &mut Wire<Transport>, bytes: &[u8]) -> io::Result<()> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(&mut *wire).poll_write(&mut cx, bytes) {
        Poll::Ready(count) => assert_eq!(count?, bytes.len()),
        Poll::Pending => panic!("the transport takes everything"),
    }
    let flushed = Pin::new(wire).poll_flush(&mut cx);
    assert!(matches!(flushed, Poll::Ready(Ok(()))));
    Ok(())
}

fn read(wire: &mut Wire<Transport>, piece: usize, told: &mut Vec<u8>) -> io::Result<()> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut room = vec![0; piece.min(512)];
    loop {
        let mut buf = ReadBuf::new(&mut room);
        match Pin::new(&mut *wire).poll_read(&mut cx, &mut buf) {
            Poll::Pending => return Ok(()),
            Poll::Ready(outcome) => outcome?,
        }
        assert!(!buf.filled().is_empty(), "an end that nobody made");
        told.extend_from_slice(buf.filled());
    }
}

fn assert_frames(mut bytes: &[u8]) {
    while let [_tag, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        bytes = rest.get(length - 4..).expect("a whole message");
    }
    assert!(bytes.is_empty(), "half a header");
}

/// What lies between the wire and the server.
#[derive(Default)]
struct Pipe {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    piece: usize,
}

struct Transport(Rc<RefCell<Pipe>>);

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let incoming = &mut self.0.borrow_mut().incoming;
        if incoming.is_empty() {
            return Poll::Pending;
        }
        let count = incoming.len().min(buf.remaining());
        let bytes: Vec<u8> = incoming.drain(..count).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let pipe = &mut *self.0.borrow_mut();
        let count = bytes.len().min(pipe.piece);
        pipe.outgoing.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
