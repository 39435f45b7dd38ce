//! The status page as a browser and its neighbours get it.

use std::time::Duration;

use app_db::Database;
use db_observe::{AlertOptions, Operations, Page};
use diesel_async::SimpleAsyncConnection;
use harness::{TestDatabase, wait_until};
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{run, watching};
use crate::SOON;
use crate::transaction::database;

/// Serves a router on a port of its own.
pub(super) async fn served(router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// The page as HTML.
pub(crate) async fn html(operations: &Operations) -> String {
    let base = served(Page::new(operations).router()).await;
    let answer = reqwest::get(&base).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.text().await.unwrap()
}

async fn small(db: &TestDatabase, size: &str, leak: &str) -> Database {
    let variables = [
        ("APP_DB__POOLS__WRITE__MAX", size),
        ("APP_DB__PROFILE__LEAK_THRESHOLD", leak),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "30s"),
    ];
    database(&db.url(), &variables).await
}

/// What the page says is wrong, as it is read.
async fn findings(operations: &Operations) -> String {
    let html = html(operations).await;
    let (_, rest) = html.split_once("aria-label=\"findings\">").unwrap();
    let (section, _) = rest.split_once("</section>").unwrap();
    let lines = section.split("<li>").skip(1);
    let lines = lines.map(|line| line.split("</li>").next().unwrap().trim());
    let text = lines.collect::<Vec<_>>().join("\n");
    text.replace("&#39;", "'")
        .replace("&#34;", "\"")
        .replace("&#38;", "&")
}

/// req 0.18, req 0.29: a leak, a long transaction, a pool that is too small and a server that is gone each
/// have a sentence of their own. Without a problem the page says so.
#[tokio::test]
async fn four_troubles_have_four_sentences() {
    let db = TestDatabase::empty().await.unwrap();
    let database = small(&db, "1", "100ms").await;
    let operations = watching(&database, AlertOptions::default());
    assert_eq!(findings(&operations).await, "The pool is well.");
    assert!(operations.report().healthy);

    let leaked = database.get().await.unwrap();
    wait_until("a leak is said", SOON, async || {
        !operations.report().healthy
    })
    .await;
    let leak = findings(&operations).await;
    assert!(leak.contains("it leaks, 1 held without use"), "{leak}");
    assert!(leak.contains("tests/it/operate/page.rs"), "{leak}");
    drop(leaked);

    let mut conn = database.get().await.unwrap();
    conn.batch_execute("begin; select 1").await.unwrap();
    let waiter = tokio::spawn(database.get());
    let long = "long transactions hold 1";
    wait_until("a long transaction is said", SOON, async || {
        findings(&operations).await.contains(long)
    })
    .await;
    drop(conn);
    drop(waiter.await.unwrap().unwrap());

    let pool = database.pool("write").unwrap().clone();
    let busy: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    run(&pool, "select pg_sleep(0.01)").await;
                }
            })
        })
        .collect();
    wait_until("a small pool is said", SOON, async || {
        findings(&operations)
            .await
            .contains("it is too small for its load")
    })
    .await;
    for task in busy {
        task.await.unwrap();
    }
    operations.stop().await;
    database.shutdown(Duration::ZERO).await;

    let gone = dead_server().await;
    let operations = watching(&gone, AlertOptions::default());
    wait_until("a dead server is said", SOON, async || {
        findings(&operations)
            .await
            .contains("the server is not reached")
    })
    .await;
    operations.stop().await;
}

/// A database whose server was there and is gone.
async fn dead_server() -> Database {
    let cluster = harness::Cluster::start(harness::ClusterOptions::default())
        .await
        .unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let database = small(&db, "1", "60s").await;
    cluster.stop(harness::Stop::Immediate).await.unwrap();
    let task = database.clone();
    tokio::spawn(async move { task.get().await.map(drop) });
    database
}

