//! A server of its own for each party, on which a script runs in a fresh database.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use app_db::PoolProfile;
use clap::ValueEnum;
use harness::{Bouncer, BouncerBinary, BouncerOptions, Cluster, ClusterOptions, PoolMode, url};
use serde::Serialize;
use tokio_postgres::{Client, Config, NoTls};

use crate::answer::Answer;
use crate::failed::Failed;
use crate::form::Form;
use crate::fresh;
use crate::session::Session;
use crate::snapshot::{SNAPSHOT, Snapshot};
use crate::split::{Statement, Turn};

/// The way from our connections to their server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
pub(crate) enum Route {
    #[value(name = "direct")]
    #[serde(rename = "direct")]
    Direct,
    /// PgBouncer 1.18 in transaction mode, which keeps no prepared statements.
    #[value(name = "1.18")]
    #[serde(rename = "1.18")]
    Old,
    /// PgBouncer 1.24 in transaction mode, which keeps them.
    #[value(name = "1.24")]
    #[serde(rename = "1.24")]
    New,
}

impl Route {
    pub(crate) const ALL: [Self; 3] = [Self::Direct, Self::Old, Self::New];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Old => "1.18",
            Self::New => "1.24",
        }
    }

    fn bouncer(self) -> Result<Option<BouncerOptions>, Failed> {
        let binary = match self {
            Self::Direct => return Ok(None),
            Self::Old => BouncerBinary::older_than(1, 21),
            Self::New => BouncerBinary::at_least(1, 21),
        };
        let binary = binary.ok_or_else(|| {
            Failed::new(format!(
                "there is no PgBouncer {}; `just setup` gets one",
                self.name()
            ))
        })?;
        // One server connection, so that the next client meets everything that is left on it.
        let options = BouncerOptions::mode(PoolMode::Transaction)
            .pool_size(1)
            .binary(binary);
        Ok(Some(match self {
            Self::New => options.setting("max_prepared_statements", "200"),
            _ => options,
        }))
    }
}

/// The party that runs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Stock,
    /// Stock on a server whose counters have advanced, so that answers that depend on them differ from
    /// stock's.
    Shaken,
    Ours(Route),
}

/// A cluster for one party.
pub(crate) struct Lane {
    party: Party,
    profile: PoolProfile,
    // It is stopped first.
    bouncer: Option<Bouncer>,
    cluster: Cluster,
}

/// The result of a script.
pub(crate) struct Run {
    pub(crate) answers: Vec<Answer>,
    /// The session after the script.
    pub(crate) after: Snapshot,
    /// What the next holder finds different from what the first one found.
    pub(crate) borrowed: Vec<String>,
    /// The same for another client of the pooler.
    pub(crate) shared: Vec<String>,
    /// What the server has logged about its own crash.
    pub(crate) crashed: Vec<String>,
    pub(crate) took: Duration,
}

impl Lane {
    pub(crate) async fn start(party: Party, profile: PoolProfile) -> Result<Self, Failed> {
        // Nothing on the server runs beside a script or at random.
        let options = ClusterOptions::default()
            .setting("autovacuum", "off")
            .setting("max_parallel_workers", "0")
            .setting("synchronize_seqscans", "off")
            .setting("jit", "off")
            .setting("max_prepared_transactions", "10")
            .setting("timezone", "UTC")
            // So that its log contains only the end of the server.
            .setting("log_min_messages", "log")
            .setting("shared_buffers", "32MB");
        let cluster = Cluster::start(options).await?;
        let bouncer = match party {
            Party::Ours(route) => route.bouncer()?,
            _ => None,
        };
        let bouncer = match bouncer {
            Some(options) => Some(Bouncer::start(&cluster, options).await?),
            None => None,
        };
        let admin = cluster.admin().await?;
        fresh::make_template(&cluster, &admin).await?;
        if party == Party::Shaken {
            fresh::shake(&admin).await?;
        }
        Ok(Self {
            party,
            profile,
            bouncer,
            cluster,
        })
    }

    pub(crate) fn party(&self) -> Party {
        self.party
    }

