//! Reads `host`, `hostaddr` and `port`, which are lists of equal length.

use std::net::IpAddr;

use crate::endpoint::Host;
use crate::url::param_reader::ParamReader;

/// Returns the servers. Without any the server is `localhost`.
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
            (None, None) => "localhost".to_owned(),
        };
        match host(name, addr, port) {
            Ok(host) => hosts.push(host),
            Err(problem) => reader.problem("host", problem),
        }
    }
    hosts
}

fn host(name: String, addr: Option<IpAddr>, port: u16) -> Result<Host, &'static str> {
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
    let well_formed = !name.is_empty()
        && name.chars().all(|c| {
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
                    reader.problem("port", "expected a number from 1 to 65535");
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
