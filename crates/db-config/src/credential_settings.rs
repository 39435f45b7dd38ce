//! Where user and password come from, and how they are renewed: the table `[database.credentials]`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::Problem;
use crate::keys;
use crate::layers::Layers;
use crate::origin::Origin;
use crate::variables::Variables;

/// Where user and password come from, and how they are renewed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CredentialSettings {
    /// Where they come from.
    pub source: CredentialOrigin,
    /// How long one fetch may take.
    pub timeout: Duration,
    /// How often a file is looked at.
    pub poll: Duration,
    /// How long before its end a secret is renewed.
    pub refresh_before: Duration,
    /// When a secret is renewed.
    pub refresh: Refresh,
    /// The time over which idle connections with old credentials are replaced.
    pub drain_spread: Duration,
    /// After how long connections with old credentials are cancelled; `None` is never.
    pub drain_limit: Option<Duration>,
    /// How many logins the server may refuse with one secret. After that the pool tries it only once in five minutes.
    pub attempts: u32,
}

/// Where user and password come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialOrigin {
    /// The URL.
    Static,
    /// A file.
    File(PathBuf),
    /// A directory with one file for each part.
    Directory(PathBuf),
    /// The directory of Service Bindings. One of them has the type `postgresql`.
    ServiceBinding(PathBuf),
    /// What a program prints.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// The variables that it gets.
        environment: CommandEnvironment,
    },
    /// Code of the service.
    Provider,
}

/// When a secret is renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Refresh {
    /// In the background.
    #[default]
    Timer,
    /// Before a login, if it is due.
    Lazy,
}

/// The variables of the process that a command gets. `Debug` shows only their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CommandEnvironment(Vec<(String, String)>);

impl CommandEnvironment {
    /// The variables of the process that a program needs to find its files and its own credentials. Ours are not
    /// among them.
    pub(crate) fn of(variables: &Variables) -> Self {
        let allowed = |name: &str| {
            let upper = name.to_ascii_uppercase();
            ALLOWED.contains(&&*upper) || ALLOWED_PREFIXES.iter().any(|p| upper.starts_with(p))
        };
        let process = variables.of_process();
        let passed = process.filter(|variable| allowed(variable.name));
        Self(
            passed
                .map(|variable| (variable.name.to_owned(), variable.value.to_owned()))
                .collect(),
        )
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Debug for CommandEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// What the process says in addition to the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct CredentialSurroundings {
    /// Where relative paths start.
    pub(crate) dir: PathBuf,
    /// `SERVICE_BINDING_ROOT`.
    pub(crate) binding_root: Option<PathBuf>,
    pub(crate) environment: CommandEnvironment,
}

impl CredentialSurroundings {
    pub(crate) fn of(variables: &Variables, dir: &Path) -> Self {
        let root = variables.find("SERVICE_BINDING_ROOT");
        Self {
            dir: dir.to_owned(),
            binding_root: root.map(|root| dir.join(root.value)),
            environment: CommandEnvironment::of(variables),
        }
    }
}

/// Reads the table. The error says which further key the source needs.
pub(crate) fn read(
    layers: &Layers,
    surroundings: &CredentialSurroundings,
) -> Result<CredentialSettings, Problem> {
    let merged = layers.table(&["credentials"]);
    let merged: config::Map<String, config::Value> = merged.into_iter().collect();
    let table: Table = config::Value::new(None, merged)
        .try_deserialize()
        .map_err(|error| {
            Problem::new(
                "database.credentials",
                Origin::new("code"),
                error.to_string(),
            )
        })?;
    let source = origin(layers, &table, surroundings)?;
    Ok(CredentialSettings {
        source,
        timeout: table.timeout,
        poll: table.poll,
        refresh_before: table.refresh_before,
        refresh: table.refresh,
        drain_spread: table.drain_spread,
        drain_limit: table.drain_limit,
        attempts: table.attempts,
    })
}

/// Where user and password come from. The error says what is missing.
fn origin(
    layers: &Layers,
    table: &Table,
    surroundings: &CredentialSurroundings,
) -> Result<CredentialOrigin, Problem> {
    let missing = |key: &str, what: &str| {
        let table = layers.table(&["credentials"]);
        let source = table.get("source").and_then(|value| value.origin());
        let source = Origin::new(source.unwrap_or_default());
        let variable = keys::variable(&format!("credentials.{key}"));
        let message = format!(
            "not set, and `credentials.source` is {:?}; expected {what} ({variable})",
            table
                .get("source")
                .map(ToString::to_string)
                .unwrap_or_default()
        );
        Problem::new(format!("database.credentials.{key}"), source, message)
    };
    let path = table.path.as_ref().filter(|path| !path.is_empty());
    let path = path.map(|path| surroundings.dir.join(path));
    Ok(match &*table.source {
        "file" => match path {
            Some(path) => CredentialOrigin::File(path),
            None => return Err(missing("path", "the path of the file with the secret")),
        },
        "directory" => match (path, &surroundings.binding_root) {
            (Some(path), _) => CredentialOrigin::Directory(path),
            (None, Some(root)) => CredentialOrigin::ServiceBinding(root.clone()),
            (None, None) => {
                let what = "the path of the directory with the secret, or SERVICE_BINDING_ROOT";
                return Err(missing("path", what));
            }
        },
        "command" => match &table.command {
            Some(argv) if !argv.is_empty() => CredentialOrigin::Command {
                argv: argv.clone(),
                environment: surroundings.environment.clone(),
            },
            _ => {
                let what =
                    "a program and its arguments such as [\"/usr/local/bin/token\", \"app\"]";
                return Err(missing("command", what));
            }
        },
        "provider" => CredentialOrigin::Provider,
        _ => CredentialOrigin::Static,
    })
}

#[derive(Deserialize)]
struct Table {
    source: String,
    path: Option<String>,
    command: Option<Vec<String>>,
    #[serde(with = "crate::duration")]
    timeout: Duration,
    #[serde(with = "crate::duration")]
    poll: Duration,
    #[serde(with = "crate::duration")]
    refresh_before: Duration,
    refresh: Refresh,
    #[serde(with = "crate::duration")]
    drain_spread: Duration,
    #[serde(default, with = "crate::duration::optional")]
    drain_limit: Option<Duration>,
    attempts: u32,
}

/// Variables that a program may need, in capitals. The names of proxies may also be in small letters.
const ALLOWED: [&str; 15] = [
    "ALL_PROXY",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "KUBECONFIG",
    "LANG",
    "LANGUAGE",
    "LOGNAME",
    "NO_PROXY",
    "PATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TZ",
    "USER",
];

/// How the names of secret stores' variables begin.
const ALLOWED_PREFIXES: [&str; 8] = [
    "AWS_",
    "AZURE_",
    "CLOUDSDK_",
    "GOOGLE_",
    "KUBERNETES_",
    "LC_",
    "VAULT_",
    "XDG_",
];
