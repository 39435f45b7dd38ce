//! The exporter: the metrics as text, for a scrape.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use app_db::Database;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::metrics::families::{Sources, families};
use crate::metrics::family::{Family, MetricKind, Series, Value, buckets_from};
use crate::monitor::Monitor;
use crate::statement_counts::StatementCounts;

/// Writes the metrics of a database in the formats that Prometheus and similar programs read. Clones share
/// everything.
///
/// It reads the pools' own counts when it is asked, so it costs a checkout nothing. It never waits for a pool or a
/// server.
#[derive(Clone)]
pub struct Exporter {
    registry: Arc<Registry>,
    source: Arc<Source>,
}

/// How the metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus' own text.
    Prometheus,
    /// OpenMetrics.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for: OpenMetrics if the header names it, unless it refuses it with
    /// `q=0`.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let wants = |part: &str| {
            let mut pieces = part.split(';').map(str::trim);
            let is_it = pieces
                .next()
                .is_some_and(|media| media.eq_ignore_ascii_case("application/openmetrics-text"));
            let refused = pieces.any(|piece| {
                piece
                    .strip_prefix("q=")
                    .is_some_and(|q| q.parse::<f64>().is_ok_and(|q| q == 0.0))
            });
            is_it && !refused
        };
        match accept.split(',').any(wants) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// The `Content-Type` of an answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Exporter {
    /// An exporter of this database, with the lag of replicas if a monitor measures it.
    #[must_use]
    pub fn new(db: &Database, monitor: Option<&Monitor>) -> Self {
        Self::with_fingerprints(db, monitor, 0)
    }

    /// The same with the counts of `most` statements by fingerprint, at most fifty; all others are in `other`. Each
    /// fingerprint is a series for each pool and each instance of the service.
    #[must_use]
    pub fn with_fingerprints(db: &Database, monitor: Option<&Monitor>, most: usize) -> Self {
        let source = Arc::new(Source {
            db: db.clone(),
            monitor: monitor.cloned(),
            statements: (most > 0).then(|| StatementCounts::new(most)),
        });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&source)));
        let registry = Arc::new(registry);
        Self { registry, source }
    }

    /// All metrics at this instant.
    #[must_use]
    pub fn encode(&self, format: Format) -> String {
        let mut text = String::new();
        let encoded = match format {
            Format::Prometheus => {
                prometheus_client::encoding::prometheus_text::encode(&mut text, &self.registry)
            }
            Format::OpenMetrics => {
                prometheus_client::encoding::text::encode(&mut text, &self.registry)
            }
        };
        // Writing to a `String` does not fail.
        debug_assert!(encoded.is_ok());
        text
    }

    #[cfg(feature = "otel")]
    pub(crate) fn families(&self) -> Vec<Family> {
        self.source.families()
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exporter").field(&self.source).finish()
    }
}

struct Source {
    db: Database,
    monitor: Option<Monitor>,
    statements: Option<StatementCounts>,
}

impl Source {
    fn families(&self) -> Vec<Family> {
        // The statements are read first, because they must be a part of what the snapshot has counted.
        let statements = self.statements.as_ref();
        let stats = statements.map(|_| self.db.statements()).unwrap_or_default();
        let snapshot = self.db.snapshot();
        let counts = statements.map(|counts| counts.update(&snapshot, &stats));
        let samples = self.monitor.as_ref().map(Monitor::all_latest);
        families(&Sources {
            snapshot: &snapshot,
            samples: &samples.unwrap_or_default(),
            statements: &counts.unwrap_or_default(),
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.families() {
            let definition = family.definition;
            let metric_type = match definition.kind {
                MetricKind::Counter => MetricType::Counter,
                MetricKind::UpDownCounter | MetricKind::Gauge => MetricType::Gauge,
                MetricKind::Histogram { .. } => MetricType::Histogram,
            };
            let name = definition.prometheus_name();
            let unit = match definition.unit {
                "s" => Some(Unit::Seconds),
                "By" => Some(Unit::Bytes),
                _ => None,
            };
            let mut metric =
                encoder.encode_descriptor(&name, definition.help, unit.as_ref(), metric_type)?;
            for series in &family.series {
                encode(&mut metric, definition.kind, series)?;
            }
        }
        Ok(())
    }
}

fn encode(metric: &mut MetricEncoder<'_>, kind: MetricKind, series: &Series) -> fmt::Result {
    let labels: Vec<(Cow<'_, str>, Cow<'_, str>)> = series
        .labels
        .iter()
        .map(|(key, value)| (key.replace('.', "_").into(), Cow::Borrowed(&**value)))
        .collect();
    let mut metric = metric.encode_family(&labels)?;
    match (kind, &series.value) {
        (MetricKind::Counter, Value::Count(count)) => {
            metric.encode_counter::<NoLabelSet, _, u64>(count, None)
        }
        (MetricKind::Counter, Value::Number(number)) => {
            metric.encode_counter::<NoLabelSet, _, u64>(number, None)
        }
        (MetricKind::Histogram { first }, Value::Times(times)) => {
            let buckets = buckets_from(times, first);
            let sum = times.sum.as_secs_f64();
            metric.encode_histogram::<NoLabelSet>(sum, times.count(), &buckets, None)
        }
        (_, Value::Count(count)) => metric.encode_gauge(count),
        (_, Value::Number(number)) => metric.encode_gauge(number),
        (_, Value::Times(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_negotiated() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text;q=0",
            "text/html",
        ] {
            assert_eq!(Format::accepted(accept), Format::Prometheus, "{accept}");
        }
    }

    /// req 0.18: every metric in the dashboard and the rules is exported.
    #[test]
    fn the_dashboard_and_the_rules_ask_for_what_there_is() {
        use crate::metrics::definitions::DEFINITIONS;

        let names = DEFINITIONS.iter().map(|definition| {
            let mut name = definition.prometheus_name();
            match definition.unit {
                "s" => name.push_str("_seconds"),
                "By" => name.push_str("_bytes"),
                _ => {}
            }
            if definition.kind == MetricKind::Counter {
                name.push_str("_total");
            }
            name
        });
        let names: Vec<_> = names.collect();
        let mut asked = 0;
        for text in [
            include_str!("../../../../grafana/dashboard.json"),
            include_str!("../../../../grafana/rules.yaml"),
        ] {
            let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
            for word in words {
                let is_label = word.starts_with("db_client_connection_pool_name")
                    || word.starts_with("db_client_connection_state");
                let is_metric = word.starts_with("db_client_") || word.starts_with("app_db_");
                if is_label || !is_metric {
                    continue;
                }
                asked += 1;
                let part = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|part| word.strip_suffix(part));
                let is_known = |word: &str| names.iter().any(|name| name == word);
                assert!(is_known(word) || part.is_some_and(is_known), "{word}");
            }
        }
        assert!(asked > 40, "{asked} are too few to be all");
    }
}
