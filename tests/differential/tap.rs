//! A proxy to the server that reads the SQLSTATE of each error, because diesel does not keep it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::failed::Failed;

/// Forwards a port of its own to a server, and reads what the server says.
#[derive(Debug)]
pub(crate) struct Tap {
    port: u16,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// The errors so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) errors: u64,
    pub(crate) last: Option<String>,
}

impl Tap {
    pub(crate) async fn start(server: u16) -> Result<Self, Failed> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let told = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A failed connection shows at the client.
                tokio::spawn(forward(client, server, Arc::clone(&told)));
            }
        });
        Ok(Self { port, seen, task })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, server: u16, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.ok()?;
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let answers = async {
        let (mut buffer, mut frames) = (vec![0; 1 << 16], Frames::default());
        loop {
            let length = from_server.read(&mut buffer).await.ok()?;
            let read = buffer.get(..length).filter(|read| !read.is_empty())?;
            for code in frames.push(read) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.errors += 1;
                seen.last = Some(code);
            }
            // This comes last, so that a client that has the error finds its code.
            to_client.write_all(read).await.ok()?;
        }
    };
    tokio::select! {
        () = async { copy(&mut from_client, &mut to_server).await.ok(); } => None,
        ended = answers => ended,
    }
}

/// Divides the server's bytes into messages, and keeps only errors.
#[derive(Default)]
struct Frames {
    header: Vec<u8>,
    /// How much of the present message is still to come.
    missing: usize,
    error: Option<Vec<u8>>,
}

impl Frames {
    /// The codes of the errors that end in these bytes.
    fn push(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut codes = Vec::new();
        while !bytes.is_empty() {
            if self.missing == 0 {
                let wanted = HEADER - self.header.len();
                let (header, rest) = bytes.split_at(wanted.min(bytes.len()));
                self.header.extend_from_slice(header);
                bytes = rest;
                self.begin();
                continue;
            }
            let (body, rest) = bytes.split_at(self.missing.min(bytes.len()));
            self.missing -= body.len();
            bytes = rest;
            if let Some(error) = &mut self.error {
                error.extend_from_slice(body);
            }
            if self.missing == 0 {
                codes.extend(self.error.take().and_then(|error| code(&error)));
            }
        }
        codes
    }

    fn begin(&mut self) {
        if let &[kind, a, b, c, d] = self.header.as_slice() {
            self.missing = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            self.error = (kind == b'E').then(Vec::new);
            self.header.clear();
        }
    }
}

/// The field `C` of an error.
fn code(error: &[u8]) -> Option<String> {
    let mut fields = error.split(|byte| *byte == 0);
    let field = fields.find_map(|field| field.strip_prefix(b"C"))?;
    Some(String::from_utf8_lossy(field).into_owned())
}

const HEADER: usize = 5;

#[cfg(test)]
mod tests {
    use super::Frames;

    #[test]
    fn a_code_is_found_however_the_bytes_arrive() {
        let mut said = b"Z\0\0\0\x05I".to_vec();
        said.extend(b"E\0\0\0\x13SERROR\0C42P01\0\0");
        said.extend(b"Z\0\0\0\x05I");
        for length in 1..said.len() {
            let mut frames = Frames::default();
            let codes: Vec<_> = said
                .chunks(length)
                .flat_map(|part| frames.push(part))
                .collect();
            assert_eq!(codes, ["42P01"], "in parts of {length}");
        }
    }
}
