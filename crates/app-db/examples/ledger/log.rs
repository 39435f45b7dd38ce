//! What the ledger writes to standard error, by its environment.

use app_db::Environment;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// Begins to log. A developer gets full lines, with every statement when it ends. Elsewhere warnings and errors
/// are logged, each as one JSON object. `RUST_LOG` overrides what is logged.
pub(crate) fn begin(environment: Option<&Environment>) {
    let is_development = matches!(environment, Some(Environment::Dev | Environment::Test));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(match is_development {
            true => "info,app_db::statement=debug",
            false => "warn",
        })
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if is_development {
        log.pretty().with_span_events(FmtSpan::CLOSE).init();
    } else {
        log.json().flatten_event(true).init();
    }
}
