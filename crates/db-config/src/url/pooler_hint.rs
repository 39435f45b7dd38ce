//! What in a URL suggests that a pooler answers, and where the server behind it probably is.

use super::build;
use super::param_reader::ParamReader;
use crate::endpoint::{Endpoint, Host};

impl Endpoint {
    /// What the direct URL behind a pooler probably is, with the password as `***`.
    ///
    /// `None` when nothing suggests a pooler.
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
                    // Supabase's shared pooler carries the project in the user's name.
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
        direct.user = user;
        Some(build::redacted(&direct))
    }
}

/// What the parameters say outright.
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

/// What host and port suggest.
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

/// Neon's pooled host is the direct one with `-pooler` at the end of its first label.
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

/// PgBouncer's port, and that of Supabase's transaction mode.
const POOLER_PORTS: [u16; 2] = [6432, 6543];
