//! The reference service as a client and an orchestrator meet it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{
    Bouncer, BouncerBinary, BouncerOptions, Cluster, ClusterOptions, PoolMode, Stop, TestDatabase,
    wait_until,
};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::programs;

/// A running ledger, killed on drop.
struct Ledger {
    process: Child,
    input: Option<ChildStdin>,
    client: reqwest::Client,
    base: String,
    _directory: TempDir,
}

impl Ledger {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(programs::ledger())
            .env_clear()
            .env("LEDGER_LISTEN", "127.0.0.1:0")
            .env("LEDGER_DRAIN_MS", "600")
            .envs(variables.iter().copied())
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let Some(address) = lines.next_line().await.unwrap() else {
            panic!("the ledger did not start");
        };
        let client = reqwest::Client::new();
        Self {
            input: process.stdin.take(),
            process,
            client,
            base: format!("http://{address}"),
            _directory: directory,
        }
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = self
            .client
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap();
        (response.status(), response.json().await.unwrap_or_default())
    }

    async fn open(&self, name: &str, deposit: i64) -> i64 {
        let (status, account) = self
            .post("/accounts", &json!({ "name": name, "deposit": deposit }))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{account}");
        account["id"].as_i64().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

async fn assert_the_books_balance(database: &TestDatabase) {
    let sum: i64 = database
        .scalar("SELECT coalesce(sum(delta), 0)::bigint FROM entries")
        .await
        .unwrap();
    let wrong = "SELECT count(*) FROM accounts a WHERE balance <> \
                 (SELECT coalesce(sum(delta), 0) FROM entries e WHERE e.account = a.id)";
    let wrong: i64 = database.scalar(wrong).await.unwrap();
    assert_eq!((sum, wrong), (0, 0));
}

/// case R20: also where the pooler shares the server's few connections and keeps no statements.
#[tokio::test]
async fn concurrent_transfers_through_a_pooler_keep_the_books_balanced() {
    let database = TestDatabase::create().await.unwrap();
    let Some(old) = BouncerBinary::older_than(1, 21) else {
        panic!("no PgBouncer before 1.21; run `just setup`");
    };
    let options = BouncerOptions::mode(PoolMode::Transaction)
        .pool_size(3)
        .binary(old);
    let bouncer = Bouncer::start(database.server(), options).await.unwrap();
    let ledger = Ledger::start(&[("DATABASE_URL", &database.pooled_url(&bouncer))]).await;
    let mut accounts = Vec::new();
    for name in ["one", "two", "three", "four"] {
        accounts.push(ledger.open(name, 100).await);
    }

    let transfers = (0..40).map(|n| {
        let (from, to) = (accounts[n % 4], accounts[(n + 1 + n / 4 % 3) % 4]);
        let transfer = json!({ "from": from, "to": to, "amount": 1 + n % 3 });
        let ledger = &ledger;
        async move { ledger.post("/transfers", &transfer).await.0 }
    });
    let statuses = futures_util::future::join_all(transfers).await;
    let created = statuses
        .iter()
        .filter(|status| **status == StatusCode::CREATED)
        .count();
    assert!(
        statuses
            .iter()
            .all(|s| [StatusCode::CREATED, StatusCode::CONFLICT].contains(s)),
        "{statuses:?}"
    );
    let recorded: i64 = database
        .scalar("SELECT count(*) FROM transfers")
        .await
        .unwrap();
    assert_eq!(
        recorded,
        i64::try_from(created).unwrap() + 4,
        "the deposits are transfers too"
    );
    assert_the_books_balance(&database).await;

    let one = accounts[0];
    let (status, account) = ledger.get(&format!("/accounts/{one}")).await;
    let balance: i64 = database
        .scalar(&format!("SELECT balance FROM accounts WHERE id = {one}"))
        .await
        .unwrap();
    assert_eq!(
        (status, account["balance"].as_i64()),
        (StatusCode::OK, Some(balance))
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let database = TestDatabase::create().await.unwrap();
    let ledger = Ledger::start(&[("DATABASE_URL", &database.url())]).await;
    let (rich, poor) = (ledger.open("rich", 10).await, ledger.open("poor", 0).await);
    for transfer in [
        json!({ "from": poor, "to": rich, "amount": 1 }),
        json!({ "from": rich, "to": 999_999, "amount": 1 }),
        json!({ "from": 999_999, "to": rich, "amount": 1 }),
        json!({ "from": rich, "to": rich, "amount": 1 }),
        json!({ "from": rich, "to": poor, "amount": -1 }),
        json!({ "from": rich, "to": poor, "amount": i64::MAX }),
        json!({ "from": rich }),
    ] {
        let (status, body) = ledger.post("/transfers", &transfer).await;
        assert_eq!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{transfer}: {body}"
        );
        assert!(body["error"].is_string());
    }
    assert_eq!(
        ledger.get("/accounts/999999").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        ledger.post("/accounts", &json!({ "name": "" })).await.0,
        422
    );
    assert_the_books_balance(&database).await;
}

/// req 2.29, req 4.25
#[tokio::test]
async fn a_signal_withdraws_readiness_first_and_ends_the_service_with_code_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let database = TestDatabase::create().await.unwrap();
        let mut ledger = Ledger::start(&[("DATABASE_URL", &database.url())]).await;
        assert_eq!(ledger.get("/live").await.0, StatusCode::OK);
        assert_eq!(ledger.get("/ready").await.0, StatusCode::OK);

        ledger.signal(signal);
        wait_until(
            "readiness is withdrawn",
            Duration::from_millis(400),
            async || ledger.get("/ready").await.0 == StatusCode::SERVICE_UNAVAILABLE,
        )
        .await;
        // It is not ready, but still serves clients that have not noticed.
        ledger.open("late", 1).await;
        let ended = tokio::time::timeout(Duration::from_secs(5), ledger.process.wait()).await;
        assert_eq!(ended.unwrap().unwrap().code(), Some(0));
        assert_the_books_balance(&database).await;
    }
}

