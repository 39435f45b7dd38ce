//! The merged configuration, and the questions that it answers.

use std::collections::BTreeMap;
use std::fmt::Display;

use config::Value;
use serde::de::DeserializeOwned;

use crate::checks;
use crate::credential_settings::{
    self, CredentialOrigin, CredentialSettings, CredentialSurroundings,
};
use crate::environment::Environment;
use crate::error::{ConfigError, Problem};
use crate::explained::Explained;
use crate::keys::{self, KEYS};
use crate::layer;
use crate::layers::Layers;
use crate::origin::Origin;
use crate::own_tables::OwnTables;
use crate::resolve::Urls;
use crate::secret_file;
use crate::url::{DirectUrl, PooledUrl};

/// The configuration: the environment, the URLs and every setting, each with its origin.
///
/// `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) environment: Environment,
    pub(crate) environment_origin: Origin,
    pub(crate) layers: Layers,
    pub(crate) urls: Urls,
    pub(crate) own: OwnTables,
    pub(crate) surroundings: CredentialSurroundings,
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Only the built-in table, without any file, variable or URL.
    pub fn builtin(environment: &Environment) -> Config {
        let missing = |name: &str| {
            let message = "the built-in table has no URL; use Config::load";
            ConfigError::from(Problem::new(name, Origin::new(layer::BUILT_IN), message))
        };
        Config {
            environment: environment.clone(),
            environment_origin: Origin::new("code"),
            layers: Layers::built_in(environment),
            urls: Urls {
                pooled: Err(missing("DATABASE_URL")),
                direct: Err(missing("DATABASE_URL_DIRECT")),
                replicas: Vec::new(),
                explained: Vec::new(),
                pooled_origin: None,
            },
            own: OwnTables::default(),
            surroundings: CredentialSurroundings::default(),
            warnings: Vec::new(),
        }
    }

    /// Sets a key from code, above every other layer. Write `value` as you would in a variable.
    ///
    /// # Errors
    ///
    /// When the key is unknown, when the value is not of the key's kind, and when it contradicts
    /// another value. Also when the key decides what is loaded, since loading is over.
    pub fn with(mut self, key: &str, value: impl Display) -> Result<Config, ConfigError> {
        let path = key.strip_prefix("database.").unwrap_or(key);
        let origin = Origin::new("code");
        let set = match READ_AT_LOAD.contains(&path) {
            true => Err(format!(
                "is read while loading; set {} instead",
                keys::variable(path)
            )),
            false => self.layers.set(path, &value.to_string(), origin.clone()),
        };
        set.map_err(|message| Problem::new(format!("database.{path}"), origin, message))?;
        let contradictions = checks::contradictions(&self.layers, &self.environment);
        ConfigError::check(contradictions)?;
        self.warn();
        Ok(self)
    }

    /// Also trusts the certificates in this PEM text, for every URL: see
    /// [`Endpoint::trusting`](crate::Endpoint::trusting).
    #[must_use]
    pub fn trusting(mut self, pem: impl Into<Vec<u8>>) -> Config {
        self.urls.trust(&pem.into());
        self
    }

    /// The environment that the process runs in.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The application's URL (`DATABASE_URL`).
    ///
    /// # Errors
    ///
    /// When nothing sets it. The error says what would.
    pub fn pooled_url(&self) -> Result<&PooledUrl, ConfigError> {
        self.urls.pooled.as_ref().map_err(Clone::clone)
    }

    /// The URL of migrations and administration (`DATABASE_URL_DIRECT`).
    ///
    /// Outside production the pooled URL takes its place, unless that URL looks like a pooler's.
    ///
    /// # Errors
    ///
    /// When it is missing. The error says what to set, and what the URL probably is.
    pub fn direct_url(&self) -> Result<&DirectUrl, ConfigError> {
        self.urls.direct.as_ref().map_err(Clone::clone)
    }

    /// The URLs of the replicas (`DATABASE_URL_REPLICA`), if there are any.
    pub fn replica_urls(&self) -> &[PooledUrl] {
        &self.urls.replicas
    }

    /// Where user and password come from, and how they are renewed (`database.credentials`).
    ///
    /// # Errors
    ///
    /// When the source needs another key that is not set. Loading reports that too, but code may set the keys one after
    /// the other.
    pub fn credentials(&self) -> Result<CredentialSettings, ConfigError> {
        credential_settings::read(&self.layers, &self.surroundings).map_err(ConfigError::from)
    }

    /// The merged table `database.<name>`: `section("retry")`.
    ///
    /// # Errors
    ///
    /// When `T` wants something that the table does not hold.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        read(name, self.layers.table(&[name]))
    }

    /// The merged table `database.<name>`, with the gaps filled from `database.<base>`.
    ///
    /// For each key the first of these counts: the value configured for `name`, the value
    /// configured for `base`, the value built in for `name`, the value built in for `base`. An
    /// example is `section_over("pools.write", "profile")`.
    ///
    /// # Errors
    ///
    /// When `T` wants something that the table does not hold.
    pub fn section_over<T: DeserializeOwned>(
        &self,
        name: &str,
        base: &str,
    ) -> Result<T, ConfigError> {
        read(name, self.layers.table(&[base, name]))
    }

    /// A table of the service itself, from the same files and variables: `own::<Http>("http")`.
    ///
    /// The lowest layer is `[http]` in `config/default.toml`. The other files and `.env` come next, and the variable
    /// `APP__HTTP__PORT` is above them. Give a key a default with `#[serde(default)]`, and refuse misspelt keys with
    /// `#[serde(deny_unknown_fields)]`. A dot leads to a table below: `http.tls`. A variable may hold a list, as in a
    /// file: `["a", "b"]`.
    ///
    /// ```
    /// # use db_config::Config;
    /// #[derive(serde::Deserialize)]
    /// struct Http {
    ///     port: u16,
    ///     #[serde(with = "db_config::duration")]
    ///     timeout: std::time::Duration,
    /// }
    ///
    /// let vars = [("APP__HTTP__PORT", "8080"), ("APP__HTTP__TIMEOUT", "30s")];
    /// let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    /// let config = Config::load_from(std::path::Path::new("/nonexistent"), vars)?;
    /// let http: Http = config.own("http")?;
    /// assert_eq!((http.port, http.timeout.as_secs()), (8080, 30));
    /// # Ok::<(), db_config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When `T` wants something that the table does not hold. The error has the key and the place of its value, without
    /// the value. No other output has the values either.
    pub fn own<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        self.own.read(name).map_err(ConfigError::from)
    }

    /// The names of the pools. `read` and `write` are always among them.
    pub fn pool_names(&self) -> Vec<String> {
        self.layers.pool_names()
    }

    /// Whether anything is configured under `[database.pools.<name>]`. Built-in values do not count.
    pub fn configures_pool(&self, name: &str) -> bool {
        self.layers
            .configured_pools()
            .any(|configured| configured == name)
    }

    /// Every value in force with its origin: the environment, the URLs, the settings.
    ///
    /// Secrets are shown as `***`.
    pub fn explain(&self) -> impl Iterator<Item = Explained> {
        let mut explained = vec![Explained {
            key: "APP_ENV".to_owned(),
            value: self.environment.to_string(),
            origin: self.environment_origin.clone(),
        }];
        explained.extend(self.urls.explained.iter().cloned());
        let plain = KEYS.iter().filter(|key| !key.path.starts_with("profile."));
        for key in plain {
            let (group, leaf) = key.path.rsplit_once('.').unwrap_or(("", key.path));
            explained.extend(explain_one(group, leaf, &self.layers.table(&[group])));
        }
        let pools = self
            .pool_names()
            .into_iter()
            .map(|name| format!("pools.{name}"));
        for group in std::iter::once("profile".to_owned()).chain(pools) {
            let table = match group.as_str() {
                "profile" => self.layers.table(&["profile"]),
                pool => self.layers.table(&["profile", pool]),
            };
            for leaf in KEYS
                .iter()
                .filter_map(|key| key.path.strip_prefix("profile."))
            {
                explained.extend(explain_one(&group, leaf, &table));
            }
        }
        explained.into_iter()
    }

    /// Things that are allowed but probably a mistake, such as a secret that everyone can read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Adds a warning for each merged value that is probably a mistake.
    pub(crate) fn warn(&mut self) {
        self.warnings.extend(checks::doubts(&self.layers));
        // A directory gets no warning: Kubernetes mounts it into a container, which has no other users.
        if let Ok(CredentialOrigin::File(path)) = self.credentials().map(|set| set.source) {
            let warning = secret_file::warning(&path);
            self.warnings
                .extend(warning.map(|warning| format!("database.credentials.path: {warning}")));
        }
        self.warnings.sort();
        self.warnings.dedup();
    }
}

fn explain_one(group: &str, leaf: &str, table: &BTreeMap<String, Value>) -> Option<Explained> {
    let value = table.get(leaf)?;
    let path = match group.is_empty() {
        true => leaf.to_owned(),
        false => format!("{group}.{leaf}"),
    };
    Some(Explained {
        key: format!("database.{path}"),
        value: value.to_string(),
        origin: Origin::new(value.origin().unwrap_or_default()),
    })
}

fn read<T: DeserializeOwned>(name: &str, table: BTreeMap<String, Value>) -> Result<T, ConfigError> {
    let table: config::Map<String, Value> = table.into_iter().collect();
    Value::new(None, table).try_deserialize().map_err(|error| {
        let key = format!("database.{name}");
        ConfigError::from(Problem::new(key, Origin::new("code"), error.to_string()))
    })
}

/// Keys that decide what is loaded.
const READ_AT_LOAD: [&str; 5] = [
    "url_variable",
    "direct_url_variable",
    "replica_url_variable",
    "tls.mode",
    "tls.root_cert",
];
