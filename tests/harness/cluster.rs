//! A PostgreSQL cluster that lives as long as its value.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};

use tokio::sync::{Mutex, OnceCell};

use crate::account::Account;
use crate::error::Doing;
use crate::folder::{RunFolder, write_private};
use crate::server::{Server, scalar};
use crate::supervisor::Supervised;
use crate::template::{Template, initialise};
use crate::{Binaries, Certificate, HarnessError, Stop};

mod locale;
mod options;
mod port;

pub use options::ClusterOptions;
pub(crate) use port::free_port;

/// A PostgreSQL server on 127.0.0.1 with data of its own.
///
/// Its [`Server`] (by `Deref`) answers queries as the superuser. Everything is removed on drop.
/// Stopping and starting may run beside queries of the same test.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    data: PathBuf,
    log: PathBuf,
    own: Option<Own>,
}

/// The parts of a cluster that only the process that started it has. A process that attached to it has none of them.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) account: Account,
    pub(crate) binaries: Binaries,
    options: ClusterOptions,
    /// Where the server finds the locale of its messages.
    locales: Option<PathBuf>,
    /// The server's process; none while it is stopped.
    process: Mutex<Option<Supervised>>,
    /// Removed after the process has ended, hence last.
    _folder: Option<Arc<RunFolder>>,
}

impl Cluster {
    /// Starts a private cluster, in about 150 ms.
    pub async fn start(options: ClusterOptions) -> Result<Self, HarnessError> {
        let account = Account::of_servers()?;
        let binaries = options.binaries.clone().map_or_else(Binaries::find, Ok)?;
        let (folder, data, password) = blocking({
            let (binaries, kept) = (binaries.clone(), options.folder.clone());
            let is_unrelated = options.is_unrelated;
            move || lay_out(account, &binaries, kept, is_unrelated)
        })
        .await?;
        Self::launch(account, binaries, options, (folder, data, password)).await
    }

    /// Starts a server on existing data.
    pub(crate) async fn launch(
        account: Account,
        binaries: Binaries,
        options: ClusterOptions,
        (folder, data, password): (Option<Arc<RunFolder>>, PathBuf, String),
    ) -> Result<Self, HarnessError> {
        let home = data.parent().map(Path::to_owned).unwrap_or_default();
        options.write_files(account, &home, &data)?;
        let locales = match options.language.clone() {
            Some(locale) => Some(blocking(move || locale::prepare(account, &locale)).await?),
            None => None,
        };
        let port_wanted = options.port;
        let own = Own {
            account,
            binaries,
            options,
            locales,
            process: Mutex::new(None),
            _folder: folder,
        };
        let mut cluster = Self {
            server: Server::new(0, password),
            log: home.join("postgres.log"),
            data,
            own: Some(own),
        };
        let (mut attempts, mut wanted) = (0, port_wanted);
        loop {
            attempts += 1;
            let port = free_port(wanted.take())?;
            cluster.server = Server::new(port, cluster.server.password().to_owned());
            match cluster.start_again().await {
                Err(HarnessError::Start { log, .. })
                    if log.contains(PORT_TAKEN) && attempts < 5 => {}
                started => break started?,
            }
        }
        write_private(
            account,
            &home.join(ACCESS),
            &format!("{}\n{}\n", cluster.port(), cluster.password()),
        )?;
        Ok(cluster)
    }