    /// Runs a script in a fresh database. Some statements are replaced with one that fails, because they
    /// failed elsewhere.
    pub(crate) async fn run(
        &self,
        form: Form,
        statements: &[Statement],
        refused: &BTreeSet<usize>,
    ) -> Result<Run, Failed> {
        let began = Instant::now();
        let crashes = self.crashes().len();
        let during = |what| move |failed: Failed| failed.during(what);
        let made = fresh::make(&self.cluster).await;
        made.map_err(during("making the database"))?;
        let other = self
            .other_client()
            .await
            .map_err(during("connecting another client"))?;
        let mut session = self.session().await.map_err(during("connecting"))?;
        let first = session.snapshot().await?;
        let found = match &other {
            Some(other) => Some(seen_by(other).await?),
            None => None,
        };
        let mut answers = Vec::with_capacity(statements.len());
        let own = statements
            .iter()
            .position(|one| one.turn == Turn::NextBorrower);
        let (own, next) = (own.unwrap_or(statements.len()), statements.len());
        let text = |place: usize| match refused.contains(&place) {
            true => STAND_IN,
            false => &statements[place].sql,
        };
        for place in 0..own {
            answers.push(session.ask(form, text(place)).await?);
        }
        let after = session.snapshot().await?;
        // Stock has no pool, so its next holder has a fresh connection.
        session.replace().await?;
        let borrowed = match self.party {
            Party::Ours(_) => first.differences(&session.snapshot().await?),
            _ => Vec::new(),
        };
        for place in own..next {
            answers.push(session.ask(form, text(place)).await?);
        }
        let mut shared = Vec::new();
        if let (Some(other), Some(found)) = (&other, found) {
            shared = found.differences(&seen_by(other).await?);
        }
        session.close().await;
        let crashed = self.crashes();
        Ok(Run {
            answers,
            after,
            borrowed,
            shared,
            crashed: crashed.into_iter().skip(crashes).collect(),
            took: began.elapsed(),
        })
    }

    /// What the server has logged about crashed processes and their statements.
    fn crashes(&self) -> Vec<String> {
        let log = self.cluster.log_text();
        let says = [
            "was terminated by signal",
            "Failed process was running",
            "PANIC:",
        ];
        let crashes = log
            .lines()
            .filter(|line| says.iter().any(|says| line.contains(says)));
        // The time is removed, because the list does not need it.
        let crashes = crashes.map(|line| line.split_once("] ").map_or(line, |(_, said)| said));
        crashes.map(str::to_owned).collect()
    }

    async fn session(&self) -> Result<Session, Failed> {
        match (self.party, &self.bouncer) {
            (Party::Ours(_), None) => {
                Session::ours(&self.url(self.cluster.port()), self.profile.clone()).await
            }
            (Party::Ours(_), Some(bouncer)) => {
                Session::ours(&self.url(bouncer.port()), self.profile.clone()).await
            }
            _ => Session::stock(self.cluster.port(), |port| self.url(port), &self.profile).await,
        }
    }

    fn url(&self, port: u16) -> String {
        url(port, fresh::DATABASE, "postgres", self.cluster.password())
    }

    /// A foreign client of the pooler. It sends only simple queries.
    async fn other_client(&self) -> Result<Option<Client>, Failed> {
        let Some(bouncer) = &self.bouncer else {
            return Ok(None);
        };
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(bouncer.port())
            .dbname(fresh::DATABASE)
            .user("postgres")
            .password(self.cluster.password());
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(Some(client))
    }
}

async fn seen_by(client: &Client) -> Result<Snapshot, Failed> {
    let asked = tokio::time::timeout(PATIENCE, client.simple_query(SNAPSHOT)).await;
    Ok(match asked {
        Ok(Ok(messages)) => Snapshot::of_messages(&messages),
        Ok(Err(error)) => Snapshot::none(error.to_string()),
        Err(_) => Snapshot::none("no answer".to_owned()),
    })
}

/// It fails at the server in every form, and so fails a transaction like the refused statement does.
const STAND_IN: &str = "refused";
const PATIENCE: Duration = Duration::from_secs(30);
