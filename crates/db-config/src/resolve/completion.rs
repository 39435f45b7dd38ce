//! Fills in the parameters of one URL from the layers below it.

use std::path::PathBuf;

use super::inputs::Inputs;
use crate::endpoint::{Endpoint, TlsMode};
use crate::error::{ConfigError, Problem};
use crate::explained::Explained;
use crate::libpq::pgpass;
use crate::origin::Origin;
use crate::secret_file::text_or_file;
use crate::url::{Params, interpret};
use crate::{layer, os_user, postgres_vars};

/// An endpoint, with the parameters that it was made from.
pub(super) struct Completed {
    pub(super) params: Params,
    pub(super) endpoint: Endpoint,
}

impl Completed {
    /// Explains the URL as a whole, and each parameter that the URL itself left out.
    pub(super) fn explain(&self, name: &str, tls_origin: &Origin) -> Vec<Explained> {
        let mut explained = vec![Explained {
            key: format!("database.{name}"),
            value: self.endpoint.to_string(),
            origin: self.params.origin.clone(),
        }];
        for (param, origin) in self.params.filled() {
            explained.push(Explained {
                key: format!("database.{name}.{param}"),
                value: match SHOWN.contains(&param) {
                    true => self.params.text(param).unwrap_or_default().to_owned(),
                    false => "***".to_owned(),
                },
                origin: origin.clone(),
            });
        }
        if !self.params.is_given("sslmode") && !self.params.is_given("ssl") {
            explained.push(Explained {
                key: format!("database.{name}.sslmode"),
                value: self.endpoint.tls.mode.to_string(),
                origin: self.mode_origin(tls_origin),
            });
        }
        explained
    }

    /// Where `sslmode` comes from if nothing gives it.
    fn mode_origin(&self, tls_origin: &Origin) -> Origin {
        let files = ["sslrootcert", "sslcert"];
        let files = files.iter().filter_map(|name| self.params.origin_of(name));
        match (self.endpoint.is_local(), self.endpoint.tls.mode) {
            (true, TlsMode::Disable) => Origin::new(format!("{} (local host)", layer::BUILT_IN)),
            (true, _) => files.into_iter().next().unwrap_or(tls_origin).clone(),
            (false, _) => tls_origin.clone(),
        }
    }
}

/// Completes one URL after the other, and collects the problems.
pub(super) struct Completion<'a> {
    inputs: &'a Inputs<'a>,
    libpq: &'a Params,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<String>,
}

impl<'a> Completion<'a> {
    pub(super) fn new(
        inputs: &'a Inputs<'a>,
        libpq: &'a Params,
        problems: &'a mut Vec<Problem>,
        warnings: &'a mut Vec<String>,
    ) -> Self {
        Completion {
            inputs,
            libpq,
            problems,
            warnings,
        }
    }

    /// Finds the application's URL: its variable, or else `POSTGRES_*`, or else `PG*`.
    pub(super) fn pooled(&mut self) -> Option<Result<Completed, ConfigError>> {
        let before = self.problems.len();
        let mut found = self.variable(&self.inputs.url_variables.pooled);
        // If the variable is set but broken, no layer below replaces it.
        if found.is_none() && self.problems.len() == before {
            let Inputs { variables, dir, .. } = *self.inputs;
            found = postgres_vars::primary(variables, dir, self.problems, self.warnings).map(Ok);
            if found.is_none() && (self.libpq.is_given("host") || self.libpq.is_given("hostaddr")) {
                found = Some(Ok(Params::new("PGHOST", self.libpq.origin.clone())));
            }
            self.warn_of_default_password(&found);
        }
        if found.is_none() && self.problems.len() > before {
            return Some(Err(ConfigError::of(self.problems[before..].to_vec())));
        }
        self.complete(found?)
    }

    /// Finds the URL of a variable, if it is set.
    pub(super) fn of_variable(&mut self, name: &str) -> Option<Result<Completed, ConfigError>> {
        let before = self.problems.len();
        match self.variable(name) {
            Some(found) => self.complete(found),
            None if self.problems.len() > before => {
                Some(Err(ConfigError::of(self.problems[before..].to_vec())))
            }
            None => None,
        }
    }

    /// Finds the replicas: their variable, or else the host of `POSTGRES_REPLICA_HOST`.
    pub(super) fn replicas(
        &mut self,
        pooled: Option<&Result<Completed, ConfigError>>,
    ) -> Vec<Completed> {
        let Inputs { variables, dir, .. } = *self.inputs;
        let name = &self.inputs.url_variables.replica;
        let mut found: Vec<Parsed> = Vec::new();
        if let Some((list, origin)) =
            text_or_file(variables, name, dir, self.problems, self.warnings)
        {
            let parse = |url| Params::parse(name, origin.clone(), url);
            found.extend(split_list(&list).into_iter().map(parse));
        } else if let Some(Ok(Completed { params, .. })) = pooled
            && params.key.starts_with("POSTGRES_")
        {
            let replica = postgres_vars::replica(variables, dir, self.problems, self.warnings);
            found.extend(replica.map(Ok));
        }
        found
            .into_iter()
            .filter_map(|found| self.complete(found)?.ok())
            .collect()
    }