    /// The cluster for tests that only need databases: the one from `with-cluster`, if that runs this
    /// process, and otherwise one for this process.
    pub async fn shared() -> Result<&'static Self, HarnessError> {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        SHARED
            .get_or_try_init(async || match env::var_os(SHARED_VARIABLE) {
                Some(folder) => Self::attach(Path::new(&folder)),
                None => Self::start(ClusterOptions::default().max_connections(300)).await,
            })
            .await
    }

    /// The cluster that another process started in `folder`.
    fn attach(folder: &Path) -> Result<Self, HarnessError> {
        let file = folder.join(ACCESS);
        let text = fs::read_to_string(&file).doing(|| format!("reading {}", file.display()))?;
        let (port, password) = text.trim().split_once('\n').unwrap_or_default();
        let server = Server::new(port.parse().unwrap_or(0), password.to_owned());
        Ok(Self {
            server,
            data: folder.join("data"),
            log: folder.join("postgres.log"),
            own: None,
        })
    }

    /// The address and the superuser of the server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The value of `DB_TESTS_CLUSTER` with which another process's [`Cluster::shared`] is this one.
    pub fn folder(&self) -> &Path {
        self.data.parent().unwrap_or(&self.data)
    }

    /// The installation that it runs.
    pub fn binaries(&self) -> Result<&Binaries, HarnessError> {
        Ok(&self.own("ask for its programs")?.binaries)
    }

    /// Stops the server and keeps its data.
    pub async fn stop(&self, how: Stop) -> Result<(), HarnessError> {
        let process = self.own("stop it")?.process.lock().await.take();
        match process {
            Some(process) => process.stop(how).await,
            None => Ok(()),
        }
    }

    /// Starts the stopped server at its old port and waits until it answers.
    pub async fn start_again(&self) -> Result<(), HarnessError> {
        let own = self.own("start it")?;
        let mut process = own.process.lock().await;
        let began = Instant::now();
        loop {
            match self.start_once(own, &mut process).await {
                // The sessions of a killed server live on for a moment.
                Err(HarnessError::Start { log, .. })
                    if log.contains(STILL_IN_USE) && began.elapsed() < PATIENCE => {}
                started => return started,
            }
        }
    }

    async fn start_once(
        &self,
        own: &Own,
        process: &mut Option<Supervised>,
    ) -> Result<(), HarnessError> {
        let before = self.log_text().len();
        let stays = own._folder.is_none();
        let (last, remove) = if stays {
            (Stop::Fast, None)
        } else {
            (Stop::Immediate, Some(self.folder()))
        };
        let command = self.command(own);
        let started =
            Supervised::start(own.account, "postgres", &command, &self.log, (last, remove))?;
        let started = process.insert(started);
        let answered = self.wait_for_answer(started, before).await;
        if answered.is_err() {
            process.take();
        }
        answered
    }

    /// Stops and starts.
    pub async fn restart(&self, how: Stop) -> Result<(), HarnessError> {
        self.stop(how).await?;
        self.start_again().await
    }

    /// Makes the server read its configuration files again.
    pub async fn reload(&self) -> Result<(), HarnessError> {
        self.sql("SELECT pg_reload_conf()").await
    }

    /// Changes a setting for good (`ALTER SYSTEM`) and reloads.
    pub async fn set(&self, setting: &str, value: &str) -> Result<(), HarnessError> {
        let admin = self.admin().await?;
        admin
            .batch_execute(&format!("ALTER SYSTEM SET {setting} = '{value}'"))
            .await?;
        self.reload().await
    }

    /// Replaces the server's certificate and reloads; needs [`ClusterOptions::tls`].
    pub async fn use_certificate(&self, certificate: &Certificate) -> Result<(), HarnessError> {
        options::write_certificate(
            self.own("change its certificate")?.account,
            self.folder(),
            certificate,
        )?;
        self.reload().await
    }

    /// Puts a line before all others in `pg_hba.conf` and reloads; the superuser always has access.
    pub async fn add_hba(&self, line: &str) -> Result<(), HarnessError> {
        let rules = options::with_hba(&self.data, &[line.to_owned()])?;
        let account = self.own("change its access rules")?.account;
        write_private(account, &self.data.join(options::HBA), &rules)?;
        self.reload().await
    }

    /// Removes a line that [`Cluster::add_hba`] has added, and reloads.
    pub async fn remove_hba(&self, line: &str) -> Result<(), HarnessError> {
        let file = self.data.join(options::HBA);
        let rules = fs::read_to_string(&file).doing(|| format!("reading {}", file.display()))?;
        let rules: Vec<_> = rules.lines().filter(|rule| *rule != line).collect();
        let account = self.own("change its access rules")?.account;
        write_private(account, &file, &rules.join("\n"))?;
        self.reload().await
    }

    /// The file with the certificate of the authority given to [`ClusterOptions::tls`].
    pub fn root_cert(&self) -> PathBuf {
        self.folder().join(options::ROOT_CERT)
    }

    /// Ends recovery on a standby.
    pub async fn promote(&self) -> Result<(), HarnessError> {
        self.sql("SELECT pg_promote(true, 30)").await
    }

    /// Everything the server has logged.
    pub fn log_text(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Whether the server has logged a text.
    pub fn log_contains(&self, text: &str) -> bool {
        self.log_text().contains(text)
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn own(&self, doing: &'static str) -> Result<&Own, HarnessError> {
        self.own.as_ref().ok_or(HarnessError::Shared { doing })
    }

    fn command(&self, own: &Own) -> Command {
        let mut command = Command::new(own.binaries.program("postgres"));
        command
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port().to_string()]);
        for setting in own.options.settings() {
            command.args(["-c", &setting]);
        }
        if let Some(folder) = &own.locales {
            command.env("LOCPATH", folder);
        }
        command
    }

    async fn wait_for_answer(
        &self,
        process: &mut Supervised,
        log_before: usize,
    ) -> Result<(), HarnessError> {
        let failed = |why: String| HarnessError::Start {
            server: "postgres",
            why,
            log: self
                .log_text()
                .get(log_before..)
                .unwrap_or_default()
                .to_owned(),
        };
        let answered = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(status) = process.ended() {
                    return Err(failed(status.to_string()));
                }
                if self.answers().await {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        answered
            .await
            .unwrap_or_else(|_| Err(failed(format!("no answer in {PATIENCE:?}"))))
    }

    /// Whether this cluster answers, and not another one at the same port.
    async fn answers(&self) -> bool {
        let Ok(admin) = self.admin().await else {
            return false;
        };
        let folder = scalar::<String>(&admin, "SHOW data_directory").await;
        folder.is_ok_and(|folder| Path::new(&folder) == self.data)
    }
}

impl Deref for Cluster {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

fn lay_out(
    account: Account,
    binaries: &Binaries,
    kept: Option<PathBuf>,
    is_unrelated: bool,
) -> Result<(Option<Arc<RunFolder>>, PathBuf, String), HarnessError> {
    let template = Template::prepare(account, binaries)?;
    let (folder, home) = match kept {
        Some(home) => (None, home),
        None => {
            let folder = RunFolder::create(account, "postgres")?;
            let home = folder.path().to_owned();
            (Some(Arc::new(folder)), home)
        }
    };
    let (data, secret) = (home.join("data"), home.join("password"));
    if !data.exists() {
        write_private(account, &secret, template.password())?;
        match is_unrelated {
            true => initialise(account, binaries, &data, &secret)?,
            false => template.copy_to(account, &data)?,
        }
    }
    let password = fs::read_to_string(&secret).doing(|| format!("reading {}", secret.display()))?;
    Ok((folder, data, password))
}

/// Runs blocking work off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HarnessError> + Send + 'static,
) -> Result<T, HarnessError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

pub(crate) const SHARED_VARIABLE: &str = "DB_TESTS_CLUSTER";
const ACCESS: &str = "access";
const PORT_TAKEN: &str = "could not bind";
const STILL_IN_USE: &str = "is still in use";
const PATIENCE: Duration = Duration::from_secs(30);
