//! The second example as its clients meet it.

use std::process::Stdio;
use std::time::Duration;

use harness::{Bouncer, BouncerOptions, PoolMode, TestDatabase, wait_until};
use reqwest::{Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::SOON;
use crate::programs;

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/app-db/examples/orders"
);
const TABLE: &str = include_str!(
    "../../crates/app-db/examples/orders/migrations/2026-11-27-080000_create_orders/up.sql"
);

/// The running service, killed on drop.
struct Orders {
    process: Child,
    client: reqwest::Client,
    base: String,
}

impl Orders {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let mut process = Command::new(programs::orders())
            .env_clear()
            .env("APP__HTTP__LISTEN", "127.0.0.1:0")
            .envs(variables.iter().copied())
            .current_dir(FOLDER)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let Some(address) = lines.next_line().await.unwrap() else {
            panic!("the service did not start");
        };
        let orders = Self {
            process,
            client: reqwest::Client::new(),
            base: format!("http://{address}"),
        };
        wait_until("it is ready", SOON, async || {
            orders.get("/ready").await.0 == StatusCode::OK
        })
        .await;
        orders
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.base);
        let response = self.client.get(url).send().await.unwrap();
        (response.status(), response.json().await.unwrap_or_default())
    }

    async fn place(&self, reference: &str, item: &str, amount: i64) -> (StatusCode, Value) {
        let order = json!({ "reference": reference, "item": item, "amount": amount });
        let request = self.client.post(format!("{}/orders", self.base));
        let response = request.json(&order).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn events(&self) -> Events {
        let request = self.client.get(format!("{}/events", self.base));
        Events {
            response: request.send().await.unwrap(),
            text: String::new(),
        }
    }
}

/// Server-sent events as they come.
struct Events {
    response: Response,
    text: String,
}

impl Events {
    /// Name and data of the next one; `None` when the stream has ended.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let lines = event.lines();
                    let mut values = lines.filter_map(|line| line.strip_prefix(name));
                    values.next().unwrap_or_default().trim().to_owned()
                };
                let next = (field("event:"), field("data:"));
                self.text = rest.to_owned();
                return Some(next);
            }
            let chunk = timeout(SOON, self.response.chunk()).await.unwrap();
            let chunk = chunk.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next order that was placed.
    async fn placed(&mut self) -> Value {
        loop {
            let (event, data) = self.next().await.unwrap();
            match &*event {
                "placed" => return serde_json::from_str(&data).unwrap(),
                other => assert_eq!(other, "missed"),
            }
        }
    }
}

async fn table() -> TestDatabase {
    let db = TestDatabase::empty().await.unwrap();
    db.sql(&format!("{TABLE}; GRANT ALL ON orders TO public"))
        .await
        .unwrap();
    db
}

/// Behind a pooler, which neither hears notifications nor keeps a session.
#[tokio::test]
async fn orders_are_placed_once_reported_and_told_to_everybody() {
    let db = table().await;
    let options = BouncerOptions::mode(PoolMode::Transaction);
    let bouncer = Bouncer::start(db.server(), options).await.unwrap();
    let orders = Orders::start(&[
        ("DATABASE_URL", &db.pooled_url(&bouncer)),
        ("DATABASE_URL_DIRECT", &db.url()),
    ])
    .await;
    let (mut one, mut two) = (orders.events().await, orders.events().await);

    let (status, placed) = orders.place("A1", "tea", 3).await;
    assert_eq!(status, StatusCode::CREATED, "{placed}");
    let id = placed["id"].as_i64().unwrap();
    let order = json!({ "id": id, "reference": "A1", "item": "tea", "amount": 3 });
    assert_eq!(one.placed().await, order);
    assert_eq!(two.placed().await, order);
    assert_eq!(
        orders.get(&format!("/orders/{id}")).await,
        (StatusCode::OK, order)
    );

    let (status, refused) = orders.place("A1", "tea", 3).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    assert_eq!(refused["error"], "there is an order with this reference");
    assert_eq!(orders.place("A2", "tea", 0).await.0, 422);
    assert_eq!(orders.get("/orders/999999").await.0, StatusCode::NOT_FOUND);

    assert_eq!(orders.place("B1", "milk", 5).await.0, StatusCode::CREATED);
    assert_eq!(
        one.placed().await["reference"],
        "B1",
        "nothing of what failed was told"
    );
    let report = json!([
        { "item": "milk", "orders": 1, "amount": 5 },
        { "item": "tea", "orders": 1, "amount": 3 },
    ]);
    assert_eq!(orders.get("/report").await, (StatusCode::OK, report));
}

/// A listener that is lost says so to the clients, and a report that hangs keeps nobody from placing orders.
#[tokio::test]
async fn a_lost_listener_and_a_long_report_do_no_harm() {
    let db = table().await;
    let orders = Orders::start(&[("DATABASE_URL", &db.url())]).await;
    let mut events = orders.events().await;
    orders.place("A", "tea", 1).await;
    assert_eq!(events.placed().await["reference"], "A");
    let ended: i64 = db
        .scalar("select count(pg_terminate_backend(pid)) from pg_stat_activity where query like 'LISTEN%'")
        .await
        .unwrap();
    assert_eq!(ended, 1);
    assert_eq!(
        events.next().await,
        Some(("missed".to_owned(), String::new()))
    );
    orders.place("B", "tea", 1).await;
    assert_eq!(events.placed().await["reference"], "B");

    let blocker = db.admin().await.unwrap();
    blocker
        .batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let reports = futures_util::future::join_all((0..4).map(|_| orders.get("/report")));
    let meanwhile = async {
        wait_until("both of the pool hang", SOON, async || {
            let waiting =
                "select count(*) from pg_locks where relation = 'orders'::regclass and not granted";
            db.scalar::<i64>(waiting).await.unwrap() == 2
        })
        .await;
        assert_eq!(orders.get("/ready").await.0, StatusCode::OK);
        blocker.batch_execute("COMMIT").await.unwrap();
    };
    let (reports, ()) = tokio::join!(reports, meanwhile);
    assert!(reports.iter().all(|(status, _)| *status == StatusCode::OK));
}

/// Clients that follow the events are no reason to stay.
#[tokio::test]
async fn a_signal_ends_the_service_and_its_events() {
    let db = table().await;
    let mut orders = Orders::start(&[("DATABASE_URL", &db.url())]).await;
    let mut events = orders.events().await;
    let pid = Pid::from_raw(orders.process.id().unwrap().cast_signed()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    while events.next().await.is_some() {}
    let ended = timeout(Duration::from_secs(5), orders.process.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));
}
