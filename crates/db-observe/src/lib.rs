#![doc = include_str!("../README.md")]

mod advice;
mod alerts;
mod metrics;
mod monitor;
mod operations;
#[cfg(feature = "page")]
mod page;
mod report;
mod sizing;
mod statement_counts;

pub use self::advice::formulas;
pub use self::advice::{Advice, Input, Load};
pub use self::alerts::alert::{Alert, AlertState, Level};
pub use self::alerts::alert_options::AlertOptions;
pub use self::alerts::outbox::OutboxStatus;
pub use self::alerts::reading::Reading;
pub use self::alerts::rule::{RULES, Rule};
pub use self::alerts::rule_states::RuleStates;
#[cfg(feature = "webhook")]
pub use self::alerts::sinks::http::NoUrl;
#[cfg(feature = "mail")]
pub use self::alerts::sinks::mail::{Mail, MailError};
#[cfg(feature = "webhook")]
pub use self::alerts::sinks::slack::Slack;
#[cfg(feature = "webhook")]
pub use self::alerts::sinks::webhook::Webhook;
pub use self::metrics::exporter::{Exporter, Format};
#[cfg(feature = "otel")]
pub use self::metrics::otel::OtelExport;
pub use self::monitor::pooler_figures::PoolerFigures;
pub use self::monitor::ports::Ports;
pub use self::monitor::sample::{Figures, Sample, SampleFailure};
pub use self::monitor::server_figures::ServerFigures;
pub use self::monitor::summary::{Means, Summary};
pub use self::monitor::{Monitor, MonitorOptions};
pub use self::operations::{Operations, OperationsBuilder};
#[cfg(feature = "page")]
pub use self::page::Page;
pub use self::report::{
    AdviceReport, AlertReport, HolderReport, InputReport, PoolReport, SampleReport, SinkReport,
    StatementReport, StatusReport, SummaryReport, TimesReport,
};
pub use self::sizing::{SizeChange, Sizer, SizingInputs};

/// Compiles the examples of the guide.
#[cfg(all(doctest, feature = "page", feature = "webhook"))]
#[doc = include_str!("../../../docs/operating.md")]
struct Guide;
