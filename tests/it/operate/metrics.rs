//! Metrics as a scrape and a pipeline of OpenTelemetry get them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use app_db::Database;
use db_observe::{Exporter, Format, OtelExport};
use harness::{Cluster, ClusterOptions, Stop, TestDatabase};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ScopeMetrics};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

use super::{run, watching};
use crate::transaction::{bump, database, prepared};

/// Every series of a text by its name with labels.
pub(super) fn series(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// A database that has done something of everything.
pub(super) async fn used() -> (TestDatabase, Database) {
    let (db, database) = prepared().await;
    for id in 1..=3 {
        let done: diesel::QueryResult<usize> =
            database.write(async move |conn| bump(conn, id).await).await;
        done.unwrap();
    }
    let pool = database.pool("write").unwrap();
    run(pool, "select 1/0").await;
    harness::wait_until("the connection is back", crate::SOON, async || {
        pool.status().idle == 1
    })
    .await;
    (db, database)
}

/// req 0.12, req 0.13, req 0.14, req 1.16, req 1.17, req 1.18, req 4.32: every name of OpenTelemetry's pool
/// metrics and
/// of ours, with its type and labels, in both texts.
#[tokio::test]
async fn every_metric_has_its_name_type_and_labels() {
    let (_db, database) = used().await;
    let exporter = Exporter::with_fingerprints(&database, None, 10);
    let text = exporter.encode(Format::Prometheus);
    for (name, kind) in [
        ("db_client_connection_count", "gauge"),
        ("db_client_connection_idle_max", "gauge"),
        ("db_client_connection_idle_min", "gauge"),
        ("db_client_connection_max", "gauge"),
        ("db_client_connection_pending_requests", "gauge"),
        ("db_client_connection_timeouts_total", "counter"),
        ("db_client_connection_create_time_seconds", "histogram"),
        ("db_client_connection_wait_time_seconds", "histogram"),
        ("db_client_connection_use_time_seconds", "histogram"),
        ("db_client_operation_duration_seconds", "histogram"),
        ("app_db_connections", "gauge"),
        ("app_db_checkouts_total", "counter"),
        ("app_db_connect_phase_seconds", "histogram"),
        ("app_db_closed_total", "counter"),
        ("app_db_breaker_state", "gauge"),
        ("app_db_credential_generation", "gauge"),
        ("app_db_slow_queries_total", "counter"),
        ("app_db_statements_total", "counter"),
        ("app_db_statement_time_seconds_total", "counter"),
    ] {
        assert!(
            text.contains(&format!("# TYPE {name} {kind}\n")),
            "{name} in\n{text}"
        );
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    let all = series(&text);
    let pool = "db_client_connection_pool_name=\"write\"";
    assert_eq!(
        all[&format!("db_client_connection_count{{{pool},db_client_connection_state=\"idle\"}}")],
        1.0
    );
    assert_eq!(all[&format!("db_client_connection_max{{{pool}}}")], 20.0);
    assert_eq!(
        all[&format!("db_client_connection_use_time_seconds_bucket{{{pool},le=\"+Inf\"}}")],
        5.0
    );
    assert_eq!(
        all[&format!("db_client_connection_wait_time_seconds_count{{{pool}}}")],
        4.0 + 1.0
    );
    assert!(all.contains_key(&format!(
        "db_client_connection_wait_time_seconds_bucket{{{pool},le=\"0.0001\"}}"
    )));
    let failed = all.iter().find(|(name, _)| {
        name.starts_with("db_client_operation_duration_seconds_count")
            && name.contains("error_type=\"22012\"")
    });
    let (name, count) = failed.unwrap();
    assert_eq!(*count, 1.0);
    for label in [
        "db_system_name=\"postgresql\"",
        "db_response_status_code=\"22012\"",
        "server_address=\"",
        "db_namespace=\"",
    ] {
        assert!(name.contains(label), "{label} in {name}");
    }
    assert!(!name.contains("le=\"0.0001\""));
    let fingerprints: Vec<_> = all
        .keys()
        .filter(|name| name.starts_with("app_db_statements_total"))
        .collect();
    assert!(
        fingerprints
            .iter()
            .any(|name| name.contains("fingerprint=\"other\"")),
        "{fingerprints:?}"
    );

    let open = exporter.encode(Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"));
    assert!(open.contains("# UNIT db_client_connection_wait_time_seconds seconds\n"));
    let without_fingerprints = Exporter::new(&database, None).encode(Format::Prometheus);
    assert!(!without_fingerprints.contains("app_db_statements"));
}

/// Every series has each label set once, each family is in one piece, and buckets never go down.
#[tokio::test]
async fn the_text_is_well_formed() {
    let (_db, database) = used().await;
    let text = Exporter::with_fingerprints(&database, None, 10).encode(Format::Prometheus);
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(series(&text).len(), lines.len(), "a series is there twice");
    let mut families: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let count = families.len();
    families.sort_unstable();
    families.dedup();
    assert_eq!(families.len(), count);
    let mut last: Option<(String, f64)> = None;
    for line in lines.iter().filter(|line| line.contains("le=\"")) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let series = name.split("le=\"").next().unwrap().to_owned();
        let value: f64 = value.parse().unwrap();
        if let Some((before, least)) = &last
            && *before == series
        {
            assert!(value >= *least, "{line}");
        }
        last = Some((series, value));
    }
}

/// A scrape never waits: not for a server that is gone, not for a pool that is full, and not for one that closes.
/// The
/// series of a pool that is closed are gone.
#[tokio::test]
async fn a_scrape_is_answered_whatever_the_state() {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let db = TestDatabase::empty_on(&cluster).await.unwrap();
    let size = [
        ("APP_DB__POOLS__WRITE__MAX", "1"),
        ("APP_DB__POOLS__BATCH__MAX", "1"),
    ];
    let database = database(&db.url(), &size).await;
    let exporter = Exporter::new(&database, None);
    let scrape = || {
        let began = Instant::now();
        let text = exporter.encode(Format::Prometheus);
        assert!(
            began.elapsed() < Duration::from_millis(100),
            "{:?}",
            began.elapsed()
        );
        text
    };
    let held = database.get().await.unwrap();
    let waiting = tokio::spawn(database.get_timeout(Duration::from_secs(30)));
    harness::wait_until("somebody waits", crate::SOON, async || {
        database.status()[0].waiting == 1
    })
    .await;
    let full = series(&scrape());
    let pool = "{db_client_connection_pool_name=\"write\"}";
    assert_eq!(
        full[&format!("db_client_connection_pending_requests{pool}")],
        1.0
    );
    cluster.stop(Stop::Immediate).await.unwrap();
    scrape();
    waiting.abort();
    drop(held);
    database.pool("batch").unwrap();
    assert!(scrape().contains("pool=\"batch\""));
    let closing = database.shutdown(Duration::from_millis(200));
    tokio::pin!(closing);
    let _begun = futures_util::poll!(&mut closing);
    scrape();
    closing.await;
    assert!(
        !scrape().contains("pool=\"write\""),
        "a closed pool has no series"
    );
}

/// The four outputs show the same numbers: metrics, OpenTelemetry, the page, its JSON.
#[tokio::test]
async fn every_way_out_shows_the_same_numbers() {
    let (_db, database) = prepared().await;
    let operations = watching(&database, db_observe::AlertOptions::default());
    let sent = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(sent.clone()).build())
        .build();
    let _export = OtelExport::new(&provider.meter("app-db"), &database, operations.exporter());
    for id in 1..=5 {
        let done: diesel::QueryResult<usize> =
            database.write(async move |conn| bump(conn, id).await).await;
        done.unwrap();
    }
    provider.force_flush().unwrap();
    let text = series(&operations.exporter().encode(Format::Prometheus));
    let report = operations.report();
    let page = crate::operate::page::html(&operations).await;

    let pool = "{db_client_connection_pool_name=\"write\"}";
    let counted = |name: &str| text[&format!("{name}{pool}")];
    let write = &report.pools[0];
    assert_eq!(
        counted("db_client_connection_use_time_seconds_count"),
        write.use_time.count as f64
    );
    assert_eq!(
        counted("db_client_connection_wait_time_seconds_count"),
        write.wait_time.count as f64
    );
    let sums = (
        counted("db_client_connection_use_time_seconds_sum"),
        write.use_time.sum_seconds,
    );
    assert!((sums.0 - sums.1).abs() < 1e-9, "{sums:?}");
    assert_eq!(counted("db_client_connection_max"), f64::from(write.max));
    assert!(
        page.contains(&format!("<dd>{}: ", write.wait_time.count)),
        "{page}"
    );

    let mut otel = BTreeMap::new();
    for resource in sent.get_finished_metrics().unwrap() {
        for metric in resource.scope_metrics().flat_map(ScopeMetrics::metrics) {
            let value = match metric.data() {
                AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                    sum.data_points().map(|point| point.value() as f64).sum()
                }
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    sum.data_points().map(|point| point.value() as f64).sum()
                }
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    let points = histogram.data_points();
                    points.map(|point| point.count() as f64).sum::<f64>()
                }
                _ => continue,
            };
            otel.insert(metric.name().to_owned(), value);
        }
    }
    assert_eq!(otel["db.client.connection.max"], f64::from(write.max));
    // What was there before it listened is not told.
    assert_eq!(otel["db.client.connection.use_time"], 5.0);
    assert_eq!(otel["db.client.connection.wait_time"], 5.0);
    assert_eq!(
        otel["app_db.checkouts"],
        (write.checkouts.values().sum::<u64>()) as f64
    );
    assert!(otel["db.client.operation.duration"] >= 5.0);
    operations.stop().await;
}
