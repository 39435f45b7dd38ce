//! The host names under which a page answers.

use std::net::IpAddr;

/// Names of this machine, and other allowed names.
///
/// A site that a browser on this machine visits could reach a page on a loopback port, through a name that the
/// site points at this machine. Such a name is not in this list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn allow(&mut self, host: &str) {
        self.0.push(host.to_ascii_lowercase());
    }

    /// Whether a `Host` header, which may have a port, is one of them.
    pub(crate) fn are_allowed(&self, host: &str) -> bool {
        let name = without_port(host).to_ascii_lowercase();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost"
            || bare
                .parse()
                .is_ok_and(|address: IpAddr| address.is_loopback())
            || self.0.contains(&name)
    }
}

fn without_port(host: &str) -> &str {
    let end_of_address = host.rfind(']').map_or(0, |end| end + 1);
    match host[end_of_address..].find(':') {
        Some(colon) => &host[..end_of_address + colon],
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_allowed_and_others_are_not() {
        let mut hosts = Hosts::default();
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.8.8.8",
            "[::1]",
            "[::1]:9",
        ] {
            assert!(hosts.are_allowed(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:localhost",
            "10.0.0.1",
            "[2001:db8::1]:80",
            "127.0.0.1.evil.example",
            "ops.example.com",
        ] {
            assert!(!hosts.are_allowed(host), "{host}");
        }
        hosts.allow("Ops.Example.com");
        assert!(hosts.are_allowed("ops.example.com:443"));
    }
}
