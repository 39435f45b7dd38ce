//! What the server says about a new session: its process and its settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio_postgres::SimpleQueryMessage;

/// The facts about a session from one simple query, which runs once for each generation of a pool.
///
/// A direct session has the values of the startup packet. If the packet does not name a setting, the value
/// comes from the role or the database. Behind a pooler that shares sessions, the values belong to the server
/// connection that happened to answer, and other clients may have altered them. So there each setting comes
/// with the value to which RESET would return. That value belongs to the role or the database (or to the
/// pooler, if it sends one when it connects), and is the same on every server connection made since the last
/// ALTER ROLE. If the setting differs from that value, clients alter it here, and the pool does not rely on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionFacts {
    backend_pid: Option<i32>,
    /// The address at which the answering server listens. `None` for a Unix socket.
    address: Option<Box<str>>,
    port: Option<u16>,
    settings: BTreeMap<Box<str>, Fact>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    value: Box<str>,
    /// The value to which RESET would return, if the pool asked for it.
    own: Option<Box<str>>,
}

impl SessionFacts {
    /// Reads the answer to [`QUESTION`].
    pub(crate) fn read(answer: &[SimpleQueryMessage]) -> Self {
        let mut facts = Self::default();
        for row in rows(answer) {
            for (nth, column) in row.columns().iter().enumerate() {
                let Ok(Some(value)) = row.try_get(nth) else {
                    continue;
                };
                match column.name() {
                    "backend_pid" => facts.backend_pid = value.parse().ok(),
                    "server_address" => facts.address = Some(value.into()),
                    "server_port" => facts.port = value.parse().ok(),
                    name => facts.learn(name, value, None),
                }
            }
        }
        facts
    }

    /// Reads the answer to [`OWN_VALUES`], which replaces earlier facts. Without an answer, the pool relies on
    /// nothing.
    pub(crate) fn read_own(
        &mut self,
        answer: Result<Vec<SimpleQueryMessage>, tokio_postgres::Error>,
    ) {
        let Ok(answer) = answer else {
            return self.settings.clear();
        };
        for row in rows(&answer) {
            let text = |column| row.try_get(column).ok().flatten();
            if let (Some(name), Some(value), own) = (text("name"), text("value"), text("own")) {
                self.learn(name, value, own);
            }
        }
    }

    fn learn(&mut self, name: &str, value: &str, own: Option<&str>) {
        let fact = Fact {
            value: value.into(),
            own: own.map(Into::into),
        };
        self.settings.insert(name.to_ascii_lowercase().into(), fact);
    }

    /// The process that has answered. Behind a pooler it is not the process of the greeting.
    pub(crate) fn backend_pid(&self) -> Option<i32> {
        self.backend_pid
    }

    /// Whether the answering server listens at another address than the pool has connected to. Then there is a
    /// pooler or an address translation in between.
    pub(crate) fn is_answered_elsewhere(&self, looked_for: &[SocketAddr]) -> bool {
        let (Some(address), Some(port)) = (&self.address, self.port) else {
            return false;
        };
        match address.parse() {
            Ok(address) => !looked_for.contains(&SocketAddr::new(address, port)),
            Err(_unix_socket) => !looked_for.is_empty(),
        }
    }

    /// The value of a setting in the session that has answered.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        let fact = self.settings.get(&*name.to_ascii_lowercase())?;
        Some(&fact.value)
    }

    /// Whether a session may have another value than the wanted one, so that the pool has to set it.
    ///
    /// `false` is a proof, as far as one session can give one: the setting has the wanted value, and if the
    /// pool also asked for the value after RESET, that is the wanted one too.
    pub(crate) fn differs(&self, name: &str, wanted: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let Some(fact) = self.settings.get(&*name) else {
            return true;
        };
        let is_wanted = |value: &str| meaning(&name, value) == meaning(&name, wanted);
        !is_wanted(&fact.value) || fact.own.as_deref().is_some_and(|own| !is_wanted(own))
    }
}

