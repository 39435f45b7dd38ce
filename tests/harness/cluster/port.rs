//! Ports that nobody listens at.

use std::io;
use std::net::TcpListener;

use crate::HarnessError;
use crate::folder::random_word;

/// The wanted port if it is free, else a random one below those that the kernel gives to outgoing connections.
pub(crate) fn free_port(wanted: Option<u16>) -> Result<u16, HarnessError> {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    if let Some(port) = wanted.filter(is_free) {
        return Ok(port);
    }
    for _ in 0..100 {
        let word = random_word()?;
        // The first four digits always parse.
        let number = u16::from_str_radix(&word[..4], 16).unwrap_or(0);
        let port = FIRST + number % COUNT;
        if is_free(&port) {
            return Ok(port);
        }
    }
    Err(HarnessError::Io {
        doing: "finding a free port".to_owned(),
        source: io::ErrorKind::AddrInUse.into(),
    })
}

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
