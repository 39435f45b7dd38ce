//! A PgBouncer in front of a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, SimpleQueryMessage};

use crate::account::Account;
use crate::cluster::free_port;
use crate::error::Doing;
use crate::folder::{RunFolder, write_private};
use crate::server::{Server, connect};
use crate::supervisor::Supervised;
use crate::{HarnessError, Stop};

mod binary;
mod options;

pub use binary::BouncerBinary;
pub use options::{BouncerOptions, PoolMode};

/// A running PgBouncer for every database and role of its cluster; stopped and removed on drop.
///
/// It asks the server for passwords (`auth_query`), so a new role or password works at once.
#[derive(Debug)]
pub struct Bouncer {
    port: u16,
    password: String,
    binary: BouncerBinary,
    account: Account,
    /// None while it is stopped.
    process: Mutex<Option<Supervised>>,
    folder: RunFolder,
}

impl Bouncer {
    /// Starts a PgBouncer, in about 50 ms.
    pub async fn start(server: &Server, options: BouncerOptions) -> Result<Self, HarnessError> {
        let account = Account::of_servers()?;
        let binary = options
            .binary
            .clone()
            .map_or_else(BouncerBinary::find, Ok)?;
        let folder = RunFolder::create(account, "pgbouncer")?;
        let binary = binary.reachable_by(account, folder.path())?;
        let password = server.password().to_owned();
        let mut bouncer = Self {
            port: 0,
            password,
            binary,
            account,
            process: Mutex::new(None),
            folder,
        };
        bouncer.write_users(&options.users)?;
        let (mut attempts, mut wanted) = (0, options.port);
        loop {
            attempts += 1;
            bouncer.port = free_port(wanted.take())?;
            let ini = options.ini(bouncer.port, server.port(), bouncer.folder.path());
            write_private(account, &bouncer.file("pgbouncer.ini"), &ini)?;
            match bouncer.start_again().await {
                Err(HarnessError::Start { log, .. }) if log.contains("in use") && attempts < 5 => {}
                started => break started?,
            }
        }
        Ok(bouncer)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Writes a userlist with only the superuser and this role, with its password or SCRAM secret. PgBouncer reads it
    /// at the next RELOAD.
    pub fn set_user(&self, name: &str, secret: &str) -> Result<(), HarnessError> {
        self.write_users(&[(name.to_owned(), secret.to_owned())])?;
        // PgBouncer compares whole seconds.
        let file = self.file("users.txt");
        let later = SystemTime::now() + Duration::from_secs(2);
        let opened = fs::File::options().write(true).open(&file);
        opened
            .and_then(|file| file.set_modified(later))
            .doing(|| format!("dating {}", file.display()))
    }

    fn write_users(&self, users: &[(String, String)]) -> Result<(), HarnessError> {
        let mut list = format!("\"postgres\" \"{}\"\n", self.password);
        for (name, secret) in users {
            list.push_str(&format!("\"{name}\" \"{secret}\"\n"));
        }
        write_private(self.account, &self.file("users.txt"), &list)
    }

    /// The program that runs.
    pub fn binary(&self) -> &BouncerBinary {
        &self.binary
    }

    /// Stops it at once; clients lose their connections.
    pub async fn stop(&self) -> Result<(), HarnessError> {
        let process = self.process.lock().await.take();
        match process {
            // SIGINT waits for transactions, and SIGTERM differs between versions. PgBouncer has nothing to save.
            Some(process) => process.stop(Stop::Kill).await,
            None => Ok(()),
        }
    }

    /// Starts it at its old port and waits until it answers.
    pub async fn start_again(&self) -> Result<(), HarnessError> {
        let mut command = self.binary.command();
        command.arg(self.file("pgbouncer.ini"));
        let (log, end) = (
            self.file("pgbouncer.log"),
            (Stop::Kill, Some(self.folder.path())),
        );
        let mut process = self.process.lock().await;
        let started = Supervised::start(self.account, "pgbouncer", &command, &log, end)?;
        let started = process.insert(started);
        let failed = |why: String| HarnessError::Start {
            server: "pgbouncer",
            why,
            log: self.log_text(),
        };
        let answered = tokio::time::timeout(PATIENCE, async {
            while self.admin().await.is_err() {
                if let Some(status) = started.ended() {
                    return Err(failed(status.to_string()));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        });
        let answered = answered
            .await
            .unwrap_or_else(|_| Err(failed(format!("no answer in {PATIENCE:?}"))));
        if answered.is_err() {
            process.take();
        }
        answered
    }

    /// Runs a command of the administration console: `RELOAD`, `RECONNECT`, `PAUSE`, ..
    pub async fn command(&self, command: &str) -> Result<(), HarnessError> {
        self.admin().await?.simple_query(command).await?;
        Ok(())
    }

    /// The rows of a `SHOW` command of the administration console, by column.
    pub async fn show(&self, what: &str) -> Result<Vec<BTreeMap<String, String>>, HarnessError> {
        let messages = self
            .admin()
            .await?
            .simple_query(&format!("SHOW {what}"))
            .await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows
            .map(|row| {
                let names = row.columns().iter().map(|column| column.name().to_owned());
                names
                    .enumerate()
                    .map(|(i, name)| (name, row.get(i).unwrap_or_default().to_owned()))
                    .collect()
            })
            .collect())
    }

    /// Everything it has logged.
    pub fn log_text(&self) -> String {
        let log = fs::read(self.file("pgbouncer.log"));
        log.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    async fn admin(&self) -> Result<Client, HarnessError> {
        connect(
            Config::new()
                .dbname("pgbouncer")
                .user("postgres")
                .password(&self.password),
            self.port,
        )
        .await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
