//! The demo from the first server to the verdict.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use app_db::{DirectUrl, MigrationSource, Migrator};
use harness::{AppServers, BouncerBinary, BouncerOptions, ClusterOptions, HarnessError, PoolMode};

use crate::books::Books;
use crate::compare::compare;
use crate::error::{DemoError, Doing};
use crate::ledger::{Ledger, Pool};
use crate::load::{Counts, Load, open_accounts};
use crate::login::Login;
use crate::options::{Mode, Options};
use crate::progress::Progress;
use crate::report::{Pooler, Report};
use crate::scratch::Scratch;

/// Runs all of it and returns whether it went well. Dropping the future stops everything that it has
/// started.
pub(crate) async fn run(
    options: &Options,
    scratch: &Scratch,
    progress: &Progress,
) -> Result<bool, DemoError> {
    let (report, log) = (
        options.folder.join("report.json"),
        options.folder.join("ledger.log"),
    );
    fs::create_dir_all(&options.folder).doing(|| format!("making {}", options.folder.display()))?;
    // An interrupted run must not leave the report of another run.
    let _ = fs::remove_file(&report);
    let _ = fs::remove_file(options.folder.join("comparison.json"));

    // The PgBouncer that is set for the tests, or else the newest one.
    let binary = match std::env::var_os("DB_TESTS_PGBOUNCER") {
        Some(_) => BouncerBinary::find().ok(),
        None => BouncerBinary::all()
            .into_iter()
            .max_by_key(BouncerBinary::version),
    };
    let (servers, pooler) = start_servers(binary.clone(), options.pooler, progress).await?;
    let mut login = Login::new(&servers, scratch.path()).await?;
    let url = DirectUrl::parse(&login.direct_url())?;
    let applied = Migrator::new(url, MigrationSource::directory(MIGRATIONS))
        .run()
        .await?;
    progress.say(&format!(
        "{} migrations applied through the direct URL",
        applied.len()
    ));

    let ledger = Ledger::start(scratch.path(), login.file(), &log).await?;
    let counts = Arc::new(Counts::default());
    let accounts = open_accounts(ledger.client(), &counts).await?;
    progress.say(&format!(
        "{} accounts opened; {} clients start",
        accounts.len(),
        options.tasks
    ));

    let (start, length) = (Instant::now(), Duration::from_secs(options.seconds));
    let load = Load::start(
        ledger.client(),
        &accounts,
        &counts,
        (options.tasks, start + length),
    );
    let rotations = rotate_twice(&mut login, &ledger, progress, (start, length));
    let (latencies, rotations) = tokio::select! {
        both = async { tokio::try_join!(load.finish(), rotations) } => both?,
        never = progress.show(&counts, start, options.seconds) => match never {},
    };
    progress.end_line();

    let pools = ledger.client().pools().await?;
    ledger.stop().await?;
    let books = Books::read(servers.cluster()).await?;
    let logged = fs::read_to_string(&log).doing(|| format!("reading {}", log.display()))?;
    let result = Report {
        seconds: options.seconds,
        pooler,
        transfers_committed: counts.transfers(),
        load_transfers: latencies.len(),
        transfers_per_second: latencies.len() / options.seconds,
        reads: counts.reads(),
        errors: counts.errors(),
        rotations,
        connections_replaced: pools.iter().map(|pool| pool.retired).sum(),
        slow_queries: pools.iter().map(|pool| pool.slow_queries).sum(),
        ledger_sum: books.sum,
        ledger_rows: books.rows,
        wrong_balances: books.wrong_balances,
        secrets_in_log: login.passwords_in(&logged),
        p50_ms: milliseconds(latencies.value_at_quantile(0.5)),
        p99_ms: milliseconds(latencies.value_at_quantile(0.99)),
    };
    for error in counts.first_errors() {
        progress.say(&format!("error: {error}"));
    }
    result.write(&report)?;
    result.print()?;
    let compared = match options.ledger_only {
        true => None,
        false => Some(compare(servers.cluster(), binary.as_ref(), progress).await?),
    };
    if let Some(comparison) = &compared {
        comparison.write(&options.folder.join("comparison.json"))?;
        comparison.print()?;
    }
    let folder = options
        .folder
        .canonicalize()
        .unwrap_or_else(|_| options.folder.clone());
    progress.say(&format!(
        "report.json, comparison.json and ledger.log are in {}",
        folder.display()
    ));
    Ok(result.is_good() && compared.is_none_or(|comparison| comparison.is_good()))
}

