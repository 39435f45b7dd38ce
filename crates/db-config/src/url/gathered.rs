//! Gathers the named parameters of a URL or of a `key=value` string.

use super::treatment::Treatment;

/// Parameters in the order in which they are given, with what is wrong with them.
pub(crate) struct Gathered {
    pub(super) params: Vec<(String, String)>,
    /// What is allowed but probably a mistake.
    pub(super) warnings: Vec<String>,
    problems: Vec<String>,
    seen: Vec<String>,
    /// Whether `sslmode` was given as `ssl`.
    mode_by_ssl: bool,
    may_echo: bool,
}

impl Gathered {
    /// Starts with the parameters of the URL before its query, which have other rules.
    pub(super) fn new(
        params: Vec<(String, String)>,
        problems: Vec<String>,
        may_echo: bool,
    ) -> Self {
        Gathered {
            params,
            warnings: Vec::new(),
            problems,
            seen: Vec::new(),
            mode_by_ssl: false,
            may_echo,
        }
    }

    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Ends the gathering. The error has every problem that came up.
    pub(super) fn finish(self) -> Result<Self, Vec<String>> {
        match self.problems.is_empty() {
            true => Ok(self),
            false => Err(self.problems),
        }
    }

    pub(super) fn add(&mut self, name: String, value: String) {
        match Treatment::of(&name, &value) {
            Treatment::Ignore => {}
            Treatment::Refuse(problem) => self.problems.push(problem),
            Treatment::Unknown { suggestion } => {
                let name = match self.may_echo {
                    true => format!(" {name:?}"),
                    false => String::new(),
                };
                self.problems
                    .push(format!("unknown parameter{name}{suggestion}"));
            }
            Treatment::Keep if name == "ssl" => self.ssl(&value),
            Treatment::Keep => self.keep(name, value),
        }
    }

    fn keep(&mut self, name: String, value: String) {
        let earlier = self.position(&name);
        let replaces_ssl = name == "sslmode" && self.mode_by_ssl;
        let may_replace = OVERRIDES.contains(&name.as_str()) || replaces_ssl;
        if self.seen.contains(&name) || (earlier.is_some() && !may_replace) {
            self.problems.push(format!("`{name}` is given twice"));
            return;
        }
        // Cloud SQL and others write `@localhost/db?host=/cloudsql/..`: the query wins.
        if let Some(earlier) = earlier {
            self.params.remove(earlier);
        }
        if replaces_ssl {
            self.mode_by_ssl = false;
        }
        self.seen.push(name.clone());
        self.params.push((name, value));
    }

    /// To libpq `ssl=true` is another spelling of `sslmode=require`, and the later one wins.
    fn ssl(&mut self, value: &str) {
        let mode = match value {
            "1" | "true" | "on" => "require",
            "0" | "false" | "off" => "disable",
            other => {
                self.problems
                    .push(format!("`ssl`: expected true or false, found {other:?}"));
                return;
            }
        };
        if self.mode_by_ssl {
            self.problems.push("`ssl` is given twice".to_owned());
            return;
        }
        if let Some(earlier) = self.position("sslmode") {
            let earlier = self.params.remove(earlier).1;
            if mode == "disable" && earlier != mode {
                self.problems
                    .push("`ssl`: contradicts `sslmode`; remove it".to_owned());
            }
            if mode == "require" && earlier.starts_with("verify") {
                self.warnings.push(format!(
                    "`ssl=true` after `sslmode={earlier}` means sslmode=require, which does not verify \
                     the server; remove it"
                ));
            }
        }
        self.mode_by_ssl = true;
        self.params.push(("sslmode".to_owned(), mode.to_owned()));
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|(earlier, _)| earlier == name)
    }
}

/// Parameters that may also stand before the query. The query wins.
const OVERRIDES: [&str; 2] = ["host", "port"];
