//! Random connection strings: correct ones, and ones with common mistakes.

use fastrand::Rng;

/// Makes connection strings. Hosts are on this machine, since libpq begins to connect.
pub(super) struct Generator(Rng);

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Generator(Rng::with_seed(seed))
    }

    pub(super) fn text(&mut self) -> String {
        match self.0.u8(..4) {
            0 => self.pairs(),
            _ => self.url(),
        }
    }

    fn url(&mut self) -> String {
        let schemes = &["postgres://", "postgresql://", "postgres://", "Postgres://"];
        let mut url = self.one(schemes).to_owned();
        if self.0.u8(..4) > 0 {
            url += self.one(&[
                "u", "us%20er", "a%40b", "", "é", "u%2F", "u.v-w", "u+v", "u;x",
            ]);
            if self.0.bool() {
                url += ":";
                url += self.one(&[
                    "p",
                    "p%40%2F%3A",
                    "p:w",
                    "",
                    "p#w",
                    "p%25",
                    "p%zz",
                    "p w",
                    "p&w=x",
                    "p%C3%A9",
                ]);
            }
            url += "@";
        }
        for at in 0..self.0.u8(..4).min(2) {
            url += if at == 0 { "" } else { "," };
            url += self.one(&[
                "127.0.0.1",
                "127.0.0.1",
                "[::1]",
                "%2Fnone",
                "%2Fnone%20x",
                "",
                "localhost",
            ]);
            url += self.one(&["", "", ":5432", ":1", ":", ":65535", ":0", ":65536", ":x"]);
        }
        url += self.one(&[
            "", "/", "/d", "/d", "/d", "/my%20db", "/a/b", "/d%2Fe", "/d%", "/é",
        ]);
        let mut separator = '?';
        for _ in 0..self.0.u8(..4) {
            let (name, value) = self.param();
            url += &format!("{separator}{name}={}", escaped(value));
            separator = '&';
        }
        url
    }

    fn pairs(&mut self) -> String {
        let mut text = String::new();
        let firsts = [
            ("host", "127.0.0.1"),
            ("user", "u"),
            ("dbname", "d"),
            ("hostaddr", "127.0.0.1"),
        ];
        for _ in 0..1 + self.0.u8(..4) {
            let (name, value) = match self.0.bool() {
                true => self.one(&firsts),
                false => self.param(),
            };
            let value = value.replace('\\', r"\\").replace('\'', r"\'");
            let quoted = value.is_empty() || value.contains(' ') || self.0.u8(..4) == 0;
            let equals = self.one(&["=", "=", "=", " = ", " ="]);
            text += &match quoted {
                true => format!("{name}{equals}'{value}' "),
                false => format!("{name}{equals}{value} "),
            };
        }
        text
    }

    fn param(&mut self) -> (&'static str, &'static str) {
        let (name, values) = self.one(PARAMS);
        (name, self.one(values))
    }

    fn one<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.0.usize(..among.len())]
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('%', "%25")
        .replace(' ', "%20")
        .replace('&', "%26")
        .replace('/', "%2F")
}

const PARAMS: &[(&str, &[&str])] = &[
    (
        "sslmode",
        &[
            "disable",
            "allow",
            "prefer",
            "require",
            "verify-ca",
            "verify-full",
            "",
            "Require",
            "no-verify",
        ],
    ),
    ("ssl", &["true", "true", "false", "1"]),
    ("sslrootcert", &["/none/ca.pem", ""]),
    ("sslcert", &["/none/cert.pem", ""]),
    ("sslkey", &["/none/key.pem"]),
    (
        "host",
        &["127.0.0.1", "/none", "", "127.0.0.1,/none", "127.0.0.1,"],
    ),
    ("hostaddr", &["127.0.0.1", "127.0.0.1,127.0.0.1", "", "::1"]),
    ("port", &["5432", "1,2", "", "0", "x", " 7 "]),
    ("user", &["v", "", "it's", "a b"]),
    ("password", &["s", "", "a b", "a&b", "a%b"]),
    ("dbname", &["e", "", "a/b"]),
    (
        "target_session_attrs",
        &[
            "any",
            "read-write",
            "read-only",
            "primary",
            "standby",
            "prefer-standby",
            "",
            "x",
        ],
    ),
    ("load_balance_hosts", &["disable", "random", ""]),
    (
        "channel_binding",
        &["disable", "prefer", "require", "", "x"],
    ),
    (
        "connect_timeout",
        &[
            "5",
            "0",
            "-1",
            "",
            "x",
            " 5 ",
            "+5",
            "1",
            "5s",
            "99999999999",
        ],
    ),
    ("tcp_user_timeout", &["1000", "0", "x"]),
    ("keepalives", &["0", "1", "on", "2", "x"]),
    ("keepalives_idle", &["9", "0", "-3", ""]),
    ("keepalives_interval", &["9", "0"]),
    ("keepalives_count", &["9", "0", "x"]),
    ("application_name", &["a", "", "a b", "a+b", "é"]),
    ("fallback_application_name", &["f"]),
    ("client_encoding", &["UTF8", "auto", "LATIN1", ""]),
    (
        "options",
        &[
            "-c work_mem=1MB",
            "",
            "--work-mem=1MB",
            "-cwork_mem=1MB",
            "-c+work_mem=1MB",
            "-d 5",
        ],
    ),
    ("gssencmode", &["disable", "prefer", "require"]),
    ("sslcompression", &["0", "1"]),
    ("service", &["none"]),
    ("requirepeer", &["root"]),
    ("krbsrvname", &["postgres"]),
    ("passfile", &["/none"]),
    ("search_path", &["s"]),
    ("pgbouncer", &["true"]),
    ("sslmod", &["require"]),
    ("x", &["y"]),
];
