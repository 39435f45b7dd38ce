//! Alerts on their way to their receivers.

use std::time::{Duration, Instant};

use app_db::Database;
use db_observe::{AlertOptions, Level, Mail, OutboxStatus, RULES, Rule, Slack, Webhook};
use harness::{TestDatabase, wait_until};

use super::local_servers::{HttpServer, Reply, SmtpServer};
use super::watching;
use crate::SOON;
use crate::database::Log;
use crate::transaction::database;

/// A rule that fires as soon as a connection is in use, and is over as soon as none is.
fn in_use(level: Level) -> Rule {
    let mut rule = RULES[0].clone();
    rule.name = "InUse";
    rule.level = level;
    rule.number = |reading| Some(reading.utilisation);
    (rule.above, rule.until) = (0.0, 0.0);
    (rule.lasting, rule.over_for) = (Duration::ZERO, Duration::ZERO);
    rule.words = |_| "is in use & <busy>".to_owned();
    rule
}

async fn small(db: &TestDatabase) -> Database {
    database(&db.url(), &[("APP_DB__POOLS__WRITE__MAX", "2")]).await
}

/// req 3.26, req 0.15: Slack, a webhook and mail are told of a critical alert and its end, each in its own form;
/// mail of
/// nothing else.
#[tokio::test]
async fn every_sink_is_told_in_its_own_form() {
    let db = TestDatabase::empty().await.unwrap();
    let database = small(&db).await;
    let (slack, webhook) = (HttpServer::start(&[]).await, HttpServer::start(&[]).await);
    let smtp = SmtpServer::start().await;
    let mail = Mail::new(smtp.url(), "db@service.example", ["night@service.example"]).unwrap();
    let mut warning = in_use(Level::Warning);
    warning.name = "AlsoInUse";
    let options = AlertOptions::default()
        .rules(vec![in_use(Level::Critical), warning])
        .slack(Slack::new(slack.url()).unwrap())
        .webhook(Webhook::new(webhook.url()).unwrap())
        .mail(mail);
    let operations = watching(&database, options);
    let held = database.get().await.unwrap();
    wait_until("the webhook hears of both", SOON, async || {
        webhook.seen().len() == 2
    })
    .await;
    drop(held);
    wait_until("and of their ends", SOON, async || {
        webhook.seen().len() == 4
    })
    .await;
    wait_until("Slack hears one a second", SOON, async || {
        slack.seen().len() == 4
    })
    .await;
    wait_until("the mail is there", SOON, async || smtp.mails().len() == 2).await;
    operations.stop().await;

    let texts = slack.seen();
    let firing = texts
        .iter()
        .find(|text| text.contains("[CRITICAL]"))
        .unwrap();
    let json: serde_json::Value = serde_json::from_str(firing).unwrap();
    let text = json["text"].as_str().unwrap();
    assert!(
        text.starts_with("[CRITICAL] pool `write` is in use &amp; &lt;busy&gt;"),
        "{text}"
    );
    let (_, at) = text.rsplit_once(" at ").unwrap();
    assert!(
        at.ends_with('Z') && at.len() == "2026-08-01T12:00:00Z".len(),
        "{at}"
    );

    let told: Vec<serde_json::Value> = webhook
        .seen()
        .iter()
        .map(|body| serde_json::from_str(body).unwrap())
        .collect();
    let critical: Vec<_> = told
        .iter()
        .filter(|json| json["alerts"][0]["labels"]["severity"] == "critical")
        .collect();
    assert_eq!(
        (&critical[0]["status"], &critical[1]["status"]),
        (&"firing".into(), &"resolved".into())
    );
    let fingerprint = |json: &serde_json::Value| json["alerts"][0]["fingerprint"].clone();
    assert_eq!(fingerprint(critical[0]), fingerprint(critical[1]));

    for mail in smtp.mails() {
        assert!(mail.contains("Subject: DB Pool Alert"), "{mail}");
        assert!(
            mail.contains("[CRITICAL]") && !mail.contains("[WARNING]"),
            "{mail}"
        );
        assert!(mail.contains("To: night@service.example"), "{mail}");
    }
}

fn slack_of(operations: &db_observe::Operations) -> OutboxStatus {
    let statuses = operations.outboxes();
    statuses
        .into_iter()
        .find(|status| status.sink == "slack")
        .unwrap()
}

/// case R64, req 3.26: a sink that says 429 or 500, points elsewhere or never answers is told later; callers do
/// not notice, and nobody is
/// told its address.
#[tokio::test]
async fn a_sink_that_is_down_is_told_later_and_nobody_waits() {
    let (log, _default) = Log::capture();
    let db = TestDatabase::empty().await.unwrap();
    let database = small(&db).await;
    let elsewhere = HttpServer::start(&[]).await;
    let redirect: &'static str =
        Box::leak(format!("302 Found\r\nlocation: {}", elsewhere.url()).into_boxed_str());
    let slack = HttpServer::start(&[
        Reply::Status("429 Too Many Requests\r\nretry-after: 1"),
        Reply::Status("500 Internal Server Error"),
        Reply::Status(redirect),
    ])
    .await;
    let options = AlertOptions::default()
        .rules(vec![in_use(Level::Warning)])
        .slack(Slack::new(slack.url()).unwrap());
    let operations = watching(&database, options);
    let held = database.get().await.unwrap();
    wait_until("it is told at last", SOON * 2, async || {
        slack_of(&operations).sent == 1
    })
    .await;
    drop(held);
    let status = slack_of(&operations);
    assert_eq!(
        (status.failed, status.dropped, status.last_failure),
        (3, 0, None)
    );
    assert_eq!(slack.seen().len(), 4);
    assert!(elsewhere.seen().is_empty(), "a redirect is not followed");
    let text = log.text();
    assert!(text.contains("answered with 429"), "{text}");
    assert!(!text.contains("urlcanary"), "{text}");
    operations.stop().await;
}

/// case R64: while a sink does not answer, callers are served and at most a hundred alerts wait. The silence
/// itself causes no alert.
#[tokio::test]
async fn a_sink_that_never_answers_holds_up_nobody() {
    let db = TestDatabase::empty().await.unwrap();
    let database = small(&db).await;
    let never = HttpServer::start(&[Reply::Never; 200]).await;
    let options = AlertOptions::default()
        .rules(vec![in_use(Level::Warning)])
        .slack(Slack::new(never.url()).unwrap());
    let operations = db_observe::Operations::of(&database)
        .alerts(options)
        .interval(Duration::from_millis(1))
        .monitor(super::rarely())
        .start();
    let mut slowest = Duration::ZERO;
    let pool = database.pool("write").unwrap();
    wait_until("the oldest make room", SOON * 3, async || {
        let began = Instant::now();
        let held = database.get().await.unwrap();
        slowest = slowest.max(began.elapsed());
        wait_until("it fires", SOON, async || !operations.firing().is_empty()).await;
        drop(held);
        wait_until("it is over", SOON, async || operations.firing().is_empty()).await;
        slack_of(&operations).dropped > 2
    })
    .await;
    let status = slack_of(&operations);
    assert!(status.queued <= 100 && status.sent == 0, "{status:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(pool.status().checkouts.timed_out, 0);
    assert!(operations.told().iter().all(|alert| alert.rule == "InUse"));
    operations.stop().await;
}
