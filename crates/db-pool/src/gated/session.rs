//! One session of the server: the part of the protocol that the pool speaks.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::Point;
use super::server::{Doing, Process, Server};

/// A holder's first statement. The server then checks the state in which the holder got the
/// session.
pub(super) const FRESH: &str = "select 'a fresh session'";

/// Serves one connection until either side hangs up.
pub(super) async fn serve(mut stream: DuplexStream, server: Arc<Server>) {
    // A client may disappear at any time.
    let _gone = open(&mut stream, server).await;
}

async fn open(stream: &mut DuplexStream, server: Arc<Server>) -> io::Result<()> {
    let length = stream.read_u32().await?;
    let mut packet = vec![0; length as usize - 4];
    stream.read_exact(&mut packet).await?;
    let word = |at: usize| i32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    if word(0) == CANCEL_REQUEST {
        server.gates.pass(Point::Cancel).await;
        server.cancel(word(4), word(8));
        return Ok(());
    }
    let texts: Vec<_> = texts(&packet[4..]).collect();
    let user = texts.chunks(2).find(|pair| pair[0] == "user");
    let process = server.begin(user.unwrap()[1].clone());
    let session = Session {
        stream,
        process,
        statements: HashMap::new(),
        bound: String::new(),
        status: b'I',
        altered: false,
        failed: false,
    };
    session.converse().await
}

struct Session<'s> {
    stream: &'s mut DuplexStream,
    process: Process,
    statements: HashMap<String, String>,
    bound: String,
    /// The status in ReadyForQuery.
    status: u8,
    /// Whether something was set that is not reset.
    altered: bool,
    /// Everything up to the next Sync is skipped.
    failed: bool,
}

