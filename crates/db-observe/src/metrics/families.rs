//! Every exported family, made from a snapshot.

use std::borrow::Cow;

use app_db::db_pool::{Breaker, PoolSnapshot};
use app_db::{RetryCount, Snapshot};

use crate::metrics::definitions::DEFINITIONS;
use crate::metrics::family::{Family, Value};
use crate::metrics::sampled::of_sample;
use crate::metrics::writer::Writer;
use crate::monitor::sample::Sample;
use crate::statement_counts::StatementCount;

/// The sources of the families.
pub(crate) struct Sources<'s> {
    pub(crate) snapshot: &'s Snapshot,
    /// The latest sample of each pool, if a monitor looks at them.
    pub(crate) samples: &'s [Sample],
    /// What statements have cost, if the labels are wanted.
    pub(crate) statements: &'s [StatementCount],
}

/// All families, in the order of [`DEFINITIONS`]. Families without series are left out.
pub(crate) fn families(sources: &Sources<'_>) -> Vec<Family> {
    let mut families: Vec<_> = DEFINITIONS.iter().map(Family::new).collect();
    for pool in &sources.snapshot.pools {
        of_pool(&mut Writer::of(&mut families), pool);
    }
    let mut writer = Writer::of(&mut families);
    for retries in &sources.snapshot.retries {
        let RetryCount {
            pool,
            sqlstate,
            count,
            ..
        } = retries;
        let labels = [
            ("pool", Cow::Owned(pool.clone())),
            ("sqlstate", sqlstate.code().to_owned().into()),
        ];
        writer.put("app_db.retries", labels, Value::Count(*count));
    }
    for sample in sources.samples {
        let lives = |pool: &PoolSnapshot| pool.status.pool == sample.pool;
        if sources.snapshot.pools.iter().any(lives) {
            of_sample(&mut writer, sample);
        }
    }
    for statement in sources.statements {
        let labels = || {
            [
                ("pool", Cow::Owned(statement.pool.to_string())),
                ("fingerprint", statement.fingerprint.to_string().into()),
                ("summary", statement.summary.to_string().into()),
            ]
        };
        writer.put("app_db.statements", labels(), Value::Count(statement.count));
        let seconds = Value::Number(statement.total.as_secs_f64());
        writer.put("app_db.statement_time", labels(), seconds);
    }
    families.retain(|family| !family.series.is_empty());
    families
}

fn of_pool(writer: &mut Writer<'_>, pool: &PoolSnapshot) {
    let status = &pool.status;
    let name = status.pool.to_string();
    let standard = || (POOL_NAME, Cow::Owned(name.clone()));
    let ours = || ("pool", Cow::Owned(name.clone()));
    let number = |count: u32| Value::Number(f64::from(count));

    for (state, count) in [("idle", status.idle), ("used", status.in_use)] {
        let labels = [standard(), (STATE, state.into())];
        writer.put("db.client.connection.count", labels, number(count));
    }
    let max_idle = pool.settings.max_idle.unwrap_or(status.max);
    for (metric, count) in [
        ("db.client.connection.idle.max", max_idle),
        ("db.client.connection.idle.min", pool.settings.min_idle),
        ("db.client.connection.max", status.max),
        ("db.client.connection.pending_requests", status.waiting),
    ] {
        writer.put(metric, [standard()], number(count));
    }
    let timeouts = Value::Count(status.checkouts.timed_out);
    writer.put("db.client.connection.timeouts", [standard()], timeouts);
    for (metric, times) in [
        ("db.client.connection.create_time", pool.times.connected),
        ("db.client.connection.wait_time", pool.times.checked_out),
        ("db.client.connection.use_time", pool.times.held),
    ] {
        writer.put(metric, [standard()], Value::Times(times));
    }
    operations(writer, pool, &name);

    for (state, count) in [
        ("idle", status.idle),
        ("used", status.in_use),
        ("dialling", pool.dialling),
        ("settling", pool.settling),
        ("closing", pool.closing),
    ] {
        writer.put(
            "app_db.connections",
            [ours(), ("state", state.into())],
            number(count),
        );
    }
    for (source, count) in [
        ("idle", pool.handed_out_idle()),
        ("new", pool.handed_out_new),
        ("queued", pool.handed_out_queued),
    ] {
        let labels = [ours(), ("source", source.into())];
        writer.put("app_db.checkouts", labels, Value::Count(count));
    }
    for (phase, times) in pool.times.phases {
        let labels = [ours(), ("phase", phase.into())];
        writer.put("app_db.connect_phase", labels, Value::Times(times));
    }
    for (reason, count) in &pool.closed {
        let labels = [ours(), ("reason", (*reason).into())];
        writer.put("app_db.closed", labels, Value::Count(*count));
    }
    for (state, word) in [
        (Breaker::Closed, "closed"),
        (Breaker::HalfOpen, "half_open"),
        (Breaker::Open, "open"),
    ] {
        let labels = [ours(), ("state", word.into())];
        let is_it = number((status.breaker == state).into());
        writer.put("app_db.breaker_state", labels, is_it);
    }
    let generation = Value::Number(status.generation as f64);
    writer.put("app_db.credential_generation", [ours()], generation);
    for (metric, count) in [
        ("app_db.slow_queries", status.slow_queries),
        ("app_db.connects", status.connects.opened),
        ("app_db.connect_failures", status.connects.failed),
        ("app_db.refused", status.checkouts.refused),
        ("app_db.long_holds", status.long_holds),
        ("app_db.resets", status.resets),
    ] {
        writer.put(metric, [ours()], Value::Count(count));
    }
}

fn operations(writer: &mut Writer<'_>, pool: &PoolSnapshot, name: &str) {
    let labels = |failed: Option<&str>| {
        let mut labels = vec![
            (POOL_NAME, Cow::Owned(name.to_owned())),
            ("db.system.name", "postgresql".into()),
            ("db.namespace", pool.database.clone().into()),
        ];
        if let Some((host, port)) = &pool.server {
            labels.push(("server.address", host.clone().into()));
            if *port != POSTGRES_PORT {
                labels.push(("server.port", port.to_string().into()));
            }
        }
        if let Some(code) = failed {
            labels.push(("error.type", code.to_owned().into()));
            if code != "_OTHER" {
                labels.push(("db.response.status_code", code.to_owned().into()));
            }
        }
        labels
    };
    let metric = "db.client.operation.duration";
    writer.put(metric, labels(None), Value::Times(pool.times.ran));
    for (code, times) in &pool.times.failed {
        writer.put(metric, labels(Some(code)), Value::Times(*times));
    }
}

const POOL_NAME: &str = "db.client.connection.pool.name";
const STATE: &str = "db.client.connection.state";
const POSTGRES_PORT: u16 = 5432;
