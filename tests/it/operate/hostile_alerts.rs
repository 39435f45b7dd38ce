//! Text that somebody else has chosen, on its way through each channel of alerts.

use std::time::Duration;

use db_observe::{AlertOptions, Level, Mail, RULES, Rule, Slack, Webhook};
use harness::{TestDatabase, wait_until};

use super::local_servers::{HttpServer, SmtpServer};
use super::{run, watching};
use crate::SOON;
use crate::transaction::database;

/// What a name in SQL can hold that a channel may take for more than text, with a value beside it.
const HOSTILE: &str = "select 4711 as \"<!channel> <@U1> @channel @here *b* \u{1b}[31m\u{202e}\r\n.\r\nSubject: \
                       forged\r\n\r\n<script>alert(1)</script> [x](http://evil.example) & `c`\", 'canary'";

/// A rule that tells of every diagnosis, and so of the last statement of who holds a connection.
fn troubled() -> Rule {
    let mut rule = RULES[0].clone();
    rule.name = "Troubled";
    rule.level = Level::Critical;
    rule.number = |reading| match reading.diagnosis.as_deref() {
        Some(diagnosis) if diagnosis.contains("@here @here") => Some(2.0),
        Some(_) => Some(1.0),
        None => Some(0.0),
    };
    (rule.lasting, rule.over_for) = (Duration::ZERO, Duration::ZERO);
    rule.words = |number| {
        let more = if number > 1.0 { 1 << 20 } else { 0 };
        format!("is in trouble\r\nX-Forged: yes{}", "!".repeat(more))
    };
    rule
}

/// Has a holder leak a connection after each of these statements, until each has been told of.
async fn tell_of(options: AlertOptions, told: impl Fn() -> usize) {
    let db = TestDatabase::empty().await.unwrap();
    let variables = [
        ("APP_DB__POOLS__WRITE__MAX", "2"),
        ("APP_DB__PROFILE__LEAK_THRESHOLD", "50ms"),
    ];
    let database = database(&db.url(), &variables).await;
    let pool = database.pool("write").unwrap();
    let operations = watching(&database, options.rules(vec![troubled()]));
    let long = format!("select 4711 as \"{}\"", "@here ".repeat(200_000));
    for (sql, beginning_and_end) in [(HOSTILE, 2), (&long, 4)] {
        let mut conn = pool.get().await.unwrap();
        super::ask(&mut conn, sql).await;
        wait_until("a leak is found", SOON, async || {
            !operations.firing().is_empty()
        })
        .await;
        drop(conn);
        wait_until("it is over", SOON, async || operations.firing().is_empty()).await;
        wait_until("both are told", SOON, async || told() == beginning_and_end).await;
    }
    run(pool, "select 1").await;
    operations.stop().await;
}

/// One line, without a value, not too long for anybody, and nothing in it that a terminal obeys.
#[track_caller]
fn is_one_short_line(text: &str) {
    for forbidden in ["canary", "4711", "\n", "\r", "\u{1b}", "\u{202e}"] {
        assert!(!text.contains(forbidden), "{forbidden:?} in {text}");
    }
    assert!(text.starts_with("[CRITICAL] "), "{text}");
    assert!(text.len() < 4_000, "{} bytes", text.len());
}

/// Nobody is called by a statement, and no part of it is markup or a link.
#[tokio::test]
async fn slack_gets_text_that_calls_nobody() {
    let slack = HttpServer::start(&[]).await;
    let options = AlertOptions::default().slack(Slack::new(slack.url()).unwrap());
    tell_of(options, || slack.seen().len()).await;
    for body in slack.seen() {
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let text = json["text"].as_str().unwrap();
        is_one_short_line(text);
        for forbidden in ["<", ">", "@channel", "@here", "@U1"] {
            assert!(!text.contains(forbidden), "{forbidden:?} in {text}");
        }
        assert_eq!(json["mrkdwn"], false, "{body}");
        assert_eq!(json["unfurl_links"], false, "{body}");
    }
    let told = slack.seen().concat();
    assert!(told.contains("&lt;!channel&gt;"), "{told}");
}

/// A statement ends no mail, adds no header, and is read as what it is.
#[tokio::test]
async fn a_mail_stays_one_mail() {
    let smtp = SmtpServer::start().await;
    let mail = Mail::new(smtp.url(), "db@service.example", ["night@service.example"]).unwrap();
    tell_of(AlertOptions::default().mail(mail), || smtp.mails().len()).await;
    for mail in smtp.mails() {
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        let subjects = head.lines().filter(|line| line.starts_with("Subject:"));
        assert_eq!(
            subjects.collect::<Vec<_>>(),
            ["Subject: DB Pool Alert"],
            "{mail}"
        );
        assert!(!head.contains("X-Forged"), "{mail}");
        assert!(
            head.contains("Content-Type: text/plain; charset=utf-8"),
            "{head}"
        );
        assert!(mail.lines().all(|line| line.len() <= 998), "{mail}");
        is_one_short_line(decoded(head, body).trim_end());
    }
}

/// The text of a body in quoted-printable or as it is.
fn decoded(head: &str, body: &str) -> String {
    if !head.contains("quoted-printable") {
        assert!(head.contains("7bit"), "{head}");
        return body.to_owned();
    }
    let body = body.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = body.as_bytes();
    while let [first, others @ ..] = rest {
        let is_code = *first == b'=';
        let byte = match is_code {
            true => u8::from_str_radix(std::str::from_utf8(&others[..2]).unwrap(), 16).unwrap(),
            false => *first,
        };
        bytes.push(byte);
        rest = if is_code { &others[2..] } else { others };
    }
    String::from_utf8(bytes).unwrap()
}

/// A receiver of webhooks finds one record with each text in its place.
#[tokio::test]
async fn a_webhook_stays_one_record() {
    let webhook = HttpServer::start(&[]).await;
    let options = AlertOptions::default().webhook(Webhook::new(webhook.url()).unwrap());
    tell_of(options, || webhook.seen().len()).await;
    for body in webhook.seen() {
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let alerts = json["alerts"].as_array().unwrap();
        let [alert] = alerts.as_slice() else {
            panic!("{body}");
        };
        is_one_short_line(alert["annotations"]["description"].as_str().unwrap());
        assert_eq!(alert["labels"].as_object().unwrap().len(), 3, "{body}");
        assert_eq!(
            json["groupKey"],
            "{}:{alertname=\"Troubled\", pool=\"write\"}"
        );
    }
}
