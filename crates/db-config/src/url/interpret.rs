//! Gives parameters libpq's meaning: from names and texts to an [`Endpoint`].

mod hosts;
mod security;
mod settings;

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use super::params::Params;
use super::pooler_hint;
use crate::endpoint::{Endpoint, TargetSessionAttrs, TlsMode};
use crate::error::Problem;

/// What the configuration says about what a URL leaves open.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// `sslmode` of a host that is not local.
    pub(crate) tls_mode: TlsMode,
    /// `sslrootcert` where the server is verified.
    pub(crate) root_cert: Option<PathBuf>,
    /// What relative paths are relative to.
    pub(crate) dir: PathBuf,
}

impl Default for Defaults {
    /// What libpq does.
    fn default() -> Self {
        Defaults {
            tls_mode: TlsMode::Prefer,
            root_cert: None,
            dir: PathBuf::new(),
        }
    }
}

/// Understands every parameter, or reports every one that cannot be.
pub(crate) fn interpret(params: &Params, defaults: &Defaults) -> Result<Endpoint, Vec<Problem>> {
    let mut reader = Reader {
        params,
        problems: Vec::new(),
    };
    let hosts = hosts::read(&mut reader);
    let user = reader.text("user").unwrap_or_default();
    if user.is_empty() {
        reader.problem(
            "user",
            "there is no user name: write postgres://user@host:5432/database",
        );
    }
    let local = hosts.iter().all(crate::endpoint::Host::is_local);
    let tls = security::read(&mut reader, defaults, local);
    let (settings, application_name) = settings::read(&mut reader);
    let target_session_attrs = reader
        .word(
            "target_session_attrs",
            &[
                ("any", TargetSessionAttrs::Any),
                ("read-write", TargetSessionAttrs::ReadWrite),
                ("primary", TargetSessionAttrs::ReadWrite),
                ("read-only", TargetSessionAttrs::ReadOnly),
                ("standby", TargetSessionAttrs::ReadOnly),
            ],
            "; for prefer-standby put the standby into DATABASE_URL_REPLICA",
        )
        .unwrap_or_default();
    let endpoint = Endpoint {
        dbname: reader.text("dbname").unwrap_or_else(|| user.clone()),
        user,
        password: params.text("password").map(Into::into),
        tls,
        connect_timeout: reader.seconds("connect_timeout"),
        tcp_user_timeout: reader
            .number::<u32>("tcp_user_timeout", "a whole number of milliseconds")
            .filter(|ms| *ms > 0)
            .map(|ms| Duration::from_millis(ms.into())),
        keepalives: reader.flag("keepalives").unwrap_or(true),
        keepalives_idle: reader.seconds("keepalives_idle"),
        keepalives_interval: reader.seconds("keepalives_interval"),
        keepalives_retries: reader
            .either("keepalives_count", "keepalives_retries")
            .and_then(|name| reader.number::<u32>(name, "a whole number"))
            .filter(|count| *count > 0),
        target_session_attrs,
        load_balance_hosts: reader
            .word(
                "load_balance_hosts",
                &[("disable", false), ("random", true)],
                "",
            )
            .unwrap_or(false),
        application_name,
        settings,
        pooler_hint: None,
        connection_limit: reader
            .number::<std::num::NonZeroU32>("connection_limit", "a whole number from 1")
            .map(Into::into),
        pool_timeout: reader.seconds("pool_timeout"),
        hosts,
    };
    let declared = pooler_hint::declared(&mut reader);
    match reader.problems.is_empty() {
        true => Ok(Endpoint {
            pooler_hint: declared.or_else(|| pooler_hint::hint(&endpoint)),
            ..endpoint
        }),
        false => Err(reader.problems),
    }
}

/// Reads typed values out of [`Params`] and collects what is wrong with them.
pub(super) struct Reader<'a> {
    params: &'a Params,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    pub(super) fn problem(&mut self, name: &str, message: impl Display) {
        self.problems.push(self.params.problem(name, message));
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.params.text(name).map(str::to_owned)
    }

    /// The one of two spellings that is given; both at once is a problem.
    pub(super) fn either(
        &mut self,
        one: &'static str,
        other: &'static str,
    ) -> Option<&'static str> {
        match (self.params.is_given(one), self.params.is_given(other)) {
            (true, true) => {
                self.problem(one, format!("`{other}` means the same; give one of them"));
                None
            }
            (true, false) => Some(one),
            (false, true) => Some(other),
            (false, false) => None,
        }
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
        advice: &str,
    ) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.problem(
                name,
                format!("expected {}, found {text:?}{advice}", known.join(", ")),
            );
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let words = [
            ("1", true),
            ("true", true),
            ("on", true),
            ("0", false),
            ("false", false),
            ("off", false),
        ];
        self.word(name, &words, "")
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        let text = self.text(name)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.problem(name, format!("expected {expected}, found {text:?}"));
        }
        number
    }

    /// Seconds, where 0 means the default of whoever reads it.
    pub(super) fn seconds(&mut self, name: &str) -> Option<Duration> {
        let seconds: u32 = self.number(name, "a whole number of seconds")?;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}
