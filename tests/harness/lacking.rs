//! Abilities that some tests need and that not every build of PostgreSQL has.
//!
//! The name of such a test contains a word for the ability. If the server lacks it, `cargo-tests.sh` leaves the
//! test out and counts it.

use std::fmt;
use std::path::Path;

use crate::{Cluster, HarnessError};

/// An ability that the server lacks.
#[derive(Debug)]
pub struct Lacking {
    /// The word in the names of the tests that need it.
    word: &'static str,
    why: String,
}

/// `WORD why`, as `cargo-tests.sh` reads it.
impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.word, self.why)
    }
}

/// Every ability that tests need and this cluster lacks.
pub async fn lacking(cluster: &Cluster) -> Result<Vec<Lacking>, HarnessError> {
    let binaries = cluster.binaries()?;
    let name = format!("PostgreSQL {}", binaries.version());
    let mut lacking = Vec::new();
    if cluster
        .scalar::<String>("SHOW ssl_library")
        .await?
        .is_empty()
    {
        let why = format!("need TLS, which this {name} was built without");
        lacking.push(Lacking {
            word: "over_tls",
            why,
        });
    }
    let translation = format!(
        "SELECT setting || '/de/LC_MESSAGES/postgres-{}.mo' FROM pg_config WHERE name = 'LOCALEDIR'",
        binaries.major()
    );
    if !Path::new(&cluster.scalar::<String>(&translation).await?).is_file() {
        let why = format!("need a server that speaks German, and this {name} has no translations");
        lacking.push(Lacking {
            word: "in_german",
            why,
        });
    } else if !Path::new(LOCALE).exists() {
        let why = "need a German locale, and this machine lacks the sources for localedef (Debian: `locales`)";
        lacking.push(Lacking {
            word: "in_german",
            why: why.to_owned(),
        });
    }
    if !binaries.folder().join("pg_dump").is_file() {
        let why = format!("need the client programs, and this {name} has only the server");
        lacking.push(Lacking { word: "psql", why });
    }
    for (word, programs, why) in PROGRAMS {
        if !programs.iter().all(|program| is_on_the_path(program)) {
            let why = why.to_owned();
            lacking.push(Lacking { word, why });
        }
    }
    Ok(lacking)
}

fn is_on_the_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The programs that tests start and that are no part of a server, with the word in the names of these tests.
const PROGRAMS: [(&str, &[&str], &str); 2] = [
    (
        "in_a_browser",
        &["chromedriver"],
        "need Chromium with its chromedriver (Debian: `chromium-driver`)",
    ),
    (
        "by_prometheus",
        &["prometheus", "promtool"],
        "need Prometheus with promtool (Debian: `prometheus`)",
    ),
];

const LOCALE: &str = "/usr/share/i18n/locales/de_DE";
