//! Hostile statements in the slow-query log, as a service in production writes it: JSON, one object on each line.

use std::collections::BTreeSet;

use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use harness::TestDatabase;
use serde_json::Value;

use super::{everything_is_slow, pool};
use crate::database::Log;

/// What was logged of slow statements, where each line of the log is an object of its own and none was forged.
fn slow(log: &Log) -> Vec<Value> {
    let text = log.text();
    let is_harmful = |char: char| char != '\n' && (char.is_control() || char == '\u{202e}');
    assert!(!text.contains(is_harmful), "{text}");
    let records = text.lines().map(|line| {
        assert!(line.len() < 8 * 1024, "{line}");
        let record: Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("no record: {line}"));
        assert_ne!(record["level"], "ERROR", "{line}");
        record
    });
    records
        .filter(|record| record["target"] == "app_db::slow_query")
        .collect()
}

/// case R63: line breaks, a forged record, escape sequences and a megabyte leave one record each, cut and
/// without a literal, however they are sent.
#[tokio::test]
async fn hostile_texts_leave_one_harmless_record_each() {
    let (log, _capturing) = Log::capture_json();
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool(&db, everything_is_slow(1)).await;
    let mut conn = pool.get().await.unwrap();
    let forged = "{\"level\":\"ERROR\",\"message\":\"forged\"}";
    let in_a_comment = format!("select 'canary' as a /* \r\n{forged}\n */");
    let in_a_name = format!("select 'canary' as \"b\r\n{}\n\"", forged.replace('"', "'"));
    let in_a_literal = format!("select 'canary\n{forged}\n' as c");
    let escapes = "select 'canary' as \"\x1b[2J\x1b[31m\u{202e}\u{9b}31m\" -- \x1b[0m";
    let long = format!("select length('{}')", "canary".repeat(170_000));
    let texts = [
        in_a_comment.as_str(),
        &in_a_name,
        &in_a_literal,
        escapes,
        &long,
    ];
    for text in texts {
        for prepared in [false, true] {
            let before = slow(&log).len();
            match prepared {
                false => conn.batch_execute(text).await.unwrap(),
                true => drop(diesel::sql_query(text).execute(&mut conn).await.unwrap()),
            }
            let logged = slow(&log).split_off(before);
            assert_eq!(logged.len(), 1, "{logged:?}");
            let sql = logged[0]["sql"].as_str().unwrap();
            assert!(sql.len() < 2_100 && sql.starts_with("select "), "{sql}");
            assert!(!sql.chars().any(char::is_control), "{sql}");
        }
    }
    assert!(!log.text().contains("canary"));
}

/// case R63: ten thousand lists of other lengths and values are a few fingerprints, and a few records of each.
#[tokio::test]
async fn ten_thousand_lists_do_not_fill_the_log() {
    const LISTS: usize = 10_000;
    let (log, _capturing) = Log::capture_json();
    let db = TestDatabase::empty().await.unwrap();
    let pool = pool(&db, everything_is_slow(1)).await;
    let mut conn = pool.get().await.unwrap();
    for nth in 1..=LISTS {
        // All but a few are short; a long one is read as far as 16 kB.
        let length = if nth.is_multiple_of(2_500) {
            10_000
        } else {
            nth % 8 + 1
        };
        let list: Vec<_> = (0..length).map(|n| (n * LISTS + nth).to_string()).collect();
        let sql = format!("select 1 where 0 in ({})", list.join(","));
        conn.batch_execute(&sql).await.unwrap();
    }
    let stats = pool.statements();
    assert!(stats.len() <= 50, "{}", stats.len());
    assert_eq!(
        stats.iter().map(|stats| stats.count).sum::<u64>(),
        LISTS as u64
    );
    assert_eq!(pool.status().slow_queries, LISTS as u64);
    let logged = slow(&log);
    let fingerprints: BTreeSet<_> = logged
        .iter()
        .map(|record| record["fingerprint"].as_str())
        .collect();
    assert!(fingerprints.len() <= stats.len(), "{fingerprints:?}");
    // Five in each window of ten seconds.
    assert!(logged.len() <= 5 * stats.len() * 12, "{}", logged.len());
}
