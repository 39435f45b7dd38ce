//! What goes wrong, and how often.

use std::time::{Duration, Instant};

use harness::{BouncerBinary, Fault as ProxyFault};
use tokio::task::JoinSet;

use super::bank::Bank;
use super::stage::Stage;
use crate::error::DemoError;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing goes wrong.
    None,
    /// One request in forty is a long query whose customer hangs up.
    HangUp,
    /// Three times a second, the answers to COMMIT are lost for a moment.
    LostCommit,
    /// The password changes, and a little later the server ends every session that has the old one.
    Password,
    /// Two instances of the service share PgBouncer in transaction mode.
    Pooler,
    /// Ten reports at once hold a connection each.
    Hog,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::None,
        Self::HangUp,
        Self::LostCommit,
        Self::Password,
        Self::Pooler,
        Self::Hog,
    ];

    /// Its name in the table; `None` if it cannot be shown.
    pub(crate) fn name(self, bouncer: Option<&BouncerBinary>) -> Option<String> {
        Some(match self {
            Self::None => "no fault".to_owned(),
            Self::HangUp => "clients hang up".to_owned(),
            Self::LostCommit => "COMMIT answers lost".to_owned(),
            Self::Password => "password changed".to_owned(),
            Self::Pooler => {
                let (major, minor) = bouncer?.version();
                format!("PgBouncer {major}.{minor}, tx mode")
            }
            Self::Hog => "ten long reports".to_owned(),
        })
    }

    /// Lets it happen, from now until `end`.
    pub(crate) async fn strike(
        self,
        stage: &Stage,
        bank: &impl Bank,
        end: Instant,
    ) -> Result<(), DemoError> {
        match self {
            Self::None | Self::HangUp | Self::Pooler => {}
            Self::LostCommit => lose_commits(stage, end).await,
            Self::Password => change_password(stage, bank).await?,
            Self::Hog => report(bank, end).await,
        }
        Ok(())
    }
}

async fn lose_commits(stage: &Stage, end: Instant) {
    while Instant::now() + BETWEEN < end {
        tokio::time::sleep(BETWEEN).await;
        stage.proxy().set(ProxyFault::LoseReply(b"COMMIT")).await;
        tokio::time::sleep(MOMENT).await;
        stage.proxy().set(ProxyFault::None).await;
    }
}

async fn change_password(stage: &Stage, bank: &impl Bank) -> Result<(), DemoError> {
    tokio::time::sleep(BETWEEN).await;
    let changed = stage.change_password().await?;
    bank.told(stage.user(), &stage.password()).await?;
    tokio::time::sleep(BETWEEN).await;
    stage.end_sessions_before(&changed).await
}

async fn report(bank: &impl Bank, end: Instant) {
    tokio::time::sleep(BETWEEN).await;
    let mut reports = JoinSet::new();
    for _ in 0..REPORTS {
        let bank = bank.clone();
        reports.spawn(async move { bank.report(REPORT).await });
    }
    // Reports that are not finished by then are dropped.
    let all = async { while reports.join_next().await.is_some() {} };
    let _ = tokio::time::timeout_at(end.into(), all).await;
}

const BETWEEN: Duration = Duration::from_millis(300);
/// Longer than several transactions take.
const MOMENT: Duration = Duration::from_millis(10);
const REPORTS: usize = 10;
const REPORT: f64 = 1.2;