/// A private server with this PgBouncer in front, if there is one, and its description.
async fn start_servers(
    binary: Option<BouncerBinary>,
    mode: Mode,
    progress: &Progress,
) -> Result<(AppServers, Option<Pooler>), DemoError> {
    let pooler = binary.as_ref().map(|binary| Pooler {
        version: format!("{}.{}", binary.version().0, binary.version().1),
        mode,
    });
    // In session mode each connection of the service takes a server connection, and during a rotation old
    // ones exist beside new ones.
    let cluster = ClusterOptions::default().max_connections(CONNECTIONS + 20);
    let options = binary.map(|binary| {
        let options = match mode {
            Mode::Session => BouncerOptions::mode(PoolMode::Session).pool_size(CONNECTIONS),
            Mode::Transaction => BouncerOptions::mode(PoolMode::Transaction).pool_size(SHARED),
        };
        options.binary(binary)
    });
    progress.say("starting a private PostgreSQL");
    let servers = AppServers::start(cluster, options, None).await?;
    match &pooler {
        Some(pooler) => progress.say(&format!("{pooler} is in front of it")),
        None => progress.say(&format!("WARNING: {}\n{DIRECT}", HarnessError::NoBouncer)),
    }
    Ok((servers, pooler))
}

/// Changes the password after one third and after two thirds of the time, and returns how often it did.
async fn rotate_twice(
    login: &mut Login<'_>,
    ledger: &Ledger,
    progress: &Progress,
    (start, length): (Instant, Duration),
) -> Result<u64, DemoError> {
    for rotation in 1..=ROTATIONS {
        let due = start + length * rotation / (ROTATIONS + 1);
        tokio::time::sleep_until(due.into()).await;
        let begun = Instant::now();
        login.renew().await?;
        ledger.hang_up()?;
        wait_for_generation(ledger, 1 + u64::from(rotation)).await?;
        progress.say(&format!(
            "password changed: no connection has the old one after {} ms",
            begun.elapsed().as_millis()
        ));
    }
    Ok(ROTATIONS.into())
}

/// Waits until every pool of the ledger has new credentials and no connection with old ones.
async fn wait_for_generation(ledger: &Ledger, generation: u64) -> Result<(), DemoError> {
    let begun = Instant::now();
    loop {
        let pools = ledger.client().pools().await?;
        let is_done = |pool: &Pool| pool.generation >= generation && pool.retiring == 0;
        if pools.iter().all(is_done) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let (seconds, status) = (PATIENCE.as_secs(), format!("{pools:?}"));
            return Err(DemoError::Rotation { seconds, status });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Microseconds as milliseconds, rounded to a tenth.
fn milliseconds(micros: u64) -> f64 {
    (Duration::from_micros(micros).as_secs_f64() * 10_000.0).round() / 10.0
}

const DIRECT: &str = "\
WARNING: the demo runs WITHOUT a pooler: the ledger connects straight to the server.
WARNING: what it shows about the pooled URL is therefore only half of the truth.";
const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
const ROTATIONS: u32 = 2;
const CONNECTIONS: u32 = 200;
/// Fewer than the service has connections, so that they are shared: transactions of one connection use
/// many of them.
const SHARED: u32 = 10;
/// How long connections with an old password may stay: longer than any request takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the demo asks the ledger whether they are gone.
const INTERVAL: Duration = Duration::from_millis(10);
