//! Finds the URLs, fills in what they leave out, and replaces a missing direct URL if that is safe.

mod completion;
mod inputs;

use self::completion::{Completed, Completion};
pub(crate) use self::inputs::{Inputs, UrlVariables};
use crate::error::{ConfigError, Problem};
use crate::explained::Explained;
use crate::libpq;
use crate::origin::Origin;
use crate::url::{DirectUrl, PooledUrl};

/// The URLs. A missing one is an error only for the caller that asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) pooled: Result<PooledUrl, ConfigError>,
    pub(crate) direct: Result<DirectUrl, ConfigError>,
    pub(crate) replicas: Vec<PooledUrl>,
    pub(crate) explained: Vec<Explained>,
    /// The variable that the pooled URL comes from.
    pub(crate) pooled_origin: Option<Origin>,
}

impl Urls {
    /// Makes every URL trust these certificates too.
    pub(crate) fn trust(&mut self, pem: &[u8]) {
        let replicas = self.replicas.iter_mut().map(PooledUrl::endpoint_mut);
        let pooled = self.pooled.as_mut().ok().map(PooledUrl::endpoint_mut);
        let direct = self.direct.as_mut().ok().map(DirectUrl::endpoint_mut);
        for endpoint in replicas.chain(pooled).chain(direct) {
            endpoint.tls.extra_roots.push(pem.to_vec());
        }
    }
}

impl Inputs<'_> {
    /// Finds every URL. A malformed URL is a problem right away, a missing one is not.
    pub(crate) fn resolve(&self, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> Urls {
        let libpq = libpq::params(self.variables, problems);
        let mut completion = Completion::new(self, &libpq, problems, warnings);
        let pooled = completion.pooled();
        let direct = completion.of_variable(&self.url_variables.direct);
        let replicas = completion.replicas(pooled.as_ref());

        let mut explained = Vec::new();
        let mut explain = |name: &str, completed: &Completed| {
            explained.extend(completed.explain(name, &self.tls_origin));
        };
        for (name, completed) in [("url", &pooled), ("direct_url", &direct)] {
            if let Some(Ok(completed)) = completed {
                explain(name, completed);
            }
        }
        for completed in &replicas {
            explain("replica_url", completed);
        }
        let (pooled_origin, pooled_url) = match &pooled {
            Some(Ok(completed)) => (
                Some(completed.params.origin.clone()),
                Ok(PooledUrl::new(completed.endpoint.clone())),
            ),
            Some(Err(error)) => (None, Err(error.clone())),
            None => (None, Err(self.no_url().into())),
        };
        let direct_url = match direct {
            Some(direct) => direct.map(|completed| {
                if let Some(hint) = &completed.endpoint.pooler_hint {
                    warnings.push(format!(
                        "{}: looks like a pooler ({hint}), but migrations need the server itself",
                        self.url_variables.direct
                    ));
                }
                DirectUrl::new(completed.endpoint)
            }),
            None => self.stand_in(pooled).inspect(|url| {
                let origin = match &pooled_origin {
                    Some(origin) => {
                        format!("{origin} (as {} is not set)", self.url_variables.direct)
                    }
                    None => self.url_variables.pooled.clone(),
                };
                explained.push(Explained {
                    key: "database.direct_url".to_owned(),
                    value: url.to_string(),
                    origin: Origin::new(origin),
                });
            }),
        };
        Urls {
            pooled: pooled_url,
            direct: direct_url,
            replicas: replicas
                .into_iter()
                .map(|r| PooledUrl::new(r.endpoint))
                .collect(),
            explained,
            pooled_origin,
        }
    }

    /// The pooled URL in the place of a missing direct URL, if that is safe.
    fn stand_in(
        &self,
        pooled: Option<Result<Completed, ConfigError>>,
    ) -> Result<DirectUrl, ConfigError> {
        let UrlVariables {
            direct,
            pooled: name,
            ..
        } = &self.url_variables;
        let completed = match pooled {
            Some(pooled) => pooled?,
            None => {
                let message = format!("not set, and {name} is not set either; {EXAMPLE}");
                return Err(Problem::new(direct, Origin::new(direct), message).into());
            }
        };
        let endpoint = completed.endpoint;
        let source = completed.params.key;
        let message = match (&endpoint.pooler_hint, self.environment.is_production()) {
            (None, false) => return Ok(DirectUrl::new(endpoint)),
            (Some(hint), _) => {
                let probably = match endpoint.probable_direct() {
                    Some(url) => format!("probably {url}"),
                    None => format!("not {endpoint}"),
                };
                format!(
                    "not set, and {source} seems to lead through a pooler ({hint}), but migrations \
                     need the server itself: set {direct} to its own URL, {probably} (`dbctl migrate run \
                     --through-proxy` accepts a proxy that keeps one server connection for each \
                     client)"
                )
            }
            (None, true) => format!(
                "not set, and in {} nothing is guessed: set {direct} to the URL of the server \
                 itself, probably {endpoint}, if that is no pooler",
                self.environment
            ),
        };
        Err(Problem::new(direct, Origin::new(direct), message).into())
    }

    fn no_url(&self) -> Problem {
        let name = &self.url_variables.pooled;
        let unread = self.unread_dotenv();
        let message = format!(
            "not set, nor {name}_FILE, POSTGRES_HOST or PGHOST in its place; {EXAMPLE}{unread}"
        );
        Problem::new(name, Origin::new(name), message)
    }

    /// Says that a `.env` does not count in production, or that there is none.
    fn unread_dotenv(&self) -> String {
        let is_there = self.dir.join(".env").is_file();
        match (self.environment.is_production(), is_there) {
            (true, true) => format!("; .env is not read in {}", self.environment),
            (false, false) => format!("; there is no .env in {}", self.dir.display()),
            (true, false) | (false, true) => String::new(),
        }
    }
}

const EXAMPLE: &str = "expected a URL such as postgres://user:password@host:5432/database";
