//! The metrics through the OpenTelemetry API, for a service that exports with its own pipeline.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use app_db::db_pool::{TimeBuckets, TimeEvent, plumbing};
use app_db::{Database, Pool};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

use crate::metrics::definitions::DEFINITIONS;
use crate::metrics::exporter::Exporter;
use crate::metrics::family::{Definition, Family, MetricKind, Value};

/// Gives everything that the exporter has to an OpenTelemetry meter.
///
/// Counts are read when the meter asks. Times are reported when they are measured, because OpenTelemetry has no
/// histogram that is only read. Each checkout pays for that report. Without an `OtelExport` it costs nothing.
pub struct OtelExport {
    source: Arc<Source>,
}

struct Source {
    db: Database,
    exporter: Exporter,
    histograms: Histograms,
    /// The families that the instruments of one collection share, so that all of them show the same instant.
    read: Mutex<Option<(Instant, Arc<Vec<Family>>)>>,
}

#[derive(Clone)]
struct Histograms {
    create_time: Histogram<f64>,
    wait_time: Histogram<f64>,
    use_time: Histogram<f64>,
    duration: Histogram<f64>,
}

impl OtelExport {
    /// Makes all instruments with a meter. They live as long as the meter.
    ///
    /// A pool that opens later is found at the next collection; its times before that are not reported. Each pool
    /// reports to only one export, so make one for each database.
    #[must_use]
    pub fn new(meter: &Meter, db: &Database, exporter: &Exporter) -> Self {
        let source = Arc::new(Source {
            db: db.clone(),
            exporter: exporter.clone(),
            histograms: Histograms::new(meter),
            read: Mutex::default(),
        });
        source.listen();
        for definition in &DEFINITIONS {
            instrument(meter, definition, &source);
        }
        Self { source }
    }
}

impl fmt::Debug for OtelExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtelExport")
            .field("exporter", &self.source.exporter)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// The families of this moment.
    fn families(&self) -> Arc<Vec<Family>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, families)) = &*read
            && at.elapsed() < ONE_COLLECTION
        {
            return Arc::clone(families);
        }
        self.listen();
        let families = Arc::new(self.exporter.families());
        *read = Some((Instant::now(), Arc::clone(&families)));
        families
    }

    /// Starts the reports of times for each pool that does not report them yet.
    fn listen(&self) {
        for pool in self.db.open_pools() {
            let listener = self.histograms.listener(&pool);
            let _told_already = plumbing::listen_to_times(&pool, listener);
        }
    }

    fn observe<T>(&self, name: &str, number: fn(Value) -> T, instrument: &dyn AsyncInstrument<T>) {
        for family in self.families().iter() {
            if family.definition.name != name {
                continue;
            }
            for series in &family.series {
                let labels = series.labels.iter();
                let attributes: Vec<_> = labels
                    .map(|(key, value)| KeyValue::new(*key, value.to_string()))
                    .collect();
                instrument.observe(number(series.value), &attributes);
            }
        }
    }
}

fn instrument(meter: &Meter, definition: &'static Definition, source: &Arc<Source>) {
    let Definition {
        name, help, unit, ..
    } = *definition;
    let source = Arc::clone(source);
    match (definition.kind, unit == "s") {
        (MetricKind::Counter, false) => {
            let builder = meter.u64_observable_counter(name);
            let builder = builder.with_description(help).with_unit(unit);
            builder
                .with_callback(move |instrument| source.observe(name, whole, instrument))
                .build();
        }
        (MetricKind::Counter, true) => {
            let builder = meter.f64_observable_counter(name);
            let builder = builder.with_description(help).with_unit(unit);
            builder
                .with_callback(move |instrument| source.observe(name, number, instrument))
                .build();
        }
        (MetricKind::UpDownCounter, _) => {
            let builder = meter.i64_observable_up_down_counter(name);
            let builder = builder.with_description(help).with_unit(unit);
            builder
                .with_callback(move |instrument| {
                    source.observe(name, |value| whole(value).cast_signed(), instrument);
                })
                .build();
        }
        (MetricKind::Gauge, _) => {
            let builder = meter.f64_observable_gauge(name);
            let builder = builder.with_description(help).with_unit(unit);
            builder
                .with_callback(move |instrument| source.observe(name, number, instrument))
                .build();
        }
        // These are reported where they are measured. The phases of connecting are only in the text format.
        (MetricKind::Histogram { .. }, _) => {}
    }
}