/// SQL that would break a page, a terminal or a record stays text, and no value of it is shown anywhere.
#[tokio::test]
async fn hostile_statements_are_text_without_values() {
    let db = TestDatabase::empty().await.unwrap();
    let database = small(&db, "3", "60s").await;
    let operations = watching(&database, AlertOptions::default());
    let pool = database.pool("write").unwrap();
    let long = format!("select '{}canary', 4711", "x".repeat(1 << 20));
    for sql in [
        "select '<script>canary</script>' as \"<script>alert(1)</script>\"",
        "select 4711 as \"\u{1b}[31mred\"",
        "select 'canary' -- \u{202e}\n, 4711",
        "select 'canary",
        &long,
    ] {
        run(pool, sql).await;
    }
    let mut holder = database.get().await.unwrap();
    holder
        .batch_execute("begin; select 4711, 'canary' as \"<script>\"")
        .await
        .unwrap();
    let base = served(Page::new(&operations).router()).await;
    for path in ["/", "/status.json", "/metrics"] {
        let text = reqwest::get(format!("{base}{path}"))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        for forbidden in ["canary", "4711", "\u{1b}", "\u{202e}", "<script"] {
            let is_json = path == "/status.json" && forbidden == "<script";
            assert!(
                is_json || !text.contains(forbidden),
                "{forbidden:?} in {path}:\n{text}"
            );
        }
        if path == "/status.json" {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(json["statements"].as_array().unwrap().len() >= 3, "{json}");
            assert_eq!(json["pools"][0]["holders"][0]["transaction"], "open");
        }
    }
    drop(holder);
    operations.stop().await;
}

/// The page is only for reading, and only on this machine: other methods, other paths and other host names
/// get nothing.
#[tokio::test]
async fn the_page_is_read_only_and_for_this_host() {
    let db = TestDatabase::empty().await.unwrap();
    let database = small(&db, "2", "60s").await;
    let operations = watching(&database, AlertOptions::default());
    let base = served(Page::new(&operations).allow_host("ops.example").router()).await;
    let client = reqwest::Client::new();
    for path in ["/", "/status.json", "/metrics"] {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let answer = client
                .request(method, format!("{base}{path}"))
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        }
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let headers = answer.headers();
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        let foreign = client
            .get(format!("{base}{path}"))
            .header("host", "evil.example");
        let answer = foreign.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST);
        assert!(answer.text().await.unwrap().is_empty());
        let known = client
            .get(format!("{base}{path}"))
            .header("host", "ops.example:443");
        assert_eq!(known.send().await.unwrap().status(), StatusCode::OK);
    }
    let open = client
        .get(format!("{base}/metrics"))
        .header("accept", "application/openmetrics-text");
    let answer = open.send().await.unwrap();
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    // A client of HTTP would take the dots out itself.
    for path in [
        "/../etc/passwd",
        "/%2e%2e/Cargo.toml",
        "/..",
        "//",
        "/status.json/../../x",
    ] {
        let answer = raw(&base, path).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{path}: {answer}");
    }
    operations.stop().await;
}

async fn raw(base: &str, path: &str) -> String {
    let address = base.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The page is found below any prefix, with a slash and without, and so are its parts by its own links.
#[tokio::test]
async fn a_prefix_works_with_and_without_a_slash() {
    let db = TestDatabase::empty().await.unwrap();
    let database = small(&db, "2", "60s").await;
    let operations = watching(&database, AlertOptions::default());
    let page = || Page::new(&operations);
    let router = page().at("/ops/db").merge(page().at("/slash/"));
    let base = served(router).await;
    for prefix in [
        "/ops/db",
        "/ops/db/",
        "/ops/db/index.html",
        "/slash",
        "/slash/",
    ] {
        let url = reqwest::Url::parse(&format!("{base}{prefix}")).unwrap();
        let answer = reqwest::get(url.clone()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{prefix}");
        let html = answer.text().await.unwrap();
        for part in ["style.css", "status.json", "metrics"] {
            let link = html.split('"').find(|text| text.ends_with(part)).unwrap();
            let answer = reqwest::get(url.join(link).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{link} from {prefix}");
        }
    }
    let elsewhere = reqwest::get(format!("{base}/status.json")).await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    operations.stop().await;
}
