//! Both ends of a conversation, which write and read messages as short texts.

use crate::conversation::replies::server_sent;
use crate::conversation::requests::client_sent;
use std::sync::Arc;

use crate::conversation::Conversation;
use crate::observed::Observed;
use crate::protocol::message::{put, split_text};
use crate::rules::Rules;
use crate::steering::Steering;
use crate::transaction_status::TransactionStatus;

/// A startup packet without parameters.
pub(super) const STARTUP: &[u8] = b"\0\0\0\x09\0\x03\0\0\0";

pub(super) struct Peers {
    pub(super) conversation: Conversation,
    pub(super) observed: Arc<Observed>,
    pub(super) steering: Arc<Steering>,
}

impl Peers {
    /// Logged in, under these rules.
    pub(super) fn new(rules: Rules) -> Self {
        let mut peers = Self::before_login(Steering::default());
        client_sent(&mut peers.conversation, STARTUP).unwrap();
        assert_eq!(peers.at_server(), STARTUP);
        peers.server(&["Z I"]);
        peers.steering.set_rules(rules);
        peers
    }

    pub(super) fn before_login(steering: Steering) -> Self {
        let observed = Arc::new(Observed::default());
        let steering = Arc::new(steering);
        Self {
            conversation: Conversation::new(Arc::clone(&observed), Arc::clone(&steering)),
            observed,
            steering,
        }
    }

    /// The client sends these; returns what the server gets.
    pub(super) fn client(&mut self, messages: &[&str]) -> Vec<String> {
        let bytes: Vec<u8> = messages.iter().flat_map(|text| frontend(text)).collect();
        client_sent(&mut self.conversation, &bytes).unwrap();
        self.asked()
    }

    /// The server sends these; returns what the client gets.
    pub(super) fn server(&mut self, messages: &[&str]) -> Vec<String> {
        let mut bytes: Vec<u8> = messages.iter().flat_map(|text| backend(text)).collect();
        let kept = server_sent(&mut self.conversation, &mut bytes).unwrap();
        let mut got = bytes[..kept].to_vec();
        got.extend_from_slice(&self.at_client());
        frames(&got)
            .map(|(tag, body)| show_backend(tag, body))
            .collect()
    }

    /// What has gone to the server without a message from the client.
    pub(super) fn asked(&mut self) -> Vec<String> {
        let bytes = self.at_server();
        frames(&bytes)
            .map(|(tag, body)| show_frontend(tag, body))
            .collect()
    }

    /// What the wire itself has told the client.
    pub(super) fn told(&mut self) -> Vec<String> {
        let bytes = self.at_client();
        frames(&bytes)
            .map(|(tag, body)| show_backend(tag, body))
            .collect()
    }

    /// The client sends requests that the wire answers without the server.
    pub(super) fn local(&mut self, messages: &[&str]) -> Vec<String> {
        assert_eq!(self.client(messages), NOTHING);
        self.told()
    }

    pub(super) fn at_server(&mut self) -> Vec<u8> {
        let outbox = self.conversation.for_server();
        let bytes = outbox.waiting().to_vec();
        outbox.take(bytes.len());
        bytes
    }

    pub(super) fn at_client(&mut self) -> Vec<u8> {
        let outbox = self.conversation.for_client();
        let bytes = outbox.waiting().to_vec();
        outbox.take(bytes.len());
        bytes
    }

    /// The client prepares a statement, with this result.
    pub(super) fn learns(&mut self, name: &str, sql: &str, result: &str) {
        let parse = format!("P {name} {sql}");
        let describe = format!("D {name}");
        let asked = self.client(&[&parse, &describe, "S"]);
        let mut answer = vec!["3"; asked.len() - 3];
        answer.extend_from_slice(&["1", "t", result, "Z I"]);
        self.server(&answer);
    }

    pub(super) fn status(&self) -> TransactionStatus {
        self.observed.transaction_status()
    }
}

pub(super) const NOTHING: [&str; 0] = [];

/// `P name sql`, `D name`, `B name`, `B name>portal`, `E`, `C name`, `S`, `Q sql`, `H`, `X`, `d`, `c`, `f`;
/// `-` stands for no name.
pub(super) fn frontend(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (tag, rest) = (text.as_bytes()[0], text.get(2..).unwrap_or_default());
    let (name, sql) = rest.split_once(' ').unwrap_or((rest, ""));
    let name = if name == "-" { "" } else { name };
    match tag {
        b'P' => put(
            &mut out,
            tag,
            &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"],
        ),
        b'D' | b'C' => put(&mut out, tag, &[b"S", name.as_bytes(), b"\0"]),
        b'B' => {
            let (name, portal) = name.split_once('>').unwrap_or((name, ""));
            let parts = [portal.as_bytes(), b"\0", name.as_bytes(), b"\0\0\0\0\0\0\0"];
            put(&mut out, tag, &parts);
        }
        b'E' => put(&mut out, tag, &[b"\0\0\0\0\0"]),
        b'Q' => put(&mut out, tag, &[rest.as_bytes(), b"\0"]),
        _ => put(&mut out, tag, &[rest.as_bytes()]),
    }
    out
}

