//! The ports that connections to a server take on this machine.

use std::fs;

use serde::{Deserialize, Serialize};

/// The TCP sockets of this machine, or of this container, that lead to the ports of a pool's servers.
///
/// Each socket takes a port on this side, and the number of ports to one address of a server is limited. If this
/// side has closed a socket, its port becomes free only after a minute (`TIME_WAIT`). Only Linux shows this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Ports {
    /// Sockets that are connected.
    pub established: u32,
    /// Sockets that this side has closed and that wait (`TIME_WAIT`).
    pub time_wait: u32,
    /// Sockets that are just connecting or closing.
    pub other: u32,
    /// How many ports the system gives to outgoing connections.
    pub available: u32,
}

impl Ports {
    /// Counts the sockets to these ports of servers. It reads a file of the kernel with a line for each socket of
    /// the machine, so call it on a thread for which nobody waits.
    pub(crate) fn to(servers: &[u16]) -> Option<Self> {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut ports = Self {
            available: size(&range)?,
            ..Self::default()
        };
        ports.count(&fs::read_to_string("/proc/net/tcp").ok()?, servers);
        // A machine without IPv6 has none.
        let sockets = fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
        ports.count(&sockets, servers);
        Some(ports)
    }

    /// Which share of the ports is taken.
    #[must_use]
    pub fn share(&self) -> f64 {
        match self.available {
            0 => 0.0,
            available => {
                f64::from(self.established + self.time_wait + self.other) / f64::from(available)
            }
        }
    }

    fn count(&mut self, table: &str, servers: &[u16]) {
        for line in table.lines().skip(1) {
            let mut columns = line.split_whitespace().skip(2);
            let (Some(remote), Some(state)) = (columns.next(), columns.next()) else {
                continue;
            };
            let port = remote.rsplit_once(':').map(|(_, port)| port);
            let port = port.and_then(|port| u16::from_str_radix(port, 16).ok());
            if !port.is_some_and(|port| servers.contains(&port)) {
                continue;
            }
            match state {
                "01" => self.established += 1,
                "06" => self.time_wait += 1,
                _ => self.other += 1,
            }
        }
    }
}

/// How many numbers a range such as `32768 60999` has.
fn size(range: &str) -> Option<u32> {
    let mut bounds = range.split_whitespace().map(str::parse::<u32>);
    let (first, last) = (bounds.next()?.ok()?, bounds.next()?.ok()?);
    (last + 1).checked_sub(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n   \
        0: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0\n   \
        1: 0100007F:9C40 0100007F:1538 01 00000000:00000000 00:00000000 00000000     0\n   \
        2: 0100007F:1538 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0\n   \
        3: 0100007F:9C41 0100007F:1538 06 00000000:00000000 03:00000D6A 00000000     0\n   \
        4: 0100007F:9C42 0100007F:1539 02 00000000:00000000 00:00000000 00000000     0\n";

    /// req 4.31: the server's own end of a connection on the same machine does not count.
    #[test]
    fn sockets_to_a_server_are_counted_by_their_state() {
        let mut ports = Ports::default();
        ports.count(TABLE, &[5432]);
        assert_eq!((ports.established, ports.time_wait, ports.other), (1, 1, 0));
        ports.count(TABLE, &[5433]);
        assert_eq!((ports.established, ports.time_wait, ports.other), (1, 1, 1));
        ports.count("", &[5432]);
        ports.count("nonsense\nmore of it\n", &[5432]);
        ports.available = size("32768\t60999\n").unwrap();
        assert_eq!(ports.available, 28_232);
        assert!((ports.share() - 3.0 / 28_232.0).abs() < 1e-12);
        assert_eq!(
            (size("6 5"), size("6 4"), size("x"), size("")),
            (Some(0), None, None, None)
        );
    }
}
