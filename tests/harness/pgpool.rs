//! A Pgpool-II in front of a cluster, or of a primary and a standby.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio_postgres::Config;

use crate::account::Account;
use crate::cluster::free_port;
use crate::error::Doing;
use crate::folder::{RunFolder, write_private};
use crate::server::connect;
use crate::supervisor::Supervised;
use crate::{HarnessError, Server, Stop, TestDatabase};

/// A running Pgpool-II that lets the role of one test in; stopped and removed on drop.
#[derive(Debug)]
pub struct Pgpool {
    port: u16,
    process: Supervised,
    folder: RunFolder,
}

/// What Pgpool-II does with its servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PgpoolMode {
    /// Hands everything on to the first server.
    Raw,
    /// Knows the primary and its standbys, and sends everything to the primary.
    Replication,
    /// The same, but sends every query that it considers harmless to a standby.
    LoadBalancing,
}

impl Pgpool {
    /// Starts a Pgpool-II in front of these servers, the primary first. `None` if the machine has no Pgpool-II.
    pub async fn start(
        database: &TestDatabase,
        servers: &[&Server],
        mode: PgpoolMode,
    ) -> Result<Option<Self>, HarnessError> {
        let Some(program) = program() else {
            return Ok(None);
        };
        let account = Account::of_servers()?;
        let folder = RunFolder::create(account, "pgpool")?;
        let file = |name: &str| folder.path().join(name);
        let port = free_port(None)?;
        let server = database.server();
        let passwords = [
            ("postgres", server.password().to_owned()),
            (database.role().name(), database.password()),
        ];
        let passwords = passwords.map(|(user, password)| format!("{user}:TEXT{password}\n"));
        write_private(account, &file("pool_passwd"), &passwords.concat())?;
        write_private(
            account,
            &file("pool_hba.conf"),
            "host all all 127.0.0.1/32 scram-sha-256\n",
        )?;
        write_private(account, &file("pcp.conf"), "")?;
        let settings = settings(mode, port, servers, folder.path());
        write_private(account, &file("pgpool.conf"), &settings)?;

        let mut command = Command::new(reachable(&program, account, folder.path())?);
        command.env(
            "LD_LIBRARY_PATH",
            libraries(&program, account, folder.path())?,
        );
        command.args(["-n", "-D", "-f"]).arg(file("pgpool.conf"));
        command
            .arg("-F")
            .arg(file("pcp.conf"))
            .arg("-a")
            .arg(file("pool_hba.conf"));
        // Its children live on if it is killed.
        let end = (Stop::Immediate, Some(folder.path()));
        let process = Supervised::start(account, "pgpool", &command, &file("pgpool.log"), end)?;
        let mut pgpool = Self {
            port,
            process,
            folder,
        };
        pgpool.answers(database).await?;
        Ok(Some(pgpool))
    }

    /// A URL of the database through it.
    pub fn url(&self, database: &TestDatabase) -> String {
        crate::through_port(&database.url(), self.port)
    }

    /// The process group of its processes.
    pub fn process_group(&self) -> u32 {
        self.process.group()
    }

    async fn answers(&mut self, database: &TestDatabase) -> Result<(), HarnessError> {
        let process = &mut self.process;
        let failed = |why: String| HarnessError::Start {
            server: "pgpool",
            why,
            log: fs::read_to_string(self.folder.path().join("pgpool.log")).unwrap_or_default(),
        };
        let asking = async {
            loop {
                let mut login = Config::new();
                login.dbname(database.name()).user(database.role().name());
                if connect(login.password(database.password()), self.port)
                    .await
                    .is_ok()
                {
                    return Ok(());
                }
                if let Some(status) = process.ended() {
                    return Err(failed(status.to_string()));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, asking).await;
        answered.unwrap_or_else(|_| Err(failed(format!("no answer in {PATIENCE:?}"))))
    }
}

fn settings(mode: PgpoolMode, port: u16, servers: &[&Server], folder: &Path) -> String {
    let (clustering, balances) = match mode {
        PgpoolMode::Raw => ("raw", "off"),
        PgpoolMode::Replication => ("streaming_replication", "off"),
        PgpoolMode::LoadBalancing => ("streaming_replication", "on"),
    };
    let folder = folder.display();
    // Before 4.4, unix_socket_directories is called socket_dir.
    let mut settings = format!(
        "backend_clustering_mode = '{clustering}'\n\
         load_balance_mode = {balances}\n\
         listen_addresses = '127.0.0.1'\n\
         port = {port}\n\
         pcp_listen_addresses = ''\n\
         socket_dir = '{folder}'\n\
         unix_socket_directories = '{folder}'\n\
         pcp_socket_dir = '{folder}'\n\
         pid_file_name = '{folder}/pgpool.pid'\n\
         logdir = '{folder}'\n\
         enable_pool_hba = on\n\
         pool_passwd = 'pool_passwd'\n\
         num_init_children = 12\n\
         max_pool = 1\n\
         sr_check_user = 'postgres'\n\
         sr_check_database = 'postgres'\n\
         failover_on_backend_error = off\n\
         failover_on_backend_shutdown = off\n"
    );
    for (number, server) in servers.iter().enumerate() {
        // All reads are balanced to the standbys, so that a misdirected query is noticed.
        let weight = u8::from(number > 0 || servers.len() == 1);
        settings += &format!(
            "backend_hostname{number} = '127.0.0.1'\n\
             backend_port{number} = {}\n\
             backend_weight{number} = {weight}\n",
            server.port()
        );
    }
    settings
}

/// `DB_TESTS_PGPOOL`, the fetched one, or the installed one.
fn program() -> Option<PathBuf> {
    let named = env::var_os("DB_TESTS_PGPOOL").map(PathBuf::from);
    let known = [FETCHED, "/usr/sbin/pgpool", "/usr/local/bin/pgpool"].map(PathBuf::from);
    named.into_iter().chain(known).find(|path| path.exists())
}

/// The program, or a copy in `folder` when the account cannot enter the program's own folder.
fn reachable(program: &Path, account: Account, folder: &Path) -> Result<PathBuf, HarnessError> {
    if account.reaches(program) {
        return Ok(program.to_owned());
    }
    let copy = folder.join("pgpool");
    fs::copy(program, &copy).doing(|| format!("copying {}", program.display()))?;
    Ok(copy)
}

/// The folder of the libraries that were fetched with it, or a copy of them.
fn libraries(program: &Path, account: Account, folder: &Path) -> Result<PathBuf, HarnessError> {
    let home = program.ancestors().nth(3).unwrap_or(Path::new("/"));
    let fetched = home.join("libraries");
    if !fetched.exists() {
        return Ok(PathBuf::new());
    }
    if account.reaches(&fetched) {
        return Ok(fetched);
    }
    let listing = || format!("reading {}", fetched.display());
    for entry in fs::read_dir(&fetched).doing(listing)? {
        let library = entry.doing(listing)?.path();
        if let (true, Some(name)) = (library.is_file(), library.file_name()) {
            fs::copy(&library, folder.join(name))
                .doing(|| format!("copying {}", library.display()))?;
        }
    }
    Ok(folder.to_owned())
}

const FETCHED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../target/tools/pgpool/usr/sbin/pgpool"
);

const PATIENCE: Duration = Duration::from_secs(20);
