//! A test of a pool's failure case also checks what the pool leaves behind.

use std::fs;
use std::path::Path;

/// Tests without a pool of their own process.
const OF_OTHER_PROCESSES: [&str; 6] = [
    // The pools belong to `dbctl` and to the service, which report their state in other ways.
    "a_server_that_cannot_be_used_ends_with_one_message_and_code_8",
    "a_request_in_progress_is_finished_before_the_service_ends",
    "without_a_database_the_service_lives_says_so_and_recovers_by_itself",
    // They ask a program that is put under load.
    "every_answer_is_right_through_an_old_pgbouncer",
    "every_answer_is_right_through_a_new_pgbouncer_that_keeps_no_statements",
    "every_answer_is_right_through_a_new_pgbouncer_that_keeps_statements",
];

#[test]
fn every_test_of_a_pools_failure_case_looks_at_its_end() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("it");
    let mut functions = Vec::new();
    collect(&root, &mut functions);
    let (tests, fixtures): (Vec<_>, Vec<_>) = functions.into_iter().partition(|one| one.is_test);
    let looks = |one: &Function| one.text.contains(".rests");
    let looking: Vec<_> = fixtures.iter().filter(|one| looks(one)).collect();
    let of_pools = tests.iter().filter(|test| test.is_of_a_pool());
    let (done, forgotten): (Vec<_>, Vec<_>) =
        of_pools.partition(|test| looks(test) || looking.iter().any(|one| test.calls(one)));
    assert!(done.len() > 100, "{} tests name their case", done.len());
    let mut forgotten: Vec<_> = forgotten.iter().map(|test| &*test.name).collect();
    let mut known = OF_OTHER_PROCESSES;
    forgotten.sort_unstable();
    known.sort_unstable();
    assert_eq!(forgotten, known, "those on the left have no `rests`");
}

struct Function {
    name: String,
    is_test: bool,
    comment: String,
    text: String,
}

impl Function {
    fn is_of_a_pool(&self) -> bool {
        let mut words = self
            .comment
            .split(|char: char| !char.is_ascii_alphanumeric());
        words.any(is_of_a_pool)
    }

    fn calls(&self, other: &Self) -> bool {
        self.text.contains(&format!("{}(", other.name))
    }
}

/// R01 to R18, R30, R31, and F1 to F11.
fn is_of_a_pool(case: &str) -> bool {
    let number = |kind| case.strip_prefix(kind)?.parse::<u32>().ok();
    matches!(number('R'), Some(1..=18 | 30 | 31)) || matches!(number('F'), Some(1..=11))
}

fn collect(folder: &Path, functions: &mut Vec<Function>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, functions);
        } else {
            functions.extend(functions_in(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The functions of a source file that are no methods, as rustfmt lays them out.
fn functions_in(source: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    let (mut comment, mut is_test) = (String::new(), false);
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("///") {
            comment.push_str(line);
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test") || line.starts_with("#[tokio::test");
        } else if let Some(name) = line.trim_start_matches("async ").strip_prefix("fn ") {
            let name = name.split(['(', '<']).next().unwrap();
            functions.push(Function {
                name: name.to_owned(),
                is_test: std::mem::take(&mut is_test),
                comment: std::mem::take(&mut comment),
                text: lines.by_ref().take_while(|line| *line != "}").collect(),
            });
        } else {
            (comment, is_test) = (String::new(), false);
        }
    }
    functions
}
