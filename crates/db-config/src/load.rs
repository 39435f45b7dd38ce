//! Reads the layers in their order, and reports all problems at once.

use std::path::{Path, PathBuf};

use config::Value;

use crate::config::Config;
use crate::credential_settings::CredentialSurroundings;
use crate::endpoint::{Endpoint, TlsMode};
use crate::environment::{self, Environment};
use crate::error::{ConfigError, Problem};
use crate::layer::Layer;
use crate::layers::Layers;
use crate::origin::Origin;
use crate::own_tables::OwnTables;
use crate::resolve::{Inputs, UrlVariables, Urls};
use crate::url::{Defaults, DirectUrl, PooledUrl};
use crate::variables::Variables;
use crate::{checks, config_file, credential_settings, dotenv, keys, postgres_vars};

impl Config {
    /// Loads from the working directory and the process environment.
    ///
    /// # Errors
    ///
    /// Lists every problem of every layer. Each has its key, its origin and what was expected. A URL
    /// that is not set is not among them: [`Config::pooled_url`] and [`Config::direct_url`] return
    /// that error.
    pub fn load() -> Result<Config, ConfigError> {
        let mut variables = Vec::new();
        let mut not_utf8 = Vec::new();
        for (name, value) in std::env::vars_os() {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => variables.push((name, value)),
                (Ok(name), Err(_)) => not_utf8.push(name),
                _ => {}
            }
        }
        let dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Loading::new(&dir, Variables::new(variables, not_utf8)).finish()
    }

    /// Loads from a directory and a set of variables. It reads nothing that is global.
    ///
    /// `dir` takes the place of the working directory: `config/` and `.env` are looked for in it,
    /// and relative paths start from it.
    ///
    /// # Errors
    ///
    /// The errors of [`Config::load`].
    pub fn load_from(
        dir: &Path,
        vars: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        Loading::new(dir, Variables::new(vars, [])).finish()
    }
}

/// What has been read from the layers so far.
struct Loading<'a> {
    dir: &'a Path,
    variables: Variables,
    environment: Environment,
    /// Where `APP_ENV` is set. `None` means that nothing sets it and the environment is a guess.
    environment_origin: Option<Origin>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    own: OwnTables,
}

impl<'a> Loading<'a> {
    fn new(dir: &'a Path, variables: Variables) -> Self {
        let mut loading = Loading {
            dir,
            variables,
            environment: Environment::Dev,
            environment_origin: None,
            problems: Vec::new(),
            warnings: Vec::new(),
            own: OwnTables::default(),
        };
        loading.choose_environment();
        loading
    }

    fn finish(mut self) -> Result<Config, ConfigError> {
        let files = self.files();
        self.problems
            .extend(self.variables.all_unreadable(keys::PREFIX));
        let of_dotenv = Layer::variables(self.variables.of_dotenv(), &mut self.problems);
        let of_process = Layer::variables(self.variables.of_process(), &mut self.problems);
        let sizes = postgres_vars::sizes(&self.variables, &mut self.problems);
        self.warn_of_near_prefixes();
        self.own.add_variables(&self.variables);

        let below_url = files.len();
        let mut configured = files;
        let code = Layer::default();
        configured.extend([of_dotenv, sizes, of_process, code]);
        let mut layers = Layers {
            built_in: Layer::built_in(&self.environment, false),
            configured,
        };
        let urls = self.resolve(&layers);
        if let (Some(origin), Ok(pooled)) = (&urls.pooled_origin, &urls.pooled) {
            let limits = limits(pooled.endpoint(), origin, &mut self.problems);
            layers.configured.insert(below_url, limits);
        }
        layers.built_in = Layer::built_in(&self.environment, !urls.replicas.is_empty());
        let from_pieces = |origin: &Origin| origin.as_str().starts_with("POSTGRES_");
        if urls.pooled_origin.as_ref().is_some_and(from_pieces) {
            postgres_vars::default_sizes(&mut layers.built_in, &self.environment);
        }
        self.check_guess(&urls);
        let contradictions = checks::contradictions(&layers, &self.environment);
        self.problems.extend(contradictions);
        let surroundings = CredentialSurroundings::of(&self.variables, self.dir);
        let incomplete = credential_settings::read(&layers, &surroundings).err();
        // A wrong value is not reported as missing too.
        let is_told = |key: &str| self.problems.iter().any(|problem| problem.key == key);
        let incomplete = incomplete.filter(|problem| !is_told(&problem.key));
        self.problems.extend(incomplete);
        let mut seen = Vec::new();
        self.problems.retain(|problem| {
            let new = !seen.contains(problem);
            seen.push(problem.clone());
            new
        });
        // `.env` is read first, but its problems are found by the settings that ask for its variables.
        self.problems
            .sort_by_key(|problem| !problem.origin.as_str().starts_with(".env:"));
        ConfigError::check(self.problems)?;
        let mut config = Config {
            environment: self.environment,
            environment_origin: match self.environment_origin {
                Some(origin) => origin,
                None => Origin::new("built-in (APP_ENV is not set and every URL is local)"),
            },
            layers,
            urls,
            own: self.own,
            surroundings,
            warnings: self.warnings,
        };
        config.warn();
        Ok(config)
    }