fn rows(answer: &[SimpleQueryMessage]) -> impl Iterator<Item = &tokio_postgres::SimpleQueryRow> {
    answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

/// A value in a normal form: values with the same meaning become equal. A value that this does not understand
/// stays as it is, so a doubt counts as a difference.
fn meaning(name: &str, value: &str) -> String {
    let value = value.trim();
    match name {
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            microseconds(value).unwrap_or_else(|| value.to_owned())
        }
        "search_path" => schemas(value),
        "default_transaction_read_only" | "standard_conforming_strings" => {
            match &*value.to_ascii_lowercase() {
                "on" | "true" | "yes" | "1" => "on".to_owned(),
                "off" | "false" | "no" | "0" => "off".to_owned(),
                other => other.to_owned(),
            }
        }
        // Names of roles are compared as written.
        "role" | "application_name" => value.to_owned(),
        _ => value.to_ascii_lowercase(),
    }
}

/// A span of time as the server reads it, in milliseconds if it has no unit.
fn microseconds(value: &str) -> Option<String> {
    let unit = value.find(|char: char| !char.is_ascii_digit());
    let (number, unit) = value.split_at(unit.unwrap_or(value.len()));
    let each = match unit.trim() {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(number.checked_mul(each)?.to_string())
}

/// The schemas of a path, each quoted, and folded if it was not quoted. A path that is hard to read stays as it
/// is.
fn schemas(path: &str) -> String {
    if path.contains("\"\"") {
        return path.to_owned();
    }
    let mut schemas = String::from("\"");
    let mut is_quoted = false;
    for char in path.chars() {
        match char {
            '"' => is_quoted = !is_quoted,
            char if is_quoted => schemas.push(char),
            ',' => schemas.push_str("\",\""),
            blank if blank.is_ascii_whitespace() => {}
            char => schemas.push(char.to_ascii_lowercase()),
        }
    }
    schemas
}

/// Asked once after login, in one message that every pooler passes on. Each column has the name of its setting.
pub(crate) const QUESTION: &str = "\
    SELECT pg_catalog.pg_backend_pid() AS backend_pid, \
    coalesce(pg_catalog.host(pg_catalog.inet_server_addr()), '') AS server_address, \
    coalesce(pg_catalog.inet_server_port(), 0) AS server_port, \
    pg_catalog.current_setting('statement_timeout') AS statement_timeout, \
    pg_catalog.current_setting('lock_timeout') AS lock_timeout, \
    pg_catalog.current_setting('idle_in_transaction_session_timeout') \
        AS idle_in_transaction_session_timeout, \
    pg_catalog.current_setting('default_transaction_isolation') AS default_transaction_isolation, \
    pg_catalog.current_setting('default_transaction_read_only') AS default_transaction_read_only, \
    pg_catalog.current_setting('search_path') AS search_path, \
    pg_catalog.current_setting('role') AS role, \
    pg_catalog.current_setting('TimeZone') AS timezone, \
    pg_catalog.current_setting('DateStyle') AS datestyle, \
    pg_catalog.current_setting('IntervalStyle') AS intervalstyle, \
    pg_catalog.current_setting('standard_conforming_strings') AS standard_conforming_strings, \
    pg_catalog.current_setting('client_encoding') AS client_encoding, \
    pg_catalog.current_setting('max_connections') AS max_connections, \
    pg_catalog.current_setting('superuser_reserved_connections') AS superuser_reserved_connections, \
    pg_catalog.current_setting('reserved_connections', true) AS reserved_connections";

/// Asked behind a pooler that may share sessions. It takes the server a millisecond, which a direct connection
/// can save.
///
/// The role is not among the settings, so the query reads the target of RESET ROLE where ALTER ROLE has stored
/// it.
pub(crate) const OWN_VALUES: &str = "\
    SELECT name, setting AS value, reset_val AS own FROM pg_catalog.pg_show_all_settings() \
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', \
        'default_transaction_isolation', 'default_transaction_read_only', 'search_path', 'TimeZone', \
        'DateStyle', 'IntervalStyle', 'standard_conforming_strings', 'client_encoding') \
    UNION ALL \
    SELECT 'role', pg_catalog.current_setting('role'), coalesce((\
        SELECT pg_catalog.substr(own, 6) FROM pg_catalog.pg_db_role_setting AS kept \
        CROSS JOIN pg_catalog.unnest(kept.setconfig) AS own \
        WHERE own LIKE 'role=%' \
            AND kept.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database \
                WHERE datname = pg_catalog.current_database())) \
            AND kept.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)) \
        ORDER BY kept.setrole <> 0 AND kept.setdatabase <> 0 DESC, kept.setrole <> 0 DESC, \
            kept.setdatabase <> 0 DESC LIMIT 1), 'none')";

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(settings: &[(&str, &str, Option<&str>)]) -> SessionFacts {
        let mut facts = SessionFacts::default();
        for (name, value, own) in settings {
            facts.learn(name, value, *own);
        }
        facts
    }

    /// A value that means the same need not be set.
    #[test]
    fn values_are_compared_by_what_they_mean() {
        let facts = facts(&[
            ("statement_timeout", "30s", None),
            ("lock_timeout", "1500", None),
            ("search_path", "\"$user\", public", None),
            ("TimeZone", "UTC", None),
            ("default_transaction_read_only", "off", None),
            ("role", "Writer", None),
        ]);
        for (name, wanted) in [
            ("statement_timeout", "30000ms"),
            ("lock_timeout", "1500ms"),
            ("search_path", "\"$user\",Public"),
            ("timezone", "utc"),
            ("Default_Transaction_Read_Only", "false"),
            ("role", "Writer"),
        ] {
            assert!(!facts.differs(name, wanted), "{name} {wanted}");
        }
        for (name, wanted) in [
            ("statement_timeout", "30"),
            ("statement_timeout", "0.5min"),
            ("lock_timeout", "1501ms"),
            ("search_path", "\"$user\", \"Public\""),
            ("search_path", "public, \"$user\""),
            ("search_path", "\"$user, public\""),
            ("search_path", "\"$user\", \"public \""),
            ("search_path", "\"$user\", \"pub\"\"lic\""),
            ("timezone", "Etc/UTC"),
            ("role", "writer"),
            ("work_mem", "4MB"),
        ] {
            assert!(facts.differs(name, wanted), "{name} {wanted}");
        }
    }

    /// If a server listens at another address than the pool has connected to, something is in front of it.
    #[test]
    fn a_server_that_listens_elsewhere_is_noticed() {
        let at = |address: &str, port: u16| SessionFacts {
            address: Some(address.into()),
            port: Some(port),
            ..SessionFacts::default()
        };
        let tcp: [SocketAddr; 2] = ["[::1]:5432", "127.0.0.1:5432"].map(|at| at.parse().unwrap());
        assert!(!at("127.0.0.1", 5432).is_answered_elsewhere(&tcp));
        assert!(!at("", 0).is_answered_elsewhere(&[]), "a Unix socket");
        assert!(
            !SessionFacts::default().is_answered_elsewhere(&tcp),
            "unknown"
        );
        for (address, port) in [("127.0.0.1", 5433), ("10.0.0.1", 5432), ("", 0)] {
            assert!(at(address, port).is_answered_elsewhere(&tcp), "{address}");
        }
        assert!(at("127.0.0.1", 5432).is_answered_elsewhere(&[]));
    }

    /// A session that another client has altered proves nothing, whichever of the two values is wanted.
    #[test]
    fn an_altered_setting_is_not_relied_on() {
        let facts = facts(&[
            ("statement_timeout", "30000", Some("0")),
            ("lock_timeout", "0", Some("0")),
            ("role", "other", Some("none")),
        ]);
        assert!(facts.differs("statement_timeout", "30s"));
        assert!(facts.differs("statement_timeout", "0"));
        assert!(!facts.differs("lock_timeout", "0ms"));
        assert!(facts.differs("role", "none") && facts.differs("role", "other"));
    }
}
