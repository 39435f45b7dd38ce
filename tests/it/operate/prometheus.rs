//! The dashboard and the rules in `grafana/`, asked of a Prometheus that scrapes the ledger.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::{
    Bouncer, BouncerOptions, Cluster, ClusterOptions, PoolMode, TestDatabase, beside, through_port,
    wait_until,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::SOON;
use crate::programs;

/// A Prometheus that scrapes one address every second; it ends when this is dropped.
struct Prometheus {
    _process: Child,
    client: reqwest::Client,
    base: String,
    _folder: TempDir,
}

impl Prometheus {
    async fn scraping(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana/rules.yaml");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs:\n- job_name: ledger\n  static_configs: [{{targets: [\"{target}\"]}}]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        // Nobody takes it in between but by chance, and then it does not start.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("no prometheus (Debian: prometheus): {error}"));
        Self {
            _process: process,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{address}/api/v1"),
            _folder: folder,
        }
    }

    /// The answer to a question, `None` where nobody answers yet.
    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.base), query).unwrap();
        let answer = self.client.get(url).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        Some(answer["data"].clone())
    }

    /// Whether a query has at least one series with a number.
    async fn has_data(&self, query: &str) -> bool {
        let Some(data) = self.ask("/query", &[("query", query)]).await else {
            return false;
        };
        let series = data["result"].as_array().unwrap();
        series.iter().any(|one| one["value"][1] != "NaN")
    }
}

/// A running ledger with a page; it ends when this is dropped.
struct Ledger {
    _process: Child,
    base: String,
    page: String,
    _folder: TempDir,
}

impl Ledger {
    async fn start(url: &str, replica: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(programs::ledger())
            .env_clear()
            .env("APP_ENV", "test")
            .env("DATABASE_URL", url)
            .env("DATABASE_URL_REPLICA", replica)
            .env("LEDGER_LISTEN", "127.0.0.1:0")
            .env("LEDGER_PAGE_LISTEN", "127.0.0.1:0")
            .env("LEDGER_ASKS_POOLER", "1")
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = async || match lines.next_line().await.unwrap() {
            Some(address) => address,
            None => panic!("the ledger did not start"),
        };
        let (base, page) = (address().await, address().await);
        Self {
            _process: process,
            base: format!("http://{base}"),
            page,
            _folder: folder,
        }
    }

    /// Opens accounts, and has clients move money between them until the task is aborted: some of it in conflict.
    async fn under_load(&self) -> Vec<tokio::task::JoinHandle<()>> {
        let client = reqwest::Client::new();
        let (base, mut accounts) = (self.base.clone(), Vec::new());
        for name in ["one", "two"] {
            let account = json!({ "name": name, "deposit": 1_000_000 });
            let request = client.post(format!("{base}/accounts")).json(&account);
            let opened: Value = request.send().await.unwrap().json().await.unwrap();
            accounts.push(opened["id"].as_i64().unwrap());
        }
        let busy = (0..4).map(|nth| {
            let (client, base, accounts) = (client.clone(), base.clone(), accounts.clone());
            beside(async move {
                loop {
                    let (from, to) = (accounts[nth % 2], accounts[(nth + 1) % 2]);
                    let transfer = json!({ "from": from, "to": to, "amount": 1 });
                    let transfer = client.post(format!("{base}/transfers")).json(&transfer);
                    let _answer = transfer.send().await;
                    let _answer = client.get(format!("{base}/accounts/{from}")).send().await;
                }
            })
        });
        busy.collect()
    }
}

/// req 0.18: every query of the dashboard has data while a ledger with a PgBouncer and a replica is at work, every
/// variable has values, and every rule can be evaluated.
#[tokio::test]
async fn every_panel_has_data_by_prometheus() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let replica = cluster.replica("replica").await.unwrap();
    let db = TestDatabase::create_on(&cluster).await.unwrap();
    replica.caught_up_with(&cluster).await.unwrap();
    let telling =
        BouncerOptions::mode(PoolMode::Transaction).stats_user(db.role().name(), &db.password());
    let bouncer = Bouncer::start(&cluster, telling).await.unwrap();
    let replicas = through_port(&db.url(), replica.port());
    let ledger = Ledger::start(&db.pooled_url(&bouncer), &replicas).await;
    let load = ledger.under_load().await;
    let prometheus = Prometheus::scraping(&ledger.page).await;

    let dashboard = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../grafana/dashboard.json"
    ));
    let dashboard: Value = serde_json::from_str(&dashboard.unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| Some((panel, panel["targets"].as_array()?)));
    let mut asked = 0;
    for (panel, targets) in targets {
        for target in targets {
            let query = as_grafana_asks(target["expr"].as_str().unwrap());
            let what = format!("{} has data: {query}", panel["title"]);
            wait_until(&what, PATIENCE, async || prometheus.has_data(&query).await).await;
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked} queries are too few to be all");

    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    for variable in variables.filter(|variable| variable["type"] == "query") {
        let definition = variable["definition"].as_str().unwrap();
        let inside = definition.strip_prefix("label_values(").unwrap();
        let (series, label) = inside.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
        let path = format!("/label/{label}/values");
        let series = as_grafana_asks(series);
        let values = prometheus
            .ask(&path, &[("match[]", &series)])
            .await
            .unwrap();
        assert!(!values.as_array().unwrap().is_empty(), "{definition}");
    }

    wait_until("every rule is evaluated", SOON, async || {
        let groups = prometheus.ask("/rules", &[]).await.unwrap();
        let rules = groups["groups"][0]["rules"].as_array().unwrap().clone();
        assert!(rules.len() >= 10, "{groups}");
        rules.iter().all(|rule| {
            assert_ne!(rule["health"], "err", "{rule}");
            rule["health"] == "ok"
        })
    })
    .await;
    load.iter().for_each(tokio::task::JoinHandle::abort);
}

/// With every value of every variable chosen.
fn as_grafana_asks(query: &str) -> String {
    ["$job", "$instance", "$pool"].iter().fold(
        query.replace("$__rate_interval", "30s"),
        |query, variable| query.replace(variable, ".+"),
    )
}

/// Longer than it takes until a conflict has been scraped twice.
const PATIENCE: Duration = Duration::from_secs(60);