    /// Takes `APP_ENV` from the process, or else from `.env`. The latter cannot choose production.
    fn choose_environment(&mut self) {
        self.read_app_env();
        if self.environment.is_production() {
            return;
        }
        let process = self.variables.process();
        let assignments = dotenv::read(self.dir, process, &mut self.problems, &mut self.warnings);
        self.variables.add_dotenv(assignments);
        if self.environment_origin.is_some() {
            return;
        }
        self.read_app_env();
        if self.environment.is_production() {
            let origin = self.environment_origin.clone();
            self.problems.push(Problem::new(
                "APP_ENV",
                origin.unwrap_or_else(|| Origin::new(".env")),
                format!(
                    "only the process environment can choose {}; .env is not read there",
                    self.environment
                ),
            ));
        }
    }

    fn read_app_env(&mut self) {
        if let Some(problem) = self.variables.unreadable("APP_ENV") {
            self.environment_origin = Some(problem.origin.clone());
            self.problems.push(problem);
            return;
        }
        let Some(found) = self.variables.find("APP_ENV") else {
            return;
        };
        let origin = found.origin.clone();
        match found.value.parse() {
            Ok(Environment::Named(name))
                if !self
                    .dir
                    .join("config")
                    .join(format!("{name}.toml"))
                    .is_file() =>
            {
                self.problems
                    .push(environment::unknown(&name, origin.clone()));
                self.environment = Environment::Named(name);
            }
            Ok(environment) => self.environment = environment,
            Err(_) => {
                let name = found.value.trim().to_ascii_lowercase();
                self.problems
                    .push(environment::unknown(&name, origin.clone()));
            }
        }
        self.environment_origin = Some(origin);
    }

    fn files(&mut self) -> Vec<Layer> {
        let environment = self.environment.name().to_owned();
        let mut names = vec!["default", &environment];
        if !self.environment.is_production() {
            names.push("local");
        }
        names
            .into_iter()
            .map(|name| {
                let Loading {
                    own,
                    problems,
                    warnings,
                    ..
                } = self;
                config_file::read(self.dir, name, own, problems, warnings)
            })
            .collect()
    }

    /// Warns of variables such as `APP_DB_POOLS_MAX`, which are probably typing errors. This is only a warning, because
    /// such a variable may belong to another program.
    fn warn_of_near_prefixes(&mut self) {
        let near = self
            .variables
            .of_process()
            .chain(self.variables.of_dotenv())
            .filter(|v| {
                let near = v.name.starts_with("APP_DB_") && !v.name.starts_with(keys::PREFIX);
                near || v.name.starts_with("APP__DATABASE__")
            })
            // Kubernetes and Docker set these for a service named `app-db`.
            .filter(|v| !v.value.contains("://") && !v.name.contains("_SERVICE_"))
            .filter(|v| !v.name.starts_with("APP_DB_PORT"))
            .map(|v| {
                format!(
                    "{}: not read; our variables begin with {}",
                    v.origin,
                    keys::PREFIX
                )
            });
        self.warnings.extend(near);
    }

    fn resolve(&mut self, layers: &Layers) -> Urls {
        let top = layers.table(&[""]);
        let text = |name: &str| top.get(name).map(ToString::to_string).unwrap_or_default();
        let tls = layers.table(&["tls"]);
        let mode = tls.get("mode");
        let root_cert = tls
            .get("root_cert")
            .map(|file| self.dir.join(file.to_string()));
        let inputs = Inputs {
            environment: &self.environment,
            variables: &self.variables,
            dir: self.dir,
            url_variables: UrlVariables {
                pooled: text("url_variable"),
                direct: text("direct_url_variable"),
                replica: text("replica_url_variable"),
            },
            defaults: Defaults {
                tls_mode: tls_mode(mode),
                root_cert,
                dir: self.dir.to_owned(),
            },
            tls_origin: Origin::new(mode.and_then(Value::origin).unwrap_or_default()),
        };
        inputs.resolve(&mut self.problems, &mut self.warnings)
    }

    /// Without `APP_ENV` the environment is dev, but only if every database is on this machine.
    fn check_guess(&mut self, urls: &Urls) {
        if self.environment_origin.is_some() {
            return;
        }
        let endpoints = urls
            .pooled
            .iter()
            .chain(&urls.replicas)
            .map(PooledUrl::endpoint)
            .chain(urls.direct.iter().map(DirectUrl::endpoint));
        if let Some(endpoint) = endpoints.into_iter().find(|endpoint| !endpoint.is_local()) {
            let message = format!(
                "not set, and {} is not on this machine, so dev is not assumed; expected dev, \
                 test, staging, prod, high-load or lambda",
                endpoint.address()
            );
            self.problems
                .push(Problem::new("APP_ENV", Origin::new("APP_ENV"), message));
        }
    }
}

/// The size of the pool and its timeout, as far as the URL states them.
fn limits(endpoint: &Endpoint, url: &Origin, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    let said = [
        (
            "connection_limit",
            "profile.max",
            endpoint.connection_limit.map(|n| n.to_string()),
        ),
        (
            "pool_timeout",
            "profile.checkout_timeout",
            endpoint
                .pool_timeout
                .map(|wait| format!("{}s", wait.as_secs())),
        ),
    ];
    for (param, path, text) in said {
        let origin = Origin::new(format!("{param} in {url}"));
        if let Some(text) = text
            && let Err(message) = layer.set(path, &text, origin.clone())
        {
            problems.push(Problem::new(format!("database.{path}"), origin, message));
        }
    }
    layer
}

fn tls_mode(mode: Option<&Value>) -> TlsMode {
    match mode.map(ToString::to_string).as_deref() {
        Some("disable") => TlsMode::Disable,
        Some("require") => TlsMode::Require,
        Some("verify-ca") => TlsMode::VerifyCa,
        _ => TlsMode::VerifyFull,
    }
}