/// req 2.29, case R11
#[tokio::test]
async fn a_request_in_progress_is_finished_before_the_service_ends() {
    let database = TestDatabase::create().await.unwrap();
    let mut ledger = Ledger::start(&[("DATABASE_URL", &database.url())]).await;
    let (one, two) = (ledger.open("one", 100).await, ledger.open("two", 0).await);
    let blocker = database.connect().await.unwrap();
    blocker
        .batch_execute("BEGIN; LOCK TABLE transfers")
        .await
        .unwrap();

    let body = json!({ "from": one, "to": two, "amount": 7 });
    let transfer = ledger.post("/transfers", &body);
    let shutting_down = async {
        wait_until("the transfer waits", Duration::from_secs(5), async || {
            let sql = "SELECT count(*) FROM pg_locks WHERE relation = 'transfers'::regclass AND NOT granted";
            database.scalar::<i64>(sql).await.unwrap() == 1
        })
        .await;
        ledger.signal(Signal::TERM);
        wait_until("the port is closed", Duration::from_secs(5), async || {
            tokio::net::TcpStream::connect(ledger.base.trim_start_matches("http://"))
                .await
                .is_err()
        })
        .await;
        blocker.batch_execute("COMMIT").await.unwrap();
    };
    let ((status, body), ()) = tokio::join!(transfer, shutting_down);
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(ledger.process.wait().await.unwrap().code(), Some(0));
    assert_the_books_balance(&database).await;
}

#[tokio::test]
async fn a_schema_that_lacks_a_migration_is_not_ready_until_it_is_there() {
    let database = TestDatabase::create().await.unwrap();
    let newest = "SELECT max(version)::text FROM __diesel_schema_migrations";
    let newest: String = database.scalar(newest).await.unwrap();
    let of_newest = format!("WHERE version = '{newest}'");
    database
        .sql(&format!(
            "DELETE FROM __diesel_schema_migrations {of_newest}"
        ))
        .await
        .unwrap();
    let ledger = Ledger::start(&[("DATABASE_URL", &database.url())]).await;
    let (status, answer) = ledger.get("/ready").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let pending = answer["schema"]["pending"].as_array().unwrap();
    assert_eq!(pending.len(), 1, "{answer}");
    assert!(
        pending[0].as_str().unwrap().starts_with(&newest),
        "{answer}"
    );

    // The database has a migration that this service does not know. So the service is an older one,
    // and is ready.
    database
        .sql(&format!(
            "INSERT INTO __diesel_schema_migrations VALUES ('{newest}'), ('99991231')"
        ))
        .await
        .unwrap();
    assert_eq!(ledger.get("/ready").await.0, StatusCode::OK);
}