impl Session<'_> {
    async fn converse(mut self) -> io::Result<()> {
        self.pass(Point::Startup).await;
        let refusal = self.process.server.facts().refusal;
        if let Some(code) = refusal {
            return self.say(&error("FATAL", code)).await;
        }
        self.say(&message(b'R', &0_u32.to_be_bytes())).await?;
        self.say(&message(b'S', b"server_version\x0018.0\0"))
            .await?;
        self.pass(Point::Greeting).await;
        let key = [self.process.pid, self.process.key].map(i32::to_be_bytes);
        self.say(&message(b'K', key.as_flattened())).await?;
        self.ready().await?;
        while let Ok(tag) = self.stream.read_u8().await {
            let length = self.stream.read_u32().await?;
            let mut body = vec![0; length as usize - 4];
            self.stream.read_exact(&mut body).await?;
            if tag == b'X' {
                break;
            }
            self.heed(tag, &body).await?;
        }
        self.pass(Point::Closing).await;
        Ok(())
    }

    async fn heed(&mut self, tag: u8, body: &[u8]) -> io::Result<()> {
        if tag == b'S' {
            self.failed = false;
            return self.ready().await;
        }
        if self.failed {
            return Ok(());
        }
        let mut texts = texts(body);
        let first = texts.next().unwrap_or_default();
        let second = texts.next().unwrap_or_default();
        match tag {
            b'P' => {
                self.statements.insert(first, second);
                self.say(&message(b'1', b"")).await
            }
            b'B' => {
                self.bound = self.statements.get(&second).cloned().unwrap_or_default();
                self.say(&message(b'2', b"")).await
            }
            // A portal has no parameters to describe.
            b'D' if first.starts_with('P') => {
                let described = described(&self.bound);
                self.say(&described[PARAMETERS..]).await
            }
            b'D' => {
                let sql = self.statements.get(&first[1..]).cloned();
                self.say(&described(&sql.unwrap_or_default())).await
            }
            b'E' => {
                let sql = self.bound.clone();
                self.execute(&sql, true).await
            }
            b'Q' => {
                if first.trim().is_empty() {
                    self.pass(Point::Ping).await;
                    self.say(&message(b'I', b"")).await?;
                }
                if first.contains("pg_backend_pid") {
                    self.pass(Point::Detection).await;
                    return self.tell_process().await;
                }
                for sql in first.split(';').filter(|sql| !sql.trim().is_empty()) {
                    if !self.failed {
                        self.execute(sql.trim(), false).await?;
                    }
                }
                self.failed = false;
                self.ready().await
            }
            b'C' => self.say(&message(b'3', b"")).await,
            other => panic!("a message {:?} is none of this server's", char::from(other)),
        }
    }

    /// Answers a simple query for the process with its number as a text.
    async fn tell_process(&mut self) -> io::Result<()> {
        let pid = self.process.pid.to_string();
        let lengths = [&[0, 1][..], &(pid.len() as u32).to_be_bytes()].concat();
        self.say(&message(b'T', PROCESS)).await?;
        self.say(&message(b'D', &[&lengths, pid.as_bytes()].concat()))
            .await?;
        self.say(&message(b'C', b"SELECT 1\0")).await?;
        self.ready().await
    }

    /// Runs one command and sends its outcome, with its row if rows are wanted.
    async fn execute(&mut self, sql: &str, with_rows: bool) -> io::Result<()> {
        match self.run(sql).await {
            Ok(completed) => {
                if with_rows && is_query(sql) {
                    let number = sql
                        .split_whitespace()
                        .nth(1)
                        .and_then(|word| word.parse().ok());
                    self.say(&row(number.unwrap_or(self.process.pid))).await?;
                    if number.is_some() {
                        self.pass(Point::Rest).await;
                    }
                }
                self.say(&message(b'C', completed.as_bytes())).await
            }
            Err(code) => {
                self.failed = true;
                if self.status == b'T' {
                    self.status = b'E';
                }
                self.say(&error("ERROR", code)).await
            }
        }
    }

    async fn run(&mut self, sql: &str) -> Result<&'static str, &'static str> {
        if sql == FRESH {
            if self.status != b'I' {
                self.process.complain("handed out in a transaction");
            }
            if self.altered {
                self.process.complain("handed out with settings of another");
            }
        }
        let word = sql.split_whitespace().next().unwrap_or_default();
        match word.to_ascii_uppercase().as_str() {
            "COMMIT" => {
                self.process.does(Doing::Commit);
                self.pass(Point::Commit).await;
                self.process.does(Doing::Nothing);
                let failed = std::mem::replace(&mut self.status, b'I') == b'E';
                if failed {
                    return Ok("ROLLBACK\0");
                }
                self.process.server.facts().commits += 1;
                Ok("COMMIT\0")
            }
            "ROLLBACK" => {
                self.pass(Point::Rollback).await;
                self.status = b'I';
                Ok("ROLLBACK\0")
            }
            _ if self.status == b'E' => Err("25P02"),
            "BEGIN" => {
                self.status = b'T';
                Ok("BEGIN\0")
            }
            "SET" if sql == RESET_BEGINS => {
                self.work(Point::Reset).await?;
                self.altered = false;
                Ok("SET\0")
            }
            "SET" => {
                self.altered = true;
                Ok("SET\0")
            }
            "SELECT" | "UPDATE" => {
                // The statements of a reset pass the gate together with it.
                if !sql.contains("pg_") {
                    self.work(Point::Statement).await?;
                }
                Ok(if is_query(sql) {
                    "SELECT 1\0"
                } else {
                    "UPDATE 1\0"
                })
            }
            _ => Ok("RESET\0"),
        }
    }

    /// Works until the gate is open, or until it is cancelled.
    async fn work(&self, point: Point) -> Result<(), &'static str> {
        self.process.does(Doing::Work);
        let outcome = tokio::select! {
            biased;
            () = self.process.cancelled.notified() => {
                self.pass(Point::Cancelled).await;
                Err("57014")
            }
            () = self.pass(point) => Ok(()),
        };
        self.process.does(Doing::Nothing);
        outcome
    }

    async fn ready(&mut self) -> io::Result<()> {
        self.say(&message(b'Z', &[self.status])).await
    }

    async fn pass(&self, point: Point) {
        self.process.server.gates.pass(point).await;
    }

    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        for _ in 0..self.process.server.politeness.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        self.stream.write_all(bytes).await
    }
}

/// The code that a cancel request has instead of a version.
const CANCEL_REQUEST: i32 = (1234 << 16) | 5678;

/// The first command of the pool's reset.
const RESET_BEGINS: &str = "SET SESSION AUTHORIZATION DEFAULT";

fn is_query(sql: &str) -> bool {
    sql.get(..6)
        .is_some_and(|word| word.eq_ignore_ascii_case("select"))
}

fn texts(bytes: &[u8]) -> impl Iterator<Item = String> {
    bytes
        .split(|byte| *byte == 0)
        .map(|text| String::from_utf8_lossy(text).into_owned())
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32 + 4;
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn error(severity: &str, code: &str) -> Vec<u8> {
    let fields = format!("S{severity}\0V{severity}\0C{code}\0Mthe server says {code}\0\0");
    message(b'E', fields.as_bytes())
}

/// No parameters, and one column of type int4 for a query.
fn described(sql: &str) -> Vec<u8> {
    let rows = match is_query(sql) {
        true => message(b'T', COLUMN),
        false => message(b'n', b""),
    };
    [message(b't', &[0, 0]), rows].concat()
}

/// Name, table, place in it, type, length, modifier, format.
const COLUMN: &[u8] = b"\0\x01v\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01";

/// The length of a description of no parameters.
const PARAMETERS: usize = 7;

/// The description of a process number as a text.
const PROCESS: &[u8] = b"\0\x01backend_pid\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";

fn row(value: i32) -> Vec<u8> {
    let head = [0, 1, 0, 0, 0, 4];
    message(b'D', &[&head[..], &value.to_be_bytes()].concat())
}