/// `1`, `2`, `3`, `t`, `n`, `T name:oid,..`, `D value,..`, `C tag`, `I`, `Z status`, `E code routine`,
/// `F code routine` (FATAL; `-` is no routine), and others by their tag and body.
pub(super) fn backend(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (tag, rest) = (text.as_bytes()[0], text.get(2..).unwrap_or_default());
    match tag {
        b't' => put(&mut out, tag, &[b"\0\0"]),
        b'T' => {
            let columns: Vec<_> = rest.split(',').collect();
            let mut body = (columns.len() as u16).to_be_bytes().to_vec();
            for column in columns {
                let (name, oid) = column.split_once(':').unwrap();
                body.extend_from_slice(name.as_bytes());
                body.extend_from_slice(b"\0\0\0\0\0\0\0");
                body.extend_from_slice(&oid.parse::<u32>().unwrap().to_be_bytes());
                body.extend_from_slice(&[0, 4, 255, 255, 255, 255, 0, 0]);
            }
            put(&mut out, tag, &[&body]);
        }
        b'D' => {
            let values: Vec<_> = rest.split(',').collect();
            let mut body = (values.len() as u16).to_be_bytes().to_vec();
            for value in values {
                body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                body.extend_from_slice(value.as_bytes());
            }
            put(&mut out, tag, &[&body]);
        }
        b'C' => put(&mut out, tag, &[rest.as_bytes(), b"\0"]),
        b'E' | b'F' => {
            let (code, routine) = rest.split_once(' ').unwrap_or((rest, "routine"));
            let severity = if tag == b'F' { "FATAL" } else { "ERROR" };
            let routine = match routine {
                "-" => String::new(),
                routine => format!("R{routine}\0"),
            };
            let fields = format!("SFEHLER\0V{severity}\0C{code}\0MFehler\0{routine}\0");
            put(&mut out, b'E', &[fields.as_bytes()]);
        }
        b'S' => {
            let (name, value) = rest.split_once('=').unwrap();
            put(
                &mut out,
                tag,
                &[name.as_bytes(), b"\0", value.as_bytes(), b"\0"],
            );
        }
        _ => put(&mut out, tag, &[rest.as_bytes()]),
    }
    out
}

/// The messages that bytes are made of.
pub(super) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (header, rest) = bytes.split_first_chunk::<5>()?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let (body, rest) = rest.split_at(length - 4);
        bytes = rest;
        Some((header[0], body))
    })
}

fn text(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        "-".to_owned()
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    }
}

fn show_frontend(tag: u8, body: &[u8]) -> String {
    let tag = char::from(tag);
    match tag {
        'P' => {
            let (name, rest) = split_text(body).unwrap();
            format!("P {} {}", text(name), text(split_text(rest).unwrap().0))
        }
        'D' | 'C' => format!("{tag} {}", text(split_text(&body[1..]).unwrap().0)),
        'B' => {
            let (portal, rest) = split_text(body).unwrap();
            let name = text(split_text(rest).unwrap().0);
            if portal.is_empty() {
                format!("B {name}")
            } else {
                format!("B {name}>{}", text(portal))
            }
        }
        'Q' => format!("Q {}", text(split_text(body).unwrap().0)),
        _ => tag.to_string(),
    }
}

fn show_backend(tag: u8, body: &[u8]) -> String {
    let shown = char::from(tag).to_string();
    match tag {
        b'D' => format!("D {}", values(body).join(",")),
        b'C' | b'Z' => format!("{shown} {}", text(body.strip_suffix(b"\0").unwrap_or(body))),
        b'E' => {
            let code = body
                .split(|byte| *byte == 0)
                .find_map(|field| field.strip_prefix(b"C"));
            format!("{shown} {}", text(code.unwrap_or_default()))
        }
        _ => shown,
    }
}

fn values(row: &[u8]) -> Vec<String> {
    let mut rest = &row[2..];
    let mut values = Vec::new();
    while let Some((length, value)) = rest.split_first_chunk::<4>() {
        let (value, others) = value.split_at(u32::from_be_bytes(*length) as usize);
        values.push(text(value));
        rest = others;
    }
    assert_eq!(row[..2], (values.len() as u16).to_be_bytes());
    values
}