/// case R40, req 4.46: a URL in a file, and a source that nobody else looks at.
#[tokio::test]
async fn a_hangup_takes_the_new_password_into_use_without_a_failed_request() {
    for of_source in [false, true] {
        let database = TestDatabase::create().await.unwrap();
        let secrets = tempfile::tempdir().unwrap();
        let file = secrets.path().join("url");
        std::fs::write(&file, database.url()).unwrap();
        let path = file.to_str().unwrap();
        let (port, role) = (database.server().port(), database.role().name());
        let unknown = harness::url(port, database.name(), role, "nobody");
        let by_url = [("DATABASE_URL_FILE", path)];
        let by_source = [
            ("DATABASE_URL", &*unknown),
            ("APP_DB__CREDENTIALS__SOURCE", "file"),
            ("APP_DB__CREDENTIALS__PATH", path),
            ("APP_DB__CREDENTIALS__POLL", "1h"),
        ];
        let mut variables = vec![("APP_DB__CREDENTIALS__DRAIN_SPREAD", "500ms")];
        match of_source {
            true => variables.extend(by_source),
            false => variables.extend(by_url),
        }
        let ledger = Ledger::start(&variables).await;
        let one = ledger.open("one", 1_000_000).await;
        let two = ledger.open("two", 0).await;

        let second = database.add_role().await.unwrap();
        let renewed = match of_source {
            // The former user stays valid: nothing but the signal leads to the new one.
            true => database.url_as(&second),
            false => {
                database.set_password("newpassword").await.unwrap();
                database.url()
            }
        };
        std::fs::write(&file, renewed).unwrap();
        ledger.signal(Signal::HUP);
        let started = Instant::now();
        let write_pool = async || ledger.get("/status").await.1["pools"][0].clone();
        loop {
            let transfer = json!({ "from": one, "to": two, "amount": 1 });
            assert_eq!(
                ledger.post("/transfers", &transfer).await.0,
                StatusCode::CREATED
            );
            let pool = write_pool().await;
            if pool["generation"] == 2 && pool["retiring"] == 0 {
                assert!(pool["retired"].as_u64().unwrap() > 0, "{pool}");
                break;
            }
            assert!(started.elapsed() < crate::SOON, "{pool}");
        }
        assert_the_books_balance(&database).await;
    }
}

/// case R05, case R65
#[tokio::test]
async fn without_a_database_the_service_lives_says_so_and_recovers_by_itself() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let database = TestDatabase::create_on(&cluster).await.unwrap();
    let variables = [
        ("DATABASE_URL", database.url()),
        ("APP_DB__PROFILE__CHECKOUT_TIMEOUT", "500ms".to_owned()),
    ];
    let ledger = Ledger::start(&variables.each_ref().map(|(name, value)| (*name, &**value))).await;
    let account = format!("/accounts/{}", ledger.open("one", 5).await);

    cluster.stop(Stop::Fast).await.unwrap();
    let url = format!("{}{account}", ledger.base);
    let response = ledger.client.get(url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(
        ledger.get("/ready").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(ledger.get("/live").await.0, StatusCode::OK);

    cluster.start_again().await.unwrap();
    wait_until("it has recovered", Duration::from_secs(5), async || {
        ledger.get("/ready").await.0 == StatusCode::OK
            && ledger.get(&account).await.0 == StatusCode::OK
    })
    .await;
}

/// The service must not outlive the program that started it, however that program ended.
#[tokio::test]
async fn the_end_of_its_input_ends_the_service_where_that_is_asked_for() {
    let database = TestDatabase::create().await.unwrap();
    let url = database.url();
    let mut ledger =
        Ledger::start(&[("DATABASE_URL", &url), ("LEDGER_ENDS_WITH_INPUT", "1")]).await;
    ledger.open("one", 1).await;
    drop(ledger.input.take());
    let ended = tokio::time::timeout(Duration::from_secs(5), ledger.process.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(0));

    let mut unasked = Ledger::start(&[("DATABASE_URL", &url)]).await;
    drop(unasked.input.take());
    unasked.open("two", 1).await;
}
