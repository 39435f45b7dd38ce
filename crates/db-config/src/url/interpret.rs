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
use crate::os_user;

/// Reads all parameters. The error has every problem.
pub(crate) fn interpret(params: &Params, defaults: &Defaults) -> Result<Endpoint, Vec<Problem>> {
    let mut reader = ParamReader::new(params);
    let hosts = hosts::read(&mut reader);
    let user = reader.text("user").or_else(os_user::name);
    let user = user.unwrap_or_default();
    if user.is_empty() {
        reader.problem(
            "user",
            "there is no user name, and the operating system has none for this process: write \
             postgres://user@host:5432/database",
        );
    }
    let tls = security::read(&mut reader, defaults, &hosts);
    let (settings, application_name) = settings::read(&mut reader);
    let target_session_attrs = reader
        .word(
            "target_session_attrs",
            &[
                TargetSessionAttrs::Any,
                TargetSessionAttrs::ReadWrite,
                TargetSessionAttrs::ReadOnly,
                TargetSessionAttrs::Primary,
                TargetSessionAttrs::Standby,
                TargetSessionAttrs::PreferStandby,
            ]
            .map(|attrs| (attrs.as_str(), attrs)),
            "",
        )
        .unwrap_or_default();
    let endpoint = Endpoint {
        dbname: reader.text("dbname").unwrap_or_else(|| user.clone()),
        user,
        password: params.text("password").map(Into::into),
        tls,
        connect_timeout: reader.seconds("connect_timeout"),
        tcp_user_timeout: reader
            .count("tcp_user_timeout", "a whole number of milliseconds")
            .map(|ms| Duration::from_millis(ms.into())),
        keepalives: reader.switch("keepalives").unwrap_or(true),
        keepalives_idle: reader.seconds("keepalives_idle"),
        keepalives_interval: reader.seconds("keepalives_interval"),
        keepalives_retries: reader
            .either("keepalives_count", "keepalives_retries")
            .and_then(|name| reader.count(name, "a whole number")),
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
