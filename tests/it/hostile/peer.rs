//! A server of one table with one row, which can be told to misbehave.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How it misbehaves.
#[derive(Clone, Debug)]
pub(super) enum Twist {
    /// Answers with this.
    Say(Vec<u8>),
    /// Answers with this and hangs up.
    SayAndClose(Vec<u8>),
    /// Says this again and again.
    Flood(Vec<u8>),
    /// Says this, and then nothing more.
    SayAndStall(Vec<u8>),
    Stall,
}

/// Where it may misbehave, with the text of the statement where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage<'s> {
    /// The startup packet has come.
    Startup,
    Parse(&'s str),
    Execute(&'s str),
    Query(&'s str),
    /// A Sync, or the end of a simple query.
    Sync,
}

type Script = Arc<dyn Fn(Stage<'_>) -> Option<Twist> + Send + Sync>;

/// The listening server, with a runtime of its own; it ends with the process.
pub(super) struct Fake {
    port: u16,
}

impl Fake {
    pub(super) fn start(
        script: impl Fn(Stage<'_>) -> Option<Twist> + Send + Sync + 'static,
    ) -> Self {
        let script: Script = Arc::new(script);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(Peer::new(stream, Arc::clone(&script)).serve());
                }
            });
        });
        Self { port }
    }

    pub(super) fn url(&self) -> String {
        harness::url(self.port, "d", "u", "canary")
    }
}

/// One conversation.
struct Peer {
    stream: TcpStream,
    script: Script,
    statements: HashMap<String, String>,
    bound: String,
    status: u8,
}

/// The end of a conversation.
struct Over;

impl From<std::io::Error> for Over {
    fn from(_closed: std::io::Error) -> Self {
        Self
    }
}

impl Peer {
    fn new(stream: TcpStream, script: Script) -> Self {
        Self {
            stream,
            script,
            statements: HashMap::new(),
            bound: String::new(),
            status: b'I',
        }
    }

    async fn serve(mut self) {
        let _over = self.converse().await;
    }

    async fn converse(&mut self) -> Result<(), Over> {
        let length = self.stream.read_u32().await?;
        let mut packet = vec![0; length.saturating_sub(4) as usize];
        self.stream.read_exact(&mut packet).await?;
        // A CancelRequest has nobody to cancel.
        if packet.len() < 20 {
            return Ok(());
        }
        if !self.twisted(Stage::Startup).await? {
            self.say(&welcome()).await?;
        }
        loop {
            let tag = self.stream.read_u8().await?;
            let length = self.stream.read_u32().await?;
            let mut body = vec![0; length.saturating_sub(4) as usize];
            self.stream.read_exact(&mut body).await?;
            let mut texts = body
                .split(|byte| *byte == 0)
                .map(|text| String::from_utf8_lossy(text).into_owned());
            let (first, second) = (texts.next(), texts.next());
            let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
            match tag {
                b'P' => {
                    self.statements.insert(first, second.clone());
                    self.answer(Stage::Parse(&second), &message(b'1', b""))
                        .await?;
                }
                b'B' => {
                    self.bound = self.statements.get(&second).cloned().unwrap_or_default();
                    self.say(&message(b'2', b"")).await?;
                }
                b'D' => {
                    let sql = self
                        .statements
                        .get(&first[1..])
                        .cloned()
                        .unwrap_or_default();
                    self.say(&described(&sql)).await?;
                }
                b'E' => {
                    let sql = self.bound.clone();
                    let answer = [rows(&sql), self.complete(&sql)].concat();
                    self.answer(Stage::Execute(&sql), &answer).await?;
                }
                b'Q' => {
                    let mut answer = Vec::new();
                    for sql in first
                        .split(';')
                        .map(str::trim)
                        .filter(|sql| !sql.is_empty())
                    {
                        answer.extend(self.complete(sql));
                    }
                    self.answer(Stage::Query(&first), &answer).await?;
                    self.ready().await?;
                }
                b'S' => self.ready().await?,
                b'C' => self.say(&message(b'3', b"")).await?,
                b'X' => return Err(Over),
                _ => {}
            }
        }
    }

