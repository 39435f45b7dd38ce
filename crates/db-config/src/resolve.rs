//! Finds the URLs: which variables hold them, what fills their gaps, what serves when one is missing.

mod completion;

use std::path::Path;

use self::completion::{Completed, Completion};
use crate::environment::Environment;
use crate::error::{ConfigError, Origin, Problem};
use crate::explain::Explained;
use crate::url::{Defaults, DirectUrl, Params, PooledUrl};
use crate::variables::Variables;
use crate::{libpq, secret_file};

/// The names of the variables that hold the URLs.
pub(crate) struct Names {
    pub(crate) pooled: String,
    pub(crate) direct: String,
    pub(crate) replica: String,
}

/// What the URLs are found from.
pub(crate) struct Inputs<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) variables: &'a Variables,
    pub(crate) dir: &'a Path,
    pub(crate) names: Names,
    pub(crate) defaults: Defaults,
    pub(crate) tls_origin: Origin,
}

/// The URLs; one that is missing is an error only for who asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Urls {
    pub(crate) pooled: Result<PooledUrl, ConfigError>,
    pub(crate) direct: Result<DirectUrl, ConfigError>,
    pub(crate) replicas: Vec<PooledUrl>,
    pub(crate) explained: Vec<Explained>,
    /// The variable that the pooled URL comes from.
    pub(crate) pooled_origin: Option<Origin>,
}

impl Inputs<'_> {
    /// Finds every URL; a malformed one is a problem at once.
    pub(crate) fn resolve(&self, problems: &mut Vec<Problem>, warnings: &mut Vec<String>) -> Urls {
        let libpq = libpq::params(self.variables, problems);
        let mut completion = Completion::new(self, &libpq, problems, warnings);
        let pooled = completion.pooled();
        let direct = completion.of_variable(&self.names.direct);
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
                        self.names.direct
                    ));
                }
                DirectUrl::new(completed.endpoint)
            }),
            None => self.stand_in(pooled).inspect(|url| {
                let origin = match &pooled_origin {
                    Some(origin) => format!("{origin}, since {} is not set", self.names.direct),
                    None => self.names.pooled.clone(),
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

    /// The direct URL where none is set: the pooled one, if that is safe.
    fn stand_in(
        &self,
        pooled: Option<Result<Completed, ConfigError>>,
    ) -> Result<DirectUrl, ConfigError> {
        let Names {
            direct,
            pooled: name,
            ..
        } = &self.names;
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
            (Some(hint), _) => format!(
                "not set, and {source} seems to lead through a pooler ({hint}), which migrations \
                 must not: set {direct} to the URL of the server itself, probably {}",
                endpoint.probable_direct().unwrap_or_default()
            ),
            (None, true) => format!(
                "not set, and in {} nothing is guessed: set {direct} to the URL of the server \
                 itself, probably {endpoint}, if that is no pooler",
                self.environment
            ),
        };
        Err(Problem::new(direct, Origin::new(direct), message).into())
    }

    fn no_url(&self) -> Problem {
        let name = &self.names.pooled;
        let message =
            format!("not set, nor {name}_FILE, POSTGRES_HOST or PGHOST in its place; {EXAMPLE}");
        Problem::new(name, Origin::new(name), message)
    }
}

/// A variable or the file that its `_FILE` twin names; both at once is a problem.
pub(crate) fn text_or_file(
    variables: &Variables,
    name: &str,
    dir: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Option<(String, Origin)> {
    let twin = format!("{name}_FILE");
    match (variables.find(name), variables.find(&twin)) {
        (Some(text), Some(file)) => {
            let message = format!("{} is set too; set one of the two", file.origin);
            problems.push(Problem::new(name, text.origin, message));
            None
        }
        (Some(text), None) => Some((text.value.to_owned(), text.origin)),
        (None, Some(file)) => {
            let path = dir.join(file.value.trim());
            match secret_file::read(&path) {
                Ok((text, warning)) => {
                    warnings.extend(warning.map(|warning| format!("{}: {warning}", file.origin)));
                    let origin = format!("{} ({})", file.origin, file.value.trim());
                    Some((text, Origin::new(origin)))
                }
                Err(message) => {
                    problems.push(Problem::new(twin, file.origin, message));
                    None
                }
            }
        }
        (None, None) => None,
    }
}

/// The URLs of a list; a comma inside a URL separates hosts, so only one before a scheme counts.
fn split_list(list: &str) -> Vec<&str> {
    let lower = list.to_ascii_lowercase();
    let mut urls = Vec::new();
    let mut start = 0;
    for (comma, _) in lower.match_indices(',') {
        let next = lower[comma + 1..].trim_start();
        if next.starts_with("postgres://") || next.starts_with("postgresql://") || next.is_empty() {
            urls.push(list[start..comma].trim());
            start = comma + 1;
        }
    }
    urls.push(list[start..].trim());
    urls.retain(|url| !url.is_empty());
    urls
}

const EXAMPLE: &str = "expected a URL such as postgres://user:password@host:5432/database";

/// The parameters of a `POSTGRES_*` or `PGHOST` endpoint, or of a URL.
type Found = Option<Result<Params, Vec<Problem>>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_between_urls_and_not_between_hosts() {
        assert_eq!(
            split_list("postgres://a,b/d, postgresql://c/d,POSTGRES://e/d,"),
            ["postgres://a,b/d", "postgresql://c/d", "POSTGRES://e/d"]
        );
    }
}
