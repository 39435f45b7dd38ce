//! The series from the monitor's last look.

use std::borrow::Cow;

use crate::metrics::family::Value;
use crate::metrics::writer::Writer;
use crate::monitor::pooler_figures::PoolerFigures;
use crate::monitor::ports::Ports;
use crate::monitor::sample::Sample;
use crate::monitor::server_figures::ServerFigures;

/// Puts the results of one look.
pub(crate) fn of_sample(writer: &mut Writer<'_>, sample: &Sample) {
    let mut pool = OnePool {
        writer,
        pool: &sample.pool,
    };
    if let Some(ports) = &sample.ports {
        pool.ports(ports);
    }
    if let Some(Ok(pooler)) = &sample.pooler {
        pool.pooler(pooler);
    }
    let Some(figures) = sample.figures() else {
        return;
    };
    if let Some(lag) = figures.replica_lag {
        pool.put("app_db.replica_lag", None, Value::Number(lag.as_secs_f64()));
    }
    if let Some(server) = &figures.server {
        pool.server(server);
    }
}

struct OnePool<'w, 'f> {
    writer: &'w mut Writer<'f>,
    pool: &'w str,
}

impl OnePool<'_, '_> {
    fn put(&mut self, name: &str, label: Option<(&'static str, &'static str)>, value: Value) {
        let pool = ("pool", Cow::Owned(self.pool.to_owned()));
        let label = label.map(|(key, word)| (key, Cow::Borrowed(word)));
        self.writer
            .put(name, [pool].into_iter().chain(label), value);
    }

    fn put_each(&mut self, name: &str, key: &'static str, counts: &[(&'static str, u32)]) {
        for (word, count) in counts {
            self.put(name, Some((key, word)), Value::Number(f64::from(*count)));
        }
    }

    fn ports(&mut self, ports: &Ports) {
        let states = [
            ("established", ports.established),
            ("time_wait", ports.time_wait),
            ("other", ports.other),
        ];
        self.put_each("app_db.ports", "state", &states);
        self.put(
            "app_db.ports_max",
            None,
            Value::Number(f64::from(ports.available)),
        );
    }

    fn server(&mut self, server: &ServerFigures) {
        let states = [
            ("running", server.running),
            ("io", server.waiting_for_io),
            ("lock", server.waiting_for_locks),
            ("waiting", server.waiting_otherwise),
            ("idle_in_transaction", server.idle_in_transaction),
            ("idle", server.idle),
            ("hidden", server.hidden),
        ];
        self.put_each("app_db.server_sessions", "state", &states);
        let max = Value::Number(f64::from(server.max_connections));
        self.put("app_db.server_max_connections", None, max);
        for (from, blocks) in [("cache", server.blocks_hit), ("disk", server.blocks_read)] {
            self.put(
                "app_db.server_blocks",
                Some(("from", from)),
                Value::Count(blocks),
            );
        }
        self.put(
            "app_db.server_temporary",
            None,
            Value::Count(server.temporary_bytes),
        );
        self.put(
            "app_db.server_deadlocks",
            None,
            Value::Count(server.deadlocks),
        );
        if let Some(bytes) = server.session_memory {
            self.put(
                "app_db.server_session_memory",
                None,
                Value::Number(bytes as f64),
            );
        }
    }

    fn pooler(&mut self, pooler: &PoolerFigures) {
        let clients = [("active", pooler.clients), ("waiting", pooler.waiting)];
        self.put_each("app_db.pooler_clients", "state", &clients);
        let servers = [
            ("used", pooler.servers_used),
            ("idle", pooler.servers_idle),
            ("login", pooler.servers_login),
        ];
        self.put_each("app_db.pooler_servers", "state", &servers);
        let size = Value::Number(f64::from(pooler.size));
        self.put("app_db.pooler_size", None, size);
        let longest = Value::Number(seconds(pooler.longest_wait_us));
        self.put("app_db.pooler_longest_wait", None, longest);
        self.put(
            "app_db.pooler_transactions",
            None,
            Value::Count(pooler.transactions),
        );
        self.put("app_db.pooler_queries", None, Value::Count(pooler.queries));
        for (name, us) in [
            ("app_db.pooler_wait", pooler.wait_us),
            ("app_db.pooler_query_time", pooler.query_us),
        ] {
            self.put(name, None, Value::Number(seconds(us)));
        }
        let parses = [
            ("client", pooler.client_parses),
            ("server", pooler.server_parses),
        ];
        for (by, count) in parses {
            self.put(
                "app_db.pooler_parses",
                Some(("by", by)),
                Value::Count(count),
            );
        }
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
