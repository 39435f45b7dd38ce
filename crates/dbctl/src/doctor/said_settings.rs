//! The settings that a pool sends before its statements because a pooler shares the sessions, and what that costs.

use std::time::{Duration, Instant};

use app_db::Endpoint;
use app_db::db_pool::connect_client;
use serde::Serialize;
use tokio::time::timeout;

/// The settings that a pool sends in each transaction. There are none if the server has them by itself.
#[derive(Serialize)]
pub(super) struct SaidSettings {
    /// The settings as SQL has them after `SET`.
    settings: Vec<String>,
    /// How many bytes of SQL they are.
    bytes: usize,
    /// By how many microseconds they make a short transaction longer, as measured just now. Unknown if the server did
    /// not answer in time.
    microseconds: Option<f64>,
    /// The statements that give these settings to the server.
    pub(super) alter_role: Vec<String>,
}

impl SaidSettings {
    /// Measures what these settings cost.
    pub(super) async fn measured(
        endpoint: &Endpoint,
        settings: Vec<String>,
        bound: Duration,
    ) -> Self {
        let said: String = settings
            .iter()
            .map(|setting| format!("SET LOCAL {setting};"))
            .collect();
        let microseconds = match settings.is_empty() {
            true => Some(0.0),
            false => {
                let measuring = timeout(bound, cost(endpoint, &said, bound));
                measuring.await.ok().flatten()
            }
        };
        let role = endpoint.user.replace('"', "\"\"");
        let alter = |setting| format!("ALTER ROLE \"{role}\" SET {setting};");
        Self {
            bytes: said.len(),
            microseconds,
            alter_role: settings.iter().map(alter).collect(),
            settings,
        }
    }

    /// For people to read.
    pub(super) fn line(&self) -> String {
        if self.settings.is_empty() {
            return "nothing: the server has its settings by itself".to_owned();
        }
        let time = match self.microseconds {
            Some(time) => format!("{time:.0} µs"),
            None => "an unknown time".to_owned(),
        };
        format!(
            "{} in each transaction, which costs {time} and {} bytes",
            self.settings.join(", "),
            self.bytes
        )
    }
}

/// By how many microseconds these statements make a short transaction longer: the difference of the medians of
/// interleaved rounds.
async fn cost(endpoint: &Endpoint, said: &str, bound: Duration) -> Option<f64> {
    let client = connect_client(endpoint, bound).await.ok()?;
    let texts = [
        "BEGIN;SELECT 1;COMMIT".to_owned(),
        format!("BEGIN;{said}SELECT 1;COMMIT"),
    ];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (text, times) in texts.iter().zip(&mut times) {
            let began = Instant::now();
            client.batch_execute(text).await.ok()?;
            times.push(began.elapsed().as_secs_f64() * 1e6);
        }
    }
    let [without, with] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    // A difference that the noise hides counts as none. Rounded to a tenth.
    Some(((with - without).max(0.0) * 10.0).round() / 10.0)
}

const ROUNDS: usize = 31;
