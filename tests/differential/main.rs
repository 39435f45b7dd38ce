//! Runs third-party statements over plain diesel-async and over our connections, and compares everything that a
//! client can see: values and types of every row, affected rows, the SQLSTATE of every failure, and the session
//! afterwards.
//!
//! The statements are PostgreSQL's regression scripts. Each script runs in a fresh database, on a separate server
//! for each party, in each form in which diesel-async sends statements. Plain diesel-async runs it twice; answers
//! that differ between the two runs are left out. `expected.toml` lists the intended differences.

mod answer;
mod compare;
mod corpus;
mod expected;
mod failed;
mod form;
mod fresh;
mod lane;
mod outcome;
mod raw;
mod report;
mod runs;
mod sample;
mod seeds;
mod session;
mod snapshot;
mod split;
mod tap;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use app_db::{Config, PoolProfile};
use clap::Parser;

use self::compare::Lanes;
use self::corpus::File;
use self::expected::Expected;
use self::failed::Failed;
use self::form::Form;
use self::lane::Route;
use self::outcome::Outcome;
use self::report::Report;
use self::runs::Runs;

/// Compares our connections with plain diesel-async, using PostgreSQL's regression scripts.
#[derive(Parser)]
#[command(name = "differential")]
struct Arguments {
    /// The names of the scripts, without `.sql`; all by default.
    files: Vec<String>,
    /// Only the scripts that have to do with sessions, cursors, plans and literals.
    #[arg(long)]
    sample: bool,
    /// The ways to the server.
    #[arg(long, value_enum, value_delimiter = ',')]
    routes: Vec<Route>,
    /// The forms in which statements are sent.
    #[arg(long, value_enum, value_delimiter = ',')]
    forms: Vec<Form>,
    /// A setting of our pool, such as `statements=unnamed`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How many differences are printed; all are in the report.
    #[arg(long, default_value_t = 50)]
    show: usize,
    /// After how many minutes it starts no further script, and fails.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Compares nothing, but writes the statements into this folder, for the wire's fuzz target.
    #[arg(long, value_name = "FOLDER")]
    seeds: Option<PathBuf>,
    /// The name of the report in target/differential.
    #[arg(long, default_value = "report")]
    report: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.seeds {
        return write_seeds(folder, &arguments.files);
    }
    match run(&arguments).await {
        Ok(report) if report.not_run > 0 || !report.failed.is_empty() => {
            ExitCode::from(NOT_COMPARED)
        }
        Ok(report) if report.differences() > 0 => ExitCode::from(DIFFERENT),
        Ok(_) => ExitCode::SUCCESS,
        Err(failed) => {
            say(&format!("differential: {failed}"));
            ExitCode::from(NOT_COMPARED)
        }
    }
}

fn write_seeds(folder: &Path, names: &[String]) -> ExitCode {
    let files = corpus::folder().and_then(|corpus| corpus::load(&corpus, names));
    match files.and_then(|files| seeds::write(folder, &files)) {
        Ok(count) => {
            say(&format!("{count} files in {}", folder.display()));
            ExitCode::SUCCESS
        }
        Err(failed) => {
            say(&format!("differential: {failed}"));
            ExitCode::from(NOT_COMPARED)
        }
    }
}

/// Compares, prints the result and writes the report.
async fn run(arguments: &Arguments) -> Result<Report, Failed> {
    let expected = Expected::load()?;
    let profile = profile(&arguments.set)?;
    let names = match arguments.sample {
        true => sample::FILES.map(str::to_owned).to_vec(),
        false => arguments.files.clone(),
    };
    let mut report = Report {
        profile: arguments.set.clone(),
        files: 0,
        psql_commands: 0,
        only_for_psql: 0,
        copies: 0,
        left_out: Vec::new(),
        unused: Vec::new(),
        seconds: 0,
        not_run: 0,
        failed: Vec::new(),
        outcomes: Vec::new(),
    };
    let mut work = Vec::new();
    for file in corpus::load(&corpus::folder()?, &names)? {
        if let Some(reason) = expected.leaves_out(&file.name) {
            report.left_out.push(format!("{}.sql: {reason}", file.name));
            continue;
        }
        report.count(&file);
        let file = Arc::new(file);
        let forms = chosen(&arguments.forms, &Form::ALL);
        work.extend(forms.iter().map(|form| (Arc::clone(&file), *form)));
    }
    let began = Instant::now();
    let lanes = Lanes::start(&chosen(&arguments.routes, &Route::ALL), &profile).await?;
    let end = began + Duration::from_secs(60 * arguments.minutes);
    compare_all(&lanes, work, &expected, end, &mut report).await;
    report.seconds = began.elapsed().as_secs();
    if names.is_empty() {
        report.unused = expected.unused();
    }
    say(&report.text(arguments.show));
    say(&format!(
        "report: {}",
        report.write(&arguments.report)?.display()
    ));
    Ok(report)
}

/// Judges each script while the next one runs. It starts no script when the time is over.
async fn compare_all(
    lanes: &Lanes,
    work: Vec<(Arc<File>, Form)>,
    expected: &Expected,
    end: Instant,
    report: &mut Report,
) {
    let mut ran = None;
    let all = work.len();
    for (done, (file, form)) in work.into_iter().enumerate() {
        if Instant::now() > end {
            report.not_run = all - done;
            break;
        }
        if std::io::stderr().is_terminal() {
            tell(&format!(
                "\r{done} of {all}: {} {}{:20}",
                file.name,
                form.name(),
                ""
            ));
        }
        let name = file.name.clone();
        let (next, judged) =
            tokio::join!(lanes.run(file, form), judge(lanes, ran.take(), expected));
        report.take(judged);
        match next {
            Ok(runs) => ran = Some(runs),
            Err(failed) => report
                .failed
                .push(format!("{name}.sql, {}: {failed}", form.name())),
        }
    }
    report.take(judge(lanes, ran, expected).await);
}

async fn judge(
    lanes: &Lanes,
    runs: Option<Runs>,
    expected: &Expected,
) -> Result<Vec<Outcome>, Failed> {
    match runs {
        Some(runs) => lanes.judge(runs, expected).await,
        None => Ok(Vec::new()),
    }
}

/// The built-in profile of a production pool, with one connection and the requested settings.
fn profile(settings: &[String]) -> Result<PoolProfile, Failed> {
    let mut vars = vec![
        ("APP_ENV".to_owned(), "test".to_owned()),
        ("APP_DB__PROFILE__MAX".to_owned(), "1".to_owned()),
        ("APP_DB__PROFILE__MIN_IDLE".to_owned(), "0".to_owned()),
        ("APP_DB__PROFILE__LOCK_TIMEOUT".to_owned(), "5s".to_owned()),
    ];
    for setting in settings {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| Failed::new(format!("{setting} is not KEY=VALUE")))?;
        vars.push((
            format!("APP_DB__PROFILE__{}", key.to_ascii_uppercase()),
            value.to_owned(),
        ));
    }
    let config = Config::load_from(Path::new("/nonexistent"), vars)?;
    Ok(PoolProfile::from_config(&config, "write")?)
}

fn chosen<T: Copy>(asked: &[T], all: &[T]) -> Vec<T> {
    if asked.is_empty() { all } else { asked }.to_vec()
}

/// Prints a line for the user.
fn say(line: &str) {
    // If standard output is closed, nobody reads it.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints the progress.
fn tell(text: &str) {
    let _ = write!(std::io::stderr(), "{text}");
}

const DIFFERENT: u8 = 1;
const NOT_COMPARED: u8 = 2;
