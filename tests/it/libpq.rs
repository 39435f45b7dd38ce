//! Connection strings are read as libpq reads them, except for the differences that config/README.md
//! lists.

mod asked;
mod differences;
mod generated;
mod meaning;

use std::collections::BTreeSet;
use std::path::Path;

use db_config::PooledUrl;

use self::asked::Libpq;
use self::differences::DIFFERENCES;
use self::generated::Generator;
use self::meaning::Meaning;

/// dbmate#229 and similar faults: a text that libpq accepts means the same here, and a text that it
/// refuses is refused here. Every other outcome is one of the differences in config/README.md.
///
/// `LIBPQ_SEED` and `LIBPQ_COUNT` try others, or more.
#[test]
fn generated_connection_strings_mean_what_they_mean_to_a_libpq_over_tls() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let seed = number("LIBPQ_SEED", 20);
    println!("seed {seed}");
    let mut generator = Generator::new(seed);
    let mut texts: Vec<String> = EXAMPLES.iter().map(ToString::to_string).collect();
    texts.extend((0..number("LIBPQ_COUNT", 4000)).map(|_| generator.text()));
    let libpq = Libpq::ask(&texts);
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let (mut alike, mut accepted) = (0, 0);
    for (text, theirs) in texts.iter().zip(&libpq.answers) {
        if libpq.knows_not(text) {
            continue;
        }
        let ours = PooledUrl::parse(text).map_err(|error| error.to_string());
        let ours = ours.map(|url| Meaning::here(url.endpoint()));
        let theirs = theirs.as_ref().map(Meaning::of_libpq).map_err(Clone::clone);
        accepted += usize::from(ours.is_ok() && theirs.is_ok());
        let differ = differences::between(text, &ours, &theirs);
        alike += usize::from(differ.is_empty());
        for difference in differ {
            match difference {
                Ok(name) => drop(seen.insert(name)),
                Err(what) => faults.push(format!("{text}\n    {what}")),
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(
        alike > texts.len() / 4 && accepted > texts.len() / 8,
        "{alike} alike, {accepted} accepted"
    );
    let all: BTreeSet<_> = DIFFERENCES.iter().map(|(name, _)| *name).collect();
    assert_eq!(seen, all, "a difference that is not met is none");
}

/// config/README.md lists exactly these differences.
#[test]
fn the_differences_from_libpq_are_those_of_the_readme() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once("### Where libpq does otherwise").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let told: Vec<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("- **")?.split("**").next())
        .collect();
    let known: Vec<_> = DIFFERENCES.iter().map(|(name, _)| *name).collect();
    assert_eq!(told, known);
}

/// At least one text for each difference, and texts from public reports.
const EXAMPLES: &[&str] = &[
    "postgres:///app",
    "postgres://127.0.0.1/d?sslmode=prefer&ssl=true",
    "postgres://127.0.0.1/d?sslmode=",
    "postgres://127.0.0.1/d?target_session_attrs=prefer-standby",
    "postgres://127.0.0.1:1,/d",
    "postgres://127.0.0.1/d?sslrootcert=/none/ca.pem",
    "postgres://127.0.0.1/d?sslmode=require&sslmode=require",
    "postgres://127.0.0.1:1,%2Fnone:x/d",
    "host=/none hostaddr=127.0.0.1",
    "postgres://127.0.0.1/d?requirepeer=root",
    "postgres://127.0.0.1/d?sslcert=/none/cert.pem",
    "postgres://127.0.0.1/d?sslmode=prefer&channel_binding=require",
    "postgres://127.0.0.1/d?client_encoding=LATIN1",
    "postgres://127.0.0.1/d?options=-d%205",
    "postgres://u@127.0.0.1/d#x",
    "postgres://u%09@127.0.0.1/d",
    "POSTGRES://127.0.0.1/d",
    "postgres://127.0.0.1/d?ssl=false",
    "postgres://127.0.0.1/d?keepalives=on",
    "postgres://127.0.0.1/d?search_path=s",
    "postgres://127.0.0.1/d?options=-c%20work_mem=1MB",
    "postgres://127.0.0.1/d?sslmode=require&sslrootcert=/none/ca.pem",
    "host=127.0.0.1 user=u password='a b'",
];