    async fn ready(&mut self) -> Result<(), Over> {
        let status = self.status;
        self.answer(Stage::Sync, &message(b'Z', &[status])).await
    }

    async fn answer(&mut self, stage: Stage<'_>, honest: &[u8]) -> Result<(), Over> {
        if self.twisted(stage).await? {
            return Ok(());
        }
        self.say(honest).await
    }

    /// Misbehaves, if the script says so.
    async fn twisted(&mut self, stage: Stage<'_>) -> Result<bool, Over> {
        match (self.script)(stage) {
            None => return Ok(false),
            Some(Twist::Say(bytes)) => self.say(&bytes).await?,
            Some(Twist::SayAndClose(bytes)) => {
                self.say(&bytes).await?;
                return Err(Over);
            }
            Some(Twist::Flood(bytes)) => {
                let many = bytes.repeat(65_536_usize.div_ceil(bytes.len()));
                loop {
                    self.say(&many).await?;
                }
            }
            Some(Twist::SayAndStall(bytes)) => {
                self.say(&bytes).await?;
                return std::future::pending().await;
            }
            Some(Twist::Stall) => return std::future::pending().await,
        }
        Ok(true)
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), Over> {
        Ok(self.stream.write_all(bytes).await?)
    }

    fn complete(&mut self, sql: &str) -> Vec<u8> {
        let first = sql.split_whitespace().next().unwrap_or_default();
        let tag = match first.to_ascii_uppercase().as_str() {
            "SELECT" => "SELECT 1\0",
            "UPDATE" => "UPDATE 1\0",
            "BEGIN" => {
                self.status = b'T';
                "BEGIN\0"
            }
            "COMMIT" => {
                self.status = b'I';
                "COMMIT\0"
            }
            "ROLLBACK" => {
                self.status = b'I';
                "ROLLBACK\0"
            }
            _ => "SET\0",
        };
        message(b'C', tag.as_bytes())
    }
}

/// A message with its true length.
pub(super) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    announced(tag, u32::try_from(body.len()).unwrap() + 4, body)
}

/// A message that announces another length than it has.
pub(super) fn announced(tag: u8, length: u32, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// AuthenticationOk and all that follows until the first ReadyForQuery.
pub(super) fn welcome() -> Vec<u8> {
    [
        message(b'R', &0_u32.to_be_bytes()),
        message(b'S', b"server_version\x0015.0\0"),
        message(b'S', b"client_encoding\0UTF8\0"),
        message(b'K', &[0, 0, 0, 7, 0, 0, 0, 8]),
        message(b'Z', b"I"),
    ]
    .concat()
}

/// One parameter for each `$`, and one column of type int4 for a SELECT.
fn described(sql: &str) -> Vec<u8> {
    let parameters = sql.matches('$').count();
    let types = 23_u32.to_be_bytes().repeat(parameters);
    let count = u16::try_from(parameters).unwrap().to_be_bytes();
    let rows = match sql.starts_with("select") {
        true => columns(1),
        false => message(b'n', b""),
    };
    [message(b't', &[&count[..], &types].concat()), rows].concat()
}

/// So many columns of type int4.
pub(super) fn columns(count: u16) -> Vec<u8> {
    let mut body = count.to_be_bytes().to_vec();
    for _ in 0..count {
        body.extend_from_slice(b"v\0");
        body.extend_from_slice(&[0, 0, 0, 0, 0, 0]);
        body.extend_from_slice(&23_u32.to_be_bytes());
        body.extend_from_slice(&4_u16.to_be_bytes());
        body.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 1]);
    }
    message(b'T', &body)
}

fn rows(sql: &str) -> Vec<u8> {
    match sql.starts_with("select") {
        true => row(&[Some(&7_i32.to_be_bytes())]),
        false => Vec::new(),
    }
}

/// A row of these values.
pub(super) fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        match value {
            Some(bytes) => {
                body.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
                body.extend_from_slice(bytes);
            }
            None => body.extend_from_slice(&[0xff; 4]),
        }
    }
    message(b'D', &body)
}
