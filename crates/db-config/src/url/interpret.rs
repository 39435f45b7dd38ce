//! Turns parameters into an [`Endpoint`], with the meaning that libpq gives them.

mod hosts;
mod security;
mod settings;

use std::time::Duration;

use super::defaults::Defaults;
use super::param_reader::ParamReader;
use super::params::Params;
use super::pooler_hint;
use crate::endpoint::{Endpoint, TargetSessionAttrs};
use crate::error::Problem;

/// Reads all parameters. The error has every problem.
pub(crate) fn interpret(params: &Params, defaults: &Defaults) -> Result<Endpoint, Vec<Problem>> {
    let mut reader = ParamReader::new(params);
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
    reader.finish()?;
    Ok(Endpoint {
        pooler_hint: declared.or_else(|| pooler_hint::hint(&endpoint)),
        ..endpoint
    })
}
