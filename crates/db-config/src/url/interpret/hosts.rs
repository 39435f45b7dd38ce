//! Reads `host`, `hostaddr` and `port`, which are lists of equal length.

use std::net::IpAddr;
use std::path::Path;

use crate::endpoint::Host;
use crate::url::param_reader::ParamReader;

/// Returns the servers. If none is named, it returns the one behind the default socket, as libpq
/// does.
pub(super) fn read(reader: &mut ParamReader<'_>) -> Vec<Host> {
    let names = list(reader, "host");
    let addrs = addresses(reader);
    let count = names.len().max(addrs.len()).max(1);
    if !names.is_empty() && !addrs.is_empty() && names.len() != addrs.len() {
        reader.problem("hostaddr", "needs as many elements as there are hosts");
        return Vec::new();
    }
    let Some(ports) = ports(reader, count) else {
        return Vec::new();
    };
    let mut hosts = Vec::new();
    for (i, port) in ports.into_iter().enumerate() {
        let addr = addrs.get(i).copied();
        let name = match (names.get(i), addr) {
            (Some(name), _) => name.clone(),
            (None, Some(addr)) => addr.to_string(),
            (None, None) => default_host().to_owned(),
        };
        match host(name, addr, port) {
            Ok(host) => hosts.push(host),
            Err(problem) => reader.problem("host", problem),
        }
    }
    hosts
}

/// The directory of the default socket. Distributions move it to `/var/run/postgresql`. A system
/// without sockets has `localhost` instead.
fn default_host() -> &'static str {
    match (cfg!(unix), Path::new(SOCKET_DIR).is_dir()) {
        (true, true) => SOCKET_DIR,
        (true, false) => "/tmp",
        (false, _) => "localhost",
    }
}

fn host(name: String, addr: Option<IpAddr>, port: u16) -> Result<Host, &'static str> {
    if name.is_empty() {
        return Err("an empty element in the list of hosts");
    }
    if name.starts_with('/') {
        return match addr {
            None => Ok(Host::Unix {
                dir: name.into(),
                port,
            }),
            Some(_) => Err("a Unix socket has no address; remove `hostaddr`"),
        };
    }
    if name.starts_with('@') {
        return Err("abstract Unix sockets are not supported; name the socket's directory");
    }
    // A percent sign is valid only before the zone of a link-local address (`fe80::1%eth0`).
    let well_formed = name.chars().all(|c| {
        c.is_ascii_alphanumeric()
            || matches!(c, '.' | '-' | '_' | ':')
            || (c == '%' && name.contains(':'))
    });
    match well_formed {
        true => Ok(Host::Tcp { name, addr, port }),
        false => Err(
            "the host is neither a name nor an address nor the directory of a Unix socket; a \
             raw `@` in a password has to be written %40",
        ),
    }
}

fn addresses(reader: &mut ParamReader<'_>) -> Vec<IpAddr> {
    let mut addrs = Vec::new();
    for text in list(reader, "hostaddr") {
        match text.parse() {
            Ok(addr) => addrs.push(addr),
            Err(_) => reader.problem("hostaddr", "expected an IP address"),
        }
    }
    addrs
}

fn ports(reader: &mut ParamReader<'_>, count: usize) -> Option<Vec<u16>> {
    let texts = list(reader, "port");
    if texts.len() > 1 && texts.len() != count {
        reader.problem("port", "needs one element, or as many as there are hosts");
        return None;
    }
    let mut ports = Vec::new();
    for i in 0..count {
        let text = texts.get(i).or(texts.first()).map(|text| text.trim());
        match text.unwrap_or_default() {
            "" => ports.push(5432),
            text => match text.parse() {
                Ok(port) if port > 0 => ports.push(port),
                _ => {
                    reader.problem("port", service_link(text).unwrap_or(PORT));
                    return None;
                }
            },
        }
    }
    Some(ports)
}

fn list(reader: &ParamReader<'_>, name: &str) -> Vec<String> {
    let text = reader.text(name).unwrap_or_default();
    match text.is_empty() {
        true => Vec::new(),
        false => text.split(',').map(str::to_owned).collect(),
    }
}

/// Recognises what Kubernetes and Docker put into `POSTGRES_PORT` for a service named `postgres`.
fn service_link(text: &str) -> Option<&'static str> {
    ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
        .then_some(
            "expected a number from 1 to 65535, found a service link, which Kubernetes sets for a service \
             of that name: write `enableServiceLinks: false` into the pod's spec, or set the port",
        )
}

const PORT: &str = "expected a number from 1 to 65535";

const SOCKET_DIR: &str = "/var/run/postgresql";
