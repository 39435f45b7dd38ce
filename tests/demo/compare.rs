//! The same load under the same faults, on plain diesel-async with bb8 and on app-db, one after the
//! other.

mod bank;
mod customers;
mod fault;
pub(crate) mod instance;
mod ours;
mod plain;
mod side;
mod stage;
mod table;
mod tables;
mod tally;

use std::time::{Duration, Instant};

use harness::{BouncerBinary, Cluster};

use self::bank::Bank;
use self::customers::{Habits, LENGTH, serve};
use self::fault::Fault;
use self::instance::Instances;
use self::ours::Ours;
use self::plain::Plain;
pub(crate) use self::side::Side;
use self::stage::Stage;
pub(crate) use self::table::Comparison;
use self::table::{Outcome, Row};
use crate::error::DemoError;
use crate::progress::Progress;

/// Lets both sides meet every fault; the pooler's fault only if there is a pooler.
pub(crate) async fn compare(
    cluster: &Cluster,
    bouncer: Option<&BouncerBinary>,
    progress: &Progress,
) -> Result<Comparison, DemoError> {
    let (plain, ours) = (Stage::new(cluster).await?, Stage::new(cluster).await?);
    let mut rows = Vec::new();
    for fault in Fault::ALL {
        let Some(name) = fault.name(bouncer) else {
            continue;
        };
        progress.say(&format!("{} seconds each of: {name}", LENGTH.as_secs()));
        rows.push(Row {
            fault: name,
            plain: meet(fault, Side::Plain, &plain, bouncer).await?,
            ours: meet(fault, Side::Ours, &ours, bouncer).await?,
        });
    }
    Ok(Comparison {
        seconds: LENGTH.as_secs(),
        rows,
    })
}

/// One side under one fault, on a pool of its own.
async fn meet(
    fault: Fault,
    side: Side,
    stage: &Stage,
    bouncer: Option<&BouncerBinary>,
) -> Result<Outcome, DemoError> {
    let url = match fault {
        Fault::LostCommit => stage.proxied_url(),
        _ => stage.url(),
    };
    let before = stage.books().await?;
    let seen = match (fault, side) {
        (Fault::Pooler, _) => Instances::run(side, stage, bouncer).await?,
        (_, Side::Plain) => suffer(fault, stage, Plain::open(&url).await?).await?,
        (_, Side::Ours) => suffer(fault, stage, Ours::open(&url).await?).await?,
    };
    let after = stage.books_at_rest().await?;
    Ok(Outcome::new(seen, after.since(before), LENGTH))
}

async fn suffer(fault: Fault, stage: &Stage, bank: impl Bank) -> Result<tally::Counts, DemoError> {
    // The pools fill before the measurement begins. Money that is moved meanwhile counts like the rest.
    let warm = serve(&bank, Habits::default(), Instant::now() + WARM_UP)
        .await
        .counts();
    let end = Instant::now() + LENGTH;
    let habits = Habits {
        hang_up: fault == Fault::HangUp,
    };
    let (seen, struck) = tokio::join!(serve(&bank, habits, end), fault.strike(stage, &bank, end));
    struck?;
    let seen = seen.counts();
    Ok(tally::Counts {
        acknowledged: seen.acknowledged + warm.acknowledged,
        ..seen
    })
}

const WARM_UP: Duration = Duration::from_millis(250);
