//! Reads `sslmode` and the other parameters of TLS.

use std::path::PathBuf;

use crate::endpoint::{ChannelBinding, Host, Tls, TlsMode};
use crate::url::defaults::Defaults;
use crate::url::param_reader::ParamReader;

/// Says how the connection is encrypted. A local host gets no TLS unless the URL asks for it.
pub(super) fn read(reader: &mut ParamReader<'_>, defaults: &Defaults, hosts: &[Host]) -> Tls {
    let local = hosts.iter().all(Host::is_local);
    let binding = [
        ("disable", ChannelBinding::Disable),
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
    ];
    let channel_binding = reader
        .word("channel_binding", &binding, "")
        .unwrap_or_default();
    let direct = reader
        .word(
            "sslnegotiation",
            &[("postgres", false), ("direct", true)],
            "",
        )
        .unwrap_or(false);
    let asked = asked_mode(reader);
    let needs_tls = direct || channel_binding == ChannelBinding::Require;
    let mode = match (asked, local) {
        (Some(mode), _) => mode,
        (None, true) => TlsMode::Disable,
        (None, false) => defaults.tls_mode,
    };
    let mode = match asked {
        None if needs_tls => mode.max(TlsMode::Require),
        None => mode.max(mode_of_files(reader, hosts)),
        Some(mode) => mode,
    };
    if needs_tls && mode < TlsMode::Require {
        let (name, value) = match direct {
            true => ("sslnegotiation", "direct"),
            false => ("channel_binding", "require"),
        };
        reader.problem(name, format!("{value} needs sslmode=require or stronger"));
    }
    let (mode, root_cert) = verification(reader, defaults, mode, asked.is_some());
    Tls {
        extra_roots: Vec::new(),
        mode,
        root_cert,
        client_cert: client_cert(reader, defaults),
        direct,
        channel_binding,
    }
}

/// The mode that certificate files imply if there is no `sslmode`: they were given to be used.
///
/// Variables such as `PGSSLROOTCERT` apply to a whole machine, whose local server may have no TLS.
fn mode_of_files(reader: &ParamReader<'_>, hosts: &[Host]) -> TlsMode {
    let files = ["sslrootcert", "sslcert"];
    let given = files.iter().any(|name| reader.text(name).is_some());
    let over_tcp = hosts.iter().any(|host| matches!(host, Host::Tcp { .. }));
    match files.iter().any(|name| reader.is_of_url(name)) {
        _ if !given || !over_tcp => TlsMode::Disable,
        true => TlsMode::Require,
        false => TlsMode::Prefer,
    }
}

fn asked_mode(reader: &mut ParamReader<'_>) -> Option<TlsMode> {
    let modes = [
        ("disable", TlsMode::Disable),
        ("allow", TlsMode::Allow),
        ("prefer", TlsMode::Prefer),
        ("require", TlsMode::Require),
        ("verify-ca", TlsMode::VerifyCa),
        ("verify-full", TlsMode::VerifyFull),
    ];
    let advice = match reader.text("sslmode").as_deref() {
        Some("no-verify") => "; write require, which does not verify either",
        _ => "",
    };
    let mode = reader.word("sslmode", &modes, advice);
    let accept = [
        ("strict", TlsMode::VerifyFull),
        ("accept_invalid_certs", TlsMode::Require),
    ];
    let accept = reader.word("sslaccept", &accept, "");
    match (mode, accept) {
        // In Prisma's pair `sslmode` switches TLS on, and `sslaccept` says how strict it is.
        (Some(TlsMode::Require), Some(accept)) => Some(accept),
        (Some(mode), _) => Some(mode),
        (None, accept) => accept,
    }
}

/// Finds the trusted certificates. As in libpq, they turn `require` into `verify-ca`.
fn verification(
    reader: &mut ParamReader<'_>,
    defaults: &Defaults,
    mode: TlsMode,
    asked: bool,
) -> (TlsMode, Option<PathBuf>) {
    match reader.text("sslrootcert").as_deref() {
        Some("system") if asked && mode != TlsMode::VerifyFull => {
            reader.problem("sslrootcert", "system needs sslmode=verify-full");
            (mode, None)
        }
        Some("system") => (TlsMode::VerifyFull, None),
        Some(file) if mode == TlsMode::Require => {
            (TlsMode::VerifyCa, Some(defaults.dir.join(file)))
        }
        Some(file) => (mode, Some(defaults.dir.join(file))),
        None if mode >= TlsMode::VerifyCa => (mode, defaults.root_cert.clone()),
        None => (mode, None),
    }
}

fn client_cert(reader: &mut ParamReader<'_>, defaults: &Defaults) -> Option<(PathBuf, PathBuf)> {
    match (reader.text("sslcert"), reader.text("sslkey")) {
        (Some(cert), Some(key)) => Some((defaults.dir.join(cert), defaults.dir.join(key))),
        (None, None) => None,
        (Some(_), None) => {
            reader.problem("sslcert", "needs `sslkey` too");
            None
        }
        (None, Some(_)) => {
            reader.problem("sslkey", "needs `sslcert` too");
            None
        }
    }
}
