//! A COMMIT whose answer is lost in a failover: another server is asked afterwards.

use app_db::{Database, Error, Kind};
use harness::{Cluster, ClusterOptions, Fault, Proxy, Stop, TestDatabase, wait_until};
use tokio::task::JoinHandle;

use super::interrupted::{Gate, insert};
use crate::SOON;
use crate::transaction::database;

/// A primary behind a proxy, its standby, and a database that connects to the one that accepts writes.
struct Pair {
    primary: Cluster,
    standby: Cluster,
    proxy: Proxy,
    db: TestDatabase,
    database: Database,
}

impl Pair {
    async fn start() -> Self {
        let primary = Cluster::start(ClusterOptions::default()).await.unwrap();
        let standby = primary.replica("replica1").await.unwrap();
        let db = TestDatabase::empty_on(&primary).await.unwrap();
        standby.caught_up_with(&primary).await.unwrap();
        let proxy = Proxy::start(primary.port()).await.unwrap();
        let url = format!(
            "postgres://{}:{}@127.0.0.1:{},127.0.0.1:{}/{}?target_session_attrs=read-write",
            db.role().name(),
            db.password(),
            proxy.port(),
            standby.port(),
            db.name()
        );
        let database = database(&url, &[]).await;
        Self {
            primary,
            standby,
            proxy,
            db,
            database,
        }
    }

    /// Commits a row on the primary, which ends before its answer has arrived. Returns the id of the transaction, and
    /// the task that still waits for the answer.
    async fn lose_a_commit(&self, gate: &Gate<'_>) -> (i64, JoinHandle<Result<(), Error>>) {
        let database = self.database.clone();
        let committing = tokio::spawn(async move {
            let resolved = database.transaction().resolve_commit().timeout(2 * SOON);
            let work = async |conn: &mut _| Ok::<_, Error>(insert(conn).await?);
            resolved.run_once(work).await
        });
        gate.reached().await;
        // The epoch of a new cluster is 0.
        let id = "select backend_xid::text::bigint from pg_stat_activity \
            where application_name = 'app-db' and backend_xid is not null";
        let xid = self.db.scalar(id).await.unwrap();
        self.proxy.set(Fault::HoldReplies).await;
        gate.let_through(1).await;
        self.primary.stop(Stop::Immediate).await.unwrap();
        assert!(!committing.is_finished());
        (xid, committing)
    }

    /// The connection ends for its client too, and the primary is gone for good.
    async fn cut(&self) {
        // In this order, because another fault releases the replies that this one holds.
        self.proxy.cut();
        self.proxy.set(Fault::Refuse).await;
    }

    async fn rows_on_the_standby(&self) -> i64 {
        let admin = self.standby.admin_of(self.db.name()).await.unwrap();
        let rows = admin.query_one("select count(*) from gated", &[]).await;
        rows.unwrap().get(0)
    }
}

fn assert_unknown(outcome: Result<(), Error>) {
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
    assert_eq!(error.kind(), Kind::OutcomeUnknown);
}

/// The standby has the COMMIT, and takes over while it is being asked. Its answer is not believed: with only the id,
/// this case cannot be distinguished from the next one.
#[tokio::test]
async fn a_commit_that_the_standby_has_is_not_called_aborted() {
    let pair = Pair::start().await;
    let gate = Gate::before(&pair.db).await;
    pair.primary
        .set("synchronous_standby_names", "replica1")
        .await
        .unwrap();
    let synchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'";
    wait_until("the standby is waited for", SOON, async || {
        pair.primary.scalar::<i64>(synchronous).await.unwrap() == 1
    })
    .await;
    let (_xid, committing) = pair.lose_a_commit(&gate).await;
    pair.cut().await;
    pair.standby.promote().await.unwrap();
    assert_unknown(committing.await.unwrap());
    assert_eq!(pair.rows_on_the_standby().await, 1);
}

/// The standby never received the COMMIT, and has given its id to another transaction, which is committed.
#[tokio::test]
async fn a_commit_that_the_standby_has_not_is_not_taken_for_another() {
    let pair = Pair::start().await;
    let gate = Gate::before(&pair.db).await;
    pair.standby.caught_up_with(&pair.primary).await.unwrap();
    pair.standby.set("primary_conninfo", "").await.unwrap();
    wait_until("nothing is streamed any more", SOON, async || {
        let senders = "select count(*) from pg_stat_replication";
        pair.primary.scalar::<i64>(senders).await.unwrap() == 0
    })
    .await;
    let (xid, committing) = pair.lose_a_commit(&gate).await;
    pair.standby.promote().await.unwrap();
    let status = format!(
        "select coalesce(pg_xact_status(least({xid}, pg_current_xact_id()::text::bigint)::text::xid8), '')"
    );
    wait_until("the id is another's", SOON, async || {
        pair.standby.scalar::<String>(&status).await.unwrap() == "committed"
    })
    .await;
    pair.cut().await;
    assert_unknown(committing.await.unwrap());
    assert_eq!(pair.rows_on_the_standby().await, 0);
}
