//! A PostgreSQL that all tests of an account share. It ends when no test has used it for a while.
//!
//! Its folder has a file for each process that uses it. A shell beside the server checks whether those processes
//! live. When none does, it stops the server and removes the folder.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use app_db::{DirectUrl, Endpoint};

use crate::account;
use crate::admin::Admin;
use crate::error::{Doing, TestDatabaseError};
use crate::installation::installations;

/// The server that is already running, or a new one.
pub(crate) async fn shared() -> Result<Endpoint, TestDatabaseError> {
    let account = Account::of_servers()?;
    let home = Home(env::temp_dir().join(format!("app-db-test-{}", account.own)));
    let _lock = home.lock().await?;
    home.is_ours(&account)?;
    // This process registers first, and from then on the shell does not stop the server. But the shell may have
    // decided to stop it just before.
    if home.register()
        && let Some(endpoint) = home.running().await
        && home.is_registered()
    {
        return Ok(endpoint);
    }
    home.start(&account).await
}

/// The account of the tests, and the account under which their server has to run.
struct Account {
    own: u32,
    server: Option<(u32, u32)>,
}

impl Account {
    fn of_servers() -> Result<Self, TestDatabaseError> {
        let own = account::own().doing(|| "asking for the user of this process".to_owned())?;
        let server = match own {
            0 => {
                let found = account::unprivileged().doing(|| "reading /etc/passwd".to_owned())?;
                Some(found.ok_or(TestDatabaseError::NoAccount)?)
            }
            _ => None,
        };
        Ok(Self { own, server })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env("HOME", "/")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        if let Some((uid, gid)) = self.server {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        match self.server {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// The first installation whose server runs as this account.
    fn installation(&self) -> Result<PathBuf, TestDatabaseError> {
        let named = env::var_os("APP_DB_TEST_POSTGRES_BIN").map(PathBuf::from);
        let folders = named.map_or_else(installations, |folder| vec![folder]);
        let is_usable = |folder: &PathBuf| {
            let asked = self
                .command(&folder.join("postgres"))
                .arg("--version")
                .output();
            folder.join("initdb").is_file() && asked.is_ok_and(|answer| answer.status.success())
        };
        folders
            .into_iter()
            .find(is_usable)
            .ok_or(TestDatabaseError::NoPostgres)
    }
}

/// The folder of the server.
struct Home(PathBuf);

impl Home {
    /// Waits until no other process looks for the server or starts one.
    async fn lock(&self) -> Result<File, TestDatabaseError> {
        let path = self.0.with_extension("lock");
        let locked = tokio::task::spawn_blocking(move || {
            let file = File::options()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(path)?;
            file.lock().map(|()| file)
        });
        let locked = locked.await.map_err(io::Error::other).flatten();
        locked.doing(|| "locking the private server's folder".to_owned())
    }

    /// Refuses a folder that another user has made under this name.
    fn is_ours(&self, account: &Account) -> Result<(), TestDatabaseError> {
        let owner = fs::symlink_metadata(&self.0).map(|folder| folder.uid());
        let is_known =
            |uid: u32| uid == account.own || account.server.is_some_and(|server| server.0 == uid);
        match owner {
            Ok(uid) if !is_known(uid) => {
                Err(io::Error::other("the folder belongs to somebody else"))
            }
            _ => Ok(()),
        }
        .doing(|| format!("using {}", self.0.display()))
    }

    fn user(&self) -> PathBuf {
        self.0.join("users").join(std::process::id().to_string())
    }

    fn register(&self) -> bool {
        File::create(self.user()).is_ok()
    }

    fn is_registered(&self) -> bool {
        self.user().exists()
    }

    /// The endpoint of the server, if it answers.
    async fn running(&self) -> Option<Endpoint> {
        let url = fs::read_to_string(self.0.join(URL)).ok()?;
        let endpoint = DirectUrl::parse(&url).ok()?.endpoint().clone();
        Admin::connect(&endpoint).await.ok().map(|_| endpoint)
    }

    async fn start(&self, account: &Account) -> Result<Endpoint, TestDatabaseError> {
        let programs = account.installation()?;
        let (port, password) = self.lay_out(account, &programs)?;
        let log = self.0.join("log");
        let mut shell = account.command(Path::new("/bin/sh"));
        shell
            .args(["-c", SUPERVISE, "sh"])
            .arg(&self.0)
            .arg(programs.join("postgres"));
        shell
            .arg("-D")
            .arg(self.0.join("data"))
            .args(["-p", &port.to_string()]);
        for setting in SETTINGS {
            shell.args(["-c", setting]);
        }
        let output = File::create(&log).doing(|| format!("making {}", log.display()))?;
        let errors = output
            .try_clone()
            .doing(|| "duplicating a file handle".to_owned())?;
        // It has a process group of its own, so it survives this process and the terminal's Ctrl-C.
        shell.stdout(output).stderr(errors).process_group(0);
        shell
            .spawn()
            .doing(|| "starting the private server".to_owned())?;

        let url =
            format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres?sslmode=disable");
        write(&self.0.join(URL), &url).doing(|| format!("writing into {}", self.0.display()))?;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if let Some(endpoint) = self.running().await {
                return Ok(endpoint);
            }
            tokio::time::sleep(INTERVAL).await;
        }
        Err(TestDatabaseError::Start {
            log: fs::read_to_string(log).unwrap_or_default(),
        })
    }

    /// Creates the folder again, with this process as its first user, and returns the port and the password.
    fn lay_out(
        &self,
        account: &Account,
        programs: &Path,
    ) -> Result<(u16, String), TestDatabaseError> {
        let password = random_word().doing(|| "reading /dev/urandom".to_owned())?;
        let secret = self.0.join("initial-password");
        let made = (|| {
            // The shell of a server that is ending sees by the name whether the folder is still its own.
            let former = self.0.with_extension(format!("{:x}", fastrand::u64(..)));
            if fs::rename(&self.0, &former).is_ok() {
                let _ = fs::remove_dir_all(&former);
            }
            for folder in [self.0.clone(), self.0.join("users")] {
                DirBuilder::new().mode(0o700).create(&folder)?;
                account.give(&folder)?;
            }
            File::create(self.user())?;
            write(&secret, &password)?;
            account.give(&secret)?;
            let free = TcpListener::bind(("127.0.0.1", 0))?;
            Ok(free.local_addr()?.port())
        })();
        let port = made.doing(|| format!("making {}", self.0.display()))?;
        let program = programs.join("initdb");
        let mut initdb = account.command(&program);
        initdb.args([
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
            "-A",
            "scram-sha-256",
            "-U",
            "postgres",
        ]);
        initdb
            .arg("--pwfile")
            .arg(&secret)
            .arg("-D")
            .arg(self.0.join("data"));
        let output = initdb
            .output()
            .doing(|| format!("running {}", program.display()))?;
        if !output.status.success() {
            return Err(TestDatabaseError::Program {
                program: program.display().to_string(),
                status: output.status,
                output: String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
                    .trim()
                    .to_owned(),
            });
        }
        Ok((port, password))
    }
}

/// Writes a file that only this account can read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// 32 hexadecimal digits from the kernel.
fn random_word() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The shell removes the file of a dead process at once, before another process gets its number.
///
/// Arguments: the folder, the server's command. A process that registers while the shell decides is found in the
/// renamed folder. The shell's working directory stays this folder, even if the folder gets another name. Then the
/// shell must not remove it.
const SUPERVISE: &str = r#"
folder=$1; shift
cd "$folder"
"$@" & server=$!
lives() { kill -0 "$1" 2>/dev/null || [ -d "/proc/$1" ]; }
anybody() {
    found=1
    for user in "$1"/*; do
        if lives "${user##*/}"; then found=0; else rm -f "$user"; fi
    done
    return $found
}
idle=0
while [ $idle -lt 10 ]; do
    sleep 0.5
    kill -0 $server 2>/dev/null || break
    idle=$((idle + 1))
    if anybody users; then
        idle=0
    elif [ $idle -eq 10 ]; then
        mv users former
        if anybody former; then
            mv former users
            idle=0
        fi
    fi
done
kill -INT $server 2>/dev/null
wait $server
if [ . -ef "$folder" ]; then
    cd /
    rm -rf "$folder"
fi
"#;

const SETTINGS: [&str; 4] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "max_connections=300",
];
const URL: &str = "url";
const PATIENCE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a user that makes the folder first could name any server.
    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        let home = Home(env::temp_dir().join(format!("app-db-test-{:x}", fastrand::u64(..))));
        let own = account::own().unwrap();
        let ours = Account { own, server: None };
        let servers = Account {
            own: own + 1,
            server: Some((own, 0)),
        };
        let other = Account {
            own: own + 1,
            server: None,
        };
        for account in [&ours, &other] {
            assert!(home.is_ours(account).is_ok(), "nobody has made it");
        }
        fs::create_dir(&home.0).unwrap();
        let judged = [ours, servers, other].map(|account| home.is_ours(&account).is_ok());
        fs::remove_dir(&home.0).unwrap();
        assert_eq!(judged, [true, true, false]);
    }
}
