//! Servers of this test that answer as they are told, and keep what they were sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// An HTTP server with an answer for each request, and 200 when there are no more.
pub(super) struct HttpServer {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

/// What it does with one request.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    Status(&'static str),
    /// It reads the request and says nothing.
    Never,
}

impl HttpServer {
    pub(super) async fn start(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let replies = Arc::new(Mutex::new(replies.iter().copied().collect::<VecDeque<_>>()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept), Arc::clone(&replies)));
            }
        });
        Self { port, seen }
    }

    /// A URL with a secret in it.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/services/urlcanary", self.port)
    }

    /// The bodies that it was sent.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        seen.lock().unwrap().push(String::from_utf8(body).unwrap());
        let reply = replies.lock().unwrap().pop_front();
        match reply.unwrap_or(Reply::Status("200 OK")) {
            Reply::Status(head) => {
                let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            Reply::Never => std::future::pending::<()>().await,
        }
    }
}

/// An SMTP server that takes every mail.
pub(super) struct SmtpServer {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl SmtpServer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&mails);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take_mail(stream, Arc::clone(&kept)));
            }
        });
        Self { port, mails }
    }

    pub(super) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub(super) fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

async fn take_mail(stream: TcpStream, mails: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    let (mut is_data, mut mail) = (false, String::new());
    stream.write_all(b"220 here\r\n").await.unwrap();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let answer = match (is_data, line.trim_end()) {
            (true, ".") => {
                is_data = false;
                mails.lock().unwrap().push(std::mem::take(&mut mail));
                "250 taken\r\n"
            }
            (true, _) => {
                mail.push_str(&line);
                continue;
            }
            (false, "DATA") => {
                is_data = true;
                "354 go on\r\n"
            }
            (false, "QUIT") => "221 bye\r\n",
            (false, _) => "250 yes\r\n",
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}
