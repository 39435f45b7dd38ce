//! Guesses whether a URL leads through a pooler, and where the server behind it is.

use super::build;
use super::param_reader::ParamReader;
use crate::endpoint::{Endpoint, Host};

impl Endpoint {
    /// Guesses the direct URL of the server behind a pooler, with the password as `***`.
    ///
    /// Returns `None` if nothing suggests a pooler, and if the address does not show where the
    /// server is: the pooler's own URL is never proposed.
    pub fn probable_direct(&self) -> Option<String> {
        self.pooler_hint.as_ref()?;
        let mut direct = Endpoint {
            pooler_hint: None,
            connection_limit: None,
            pool_timeout: None,
            ..self.clone()
        };
        let mut user = direct.user.clone();
        for host in &mut direct.hosts {
            match host {
                Host::Tcp { name, addr, port } => {
                    *addr = None;
                    *port = server_port(*port);
                    *name = without_pooler(name);
                    // At Supabase's shared pooler the name of the user includes the project.
                    if name.ends_with(SUPABASE_POOLER)
                        && let Some((role, project)) = self.user.split_once('.')
                    {
                        *name = format!("db.{project}.supabase.co");
                        *port = 5432;
                        user = role.to_owned();
                    }
                }
                Host::Unix { port, .. } => *port = server_port(*port),
            }
        }
        if direct.hosts == self.hosts {
            return None;
        }
        direct.user = user;
        Some(build::redacted(&direct))
    }
}

/// Says whether a parameter declares a pooler, and which.
pub(super) fn declared(reader: &mut ParamReader<'_>) -> Option<String> {
    if reader.flag("pgbouncer") == Some(true) {
        return Some("pgbouncer=true".to_owned());
    }
    ["supa", "workaround"]
        .into_iter()
        .find(|name| {
            reader
                .text(name)
                .is_some_and(|value| value.contains("pooler"))
        })
        .map(|name| format!("`{name}` names a pooler"))
}

/// Says whether a host or a port suggests a pooler, and how.
pub(super) fn hint(endpoint: &Endpoint) -> Option<String> {
    endpoint.hosts.iter().find_map(|host| {
        if let Host::Tcp { name, .. } = host {
            if name.ends_with(SUPABASE_POOLER) {
                return Some("`pooler.supabase.com` in the host".to_owned());
            }
            if without_pooler(name) != *name {
                return Some("`-pooler` in the host".to_owned());
            }
        }
        let port = host.port();
        POOLER_PORTS.contains(&port).then(|| format!("port {port}"))
    })
}

/// Neon's pooled host has `-pooler` at the end of its first label. Its direct host does not.
fn without_pooler(name: &str) -> String {
    let (label, domain) = name.split_at(name.find('.').unwrap_or(name.len()));
    format!("{}{domain}", label.strip_suffix("-pooler").unwrap_or(label))
}

fn server_port(port: u16) -> u16 {
    match POOLER_PORTS.contains(&port) {
        true => 5432,
        false => port,
    }
}

const SUPABASE_POOLER: &str = "pooler.supabase.com";

/// The port of PgBouncer, and the port of Supabase's transaction mode.
const POOLER_PORTS: [u16; 2] = [6432, 6543];