    fn variable(&mut self, name: &str) -> Option<Parsed> {
        let Inputs { variables, dir, .. } = *self.inputs;
        let (url, origin) = text_or_file(variables, name, dir, self.problems, self.warnings)?;
        Some(Params::parse(name, origin, &url))
    }

    fn complete(&mut self, found: Parsed) -> Option<Result<Completed, ConfigError>> {
        let completed = found.and_then(|params| self.understand(params));
        Some(completed.map_err(|problems| {
            self.problems.extend(problems.iter().cloned());
            ConfigError::of(problems)
        }))
    }

    fn understand(&mut self, mut params: Params) -> Result<Completed, Vec<Problem>> {
        let mut problems = params.fill(self.libpq);
        self.warn(&params);
        self.name_user(&mut params);
        let endpoint = match interpret(&params, &self.inputs.defaults) {
            Ok(endpoint) => endpoint,
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        let remote_production = self.inputs.environment.is_production() && !endpoint.is_local();
        if remote_production && matches!(endpoint.tls.mode, TlsMode::Prefer | TlsMode::Allow) {
            let message = format!(
                "{} silently falls back to plain text, which {} does not allow; expected \
                 require, verify-ca or verify-full",
                endpoint.tls.mode, self.inputs.environment
            );
            problems.push(params.problem("sslmode", message));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        if remote_production && endpoint.tls.mode == TlsMode::Disable {
            self.warnings.push(format!(
                "{}: sslmode=disable sends the password and the data in plain text",
                params.origin
            ));
        }
        if params.text("sslrootcert").is_some()
            && matches!(endpoint.tls.mode, TlsMode::Prefer | TlsMode::Allow)
        {
            self.warnings.push(format!(
                "{}: `sslrootcert` has no effect with sslmode={}, which verifies nothing; write \
                 verify-ca or verify-full",
                params.origin, endpoint.tls.mode
            ));
        }
        let endpoint = self.with_password(&mut params, endpoint);
        Ok(Completed { params, endpoint })
    }

    fn warn(&mut self, params: &Params) {
        let warnings = params.warnings.iter();
        self.warnings
            .extend(warnings.map(|warning| format!("{}: {warning}", params.origin)));
    }

    /// Names the user as libpq does. A container may run a process as a user without a name.
    fn name_user(&self, params: &mut Params) {
        if params.text("user").is_some() {
            return;
        }
        let variables = ["USER", "LOGNAME"].into_iter();
        let mut variables = variables.filter_map(|name| self.inputs.variables.find(name));
        if let Some(name) = os_user::name() {
            params.set("user", name, Origin::new("the operating system's user"));
        } else if let Some(user) = variables.next() {
            params.set("user", user.value, user.origin);
        }
    }

    fn with_password(&mut self, params: &mut Params, endpoint: Endpoint) -> Endpoint {
        if endpoint.password.is_some() {
            return endpoint;
        }
        let (file, named) = match (params.text("passfile"), self.inputs.variables.find("HOME")) {
            (Some(file), _) => (self.inputs.dir.join(file), true),
            (None, Some(home)) => (PathBuf::from(home.value).join(".pgpass"), false),
            (None, None) => return endpoint,
        };
        match pgpass::password(&file, &endpoint, named) {
            Ok(Some(password)) => {
                let origin = Origin::new(file.display().to_string());
                params.set("password", password.clone(), origin);
                Endpoint {
                    password: Some(password.into()),
                    ..endpoint
                }
            }
            Ok(None) => endpoint,
            Err(warning) => {
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
                endpoint
            }
        }
    }

    fn warn_of_default_password(&mut self, found: &Option<Parsed>) {
        if let Some(Ok(params)) = found
            && self.inputs.environment.is_production()
            && params
                .filled()
                .any(|(name, origin)| name == "password" && layer::is_built_in(origin))
        {
            self.warnings.push(
                "POSTGRES_PASSWORD: not set, so the default password of development is used"
                    .to_owned(),
            );
        }
    }
}

/// Splits a list of URLs. A comma inside a URL separates hosts, so the list is split only at a comma
/// before a scheme.
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

/// The parameters of a URL, or of an endpoint in pieces.
type Parsed = Result<Params, Vec<Problem>>;

/// Parameters that are not secret.
const SHOWN: [&str; 13] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "passfile",
    "port",
    "sslcert",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

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
