//! The ledger service as a process and as a client sees it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{DemoError, Doing};

/// A running ledger; killed on drop.
pub(crate) struct Ledger {
    process: Child,
    log: PathBuf,
    client: Client,
}

/// Sends requests to the ledger over HTTP. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// One pool in the answer of `/status`, as far as the demo looks at it.
#[derive(Deserialize, Debug)]
pub(crate) struct Pool {
    pub(crate) generation: u64,
    pub(crate) retiring: u64,
    /// Connections closed because of a rotation.
    pub(crate) retired: u64,
    pub(crate) slow_queries: u64,
}

impl Ledger {
    /// Starts the ledger that lies beside this program, with `folder` as its working directory. There
    /// it finds only the configuration given here. Waits until it serves.
    pub(crate) async fn start(folder: &Path, url: &Path, log: &Path) -> Result<Self, DemoError> {
        let program = std::env::current_exe().doing(|| "finding the demo itself".to_owned())?;
        let program = program.with_file_name("ledger");
        let errors = File::create(log).doing(|| format!("writing {}", log.display()))?;
        let process = Command::new(&program)
            .env_clear()
            .env("APP_ENV", "prod")
            .env("RUST_LOG", "info")
            .env("DATABASE_URL_FILE", url)
            // A short one, so that the second change of the password falls into the load too.
            .env("APP_DB__CREDENTIALS__DRAIN_SPREAD", "1s")
            .env("LEDGER_LISTEN", "127.0.0.1:0")
            .env("LEDGER_DRAIN_MS", "100")
            .env("LEDGER_ENDS_WITH_INPUT", "1")
            .env("NO_COLOR", "1")
            .current_dir(folder)
            // It is never written to. It closes when this process is gone, even by SIGKILL, and then
            // the ledger ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            // It has a process group of its own: the terminal's Ctrl-C goes to the demo, which then
            // ends the ledger.
            .process_group(0)
            .spawn()
            .doing(|| format!("starting {} (built by `just demo`)", program.display()))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        let client = Client {
            http,
            base: String::new(),
        };
        let mut ledger = Self {
            process,
            log: log.to_owned(),
            client,
        };
        let address = ledger
            .first_line()
            .await
            .ok_or_else(|| DemoError::Start { log: tail(log) })?;
        ledger.client.base = format!("http://{address}");
        Ok(ledger)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes it read its credentials again.
    pub(crate) fn hang_up(&self) -> Result<(), DemoError> {
        self.signal(Signal::HUP)
    }

    /// Ends it as an orchestrator does, and checks that it ends with success.
    pub(crate) async fn stop(mut self) -> Result<(), DemoError> {
        self.signal(Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            let ended = self
                .process
                .try_wait()
                .doing(|| "waiting for the ledger".to_owned())?;
            match ended {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(DemoError::Ended {
                        status,
                        log: tail(&self.log),
                    });
                }
                None => tokio::time::sleep(INTERVAL).await,
            }
        }
        Err(DemoError::Overdue {
            seconds: PATIENCE.as_secs(),
        })
    }

    /// Its first line of output: the address on which it listens. `None` if it ends before that, or
    /// takes too long.
    async fn first_line(&mut self) -> Option<String> {
        let mut output = BufReader::new(self.process.stdout.take()?);
        // The read ends at the latest when the process ends, which is on drop.
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            output.read_line(&mut line).is_ok().then_some(line)
        });
        let line = tokio::time::timeout(PATIENCE, line).await.ok()?.ok()??;
        (!line.is_empty()).then(|| line.trim().to_owned())
    }

    fn signal(&self, signal: Signal) -> Result<(), DemoError> {
        // The process is not reaped yet, so the number is still its own.
        let pid = Pid::from_child(&self.process);
        kill_process(pid, signal)
            .map_err(Into::into)
            .doing(|| "signalling the ledger".to_owned())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Both do nothing if it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Client {
    /// Opens an account without money and returns its number.
    pub(crate) async fn open(&self, name: &str) -> Result<i64, DemoError> {
        #[derive(Deserialize)]
        struct Opened {
            id: i64,
        }
        let account: Opened = self.post("/accounts", &json!({ "name": name })).await?;
        Ok(account.id)
    }

    /// Returns when the transfer is acknowledged.
    pub(crate) async fn transfer(&self, from: i64, to: i64, amount: i64) -> Result<(), DemoError> {
        let transfer = json!({ "from": from, "to": to, "amount": amount });
        self.post("/transfers", &transfer).await.map(|_: Value| ())
    }

    pub(crate) async fn balance(&self, account: i64) -> Result<i64, DemoError> {
        #[derive(Deserialize)]
        struct Account {
            balance: i64,
        }
        let account: Account = self.get(&format!("/accounts/{account}")).await?;
        Ok(account.balance)
    }

    /// The pools in numbers.
    pub(crate) async fn pools(&self) -> Result<Vec<Pool>, DemoError> {
        #[derive(Deserialize)]
        struct Status {
            pools: Vec<Pool>,
        }
        let status: Status = self.get("/status").await?;
        Ok(status.pools)
    }

    async fn post<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, DemoError> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        self.ask(request, StatusCode::CREATED, || {
            format!("POST {path} {body}")
        })
        .await
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, DemoError> {
        let request = self.http.get(format!("{}{path}", self.base));
        self.ask(request, StatusCode::OK, || format!("GET {path}"))
            .await
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        request: reqwest::RequestBuilder,
        expected: StatusCode,
        name: impl Fn() -> String,
    ) -> Result<T, DemoError> {
        let response = request.send().await?;
        let status = response.status();
        if status == expected {
            return Ok(response.json().await?);
        }
        let answer = format!("{status} {}", response.text().await.unwrap_or_default());
        Err(DemoError::Answer {
            request: name(),
            answer,
        })
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// Longer than a start, an answer or an end takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the end of the process is checked.
const INTERVAL: Duration = Duration::from_millis(10);