fn number(value: Value) -> f64 {
    match value {
        Value::Count(count) => count as f64,
        Value::Number(number) => number,
        Value::Times(times) => times.sum.as_secs_f64(),
    }
}

fn whole(value: Value) -> u64 {
    match value {
        Value::Count(count) => count,
        Value::Number(number) => number as u64,
        Value::Times(times) => times.count(),
    }
}

impl Histograms {
    fn new(meter: &Meter) -> Self {
        let histogram = |name: &'static str| {
            let definition = DEFINITIONS.iter().find(|one| one.name == name);
            let first = match definition.map(|one| one.kind) {
                Some(MetricKind::Histogram { first }) => first,
                _ => Duration::ZERO,
            };
            let bounds = TimeBuckets::BOUNDS.iter().filter(|bound| **bound >= first);
            meter
                .f64_histogram(name)
                .with_description(definition.map_or("", |one| one.help))
                .with_unit("s")
                // The default bounds are for milliseconds.
                .with_boundaries(bounds.map(Duration::as_secs_f64).collect())
                .build()
        };
        Self {
            create_time: histogram("db.client.connection.create_time"),
            wait_time: histogram("db.client.connection.wait_time"),
            use_time: histogram("db.client.connection.use_time"),
            duration: histogram("db.client.operation.duration"),
        }
    }

    /// The listener to which a pool reports its times. Its attributes are made once.
    fn listener(&self, pool: &Pool) -> app_db::db_pool::TimeListener {
        let this = self.clone();
        let snapshot = pool.snapshot();
        let name = KeyValue::new("db.client.connection.pool.name", pool.name().to_owned());
        let mut statement = vec![
            name.clone(),
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.namespace", snapshot.database),
        ];
        if let Some((host, port)) = snapshot.server {
            statement.push(KeyValue::new("server.address", host));
            if port != 5432 {
                statement.push(KeyValue::new("server.port", i64::from(port)));
            }
        }
        let pool = [name];
        let failures: Mutex<HashMap<String, Vec<KeyValue>>> = Mutex::default();
        Box::new(move |event| match event {
            TimeEvent::CheckedOut(time) => this.wait_time.record(time.as_secs_f64(), &pool),
            TimeEvent::Held(time) => this.use_time.record(time.as_secs_f64(), &pool),
            TimeEvent::Connected(time) => this.create_time.record(time.as_secs_f64(), &pool),
            TimeEvent::Ran(time, None) => this.duration.record(time.as_secs_f64(), &statement),
            TimeEvent::Ran(time, Some(sqlstate)) => {
                let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                let code =
                    match failures.len() < MAX_CODES || failures.contains_key(sqlstate.code()) {
                        true => sqlstate.code(),
                        false => "_OTHER",
                    };
                let attributes = failures.entry(code.to_owned()).or_insert_with(|| {
                    let mut attributes = statement.clone();
                    attributes.push(KeyValue::new("error.type", code.to_owned()));
                    if code != "_OTHER" {
                        attributes.push(KeyValue::new("db.response.status_code", code.to_owned()));
                    }
                    attributes
                });
                this.duration.record(time.as_secs_f64(), attributes);
            }
            _ => {}
        })
    }
}

/// The longest time of one collection.
const ONE_COLLECTION: Duration = Duration::from_millis(100);

/// How many SQLSTATEs are counted separately.
const MAX_CODES: usize = 32;
