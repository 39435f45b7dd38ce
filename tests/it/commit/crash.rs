//! A COMMIT whose answer is lost in a crash of the server: the crash may lose the transaction, and the server
//! may use its id again.

use app_db::{Database, Error, Kind};
use harness::{Cluster, ClusterOptions, Fault, Proxy, Stop, TestDatabase, wait_until};
use tokio::task::JoinHandle;

use super::interrupted::{Gate, insert};
use crate::SOON;
use crate::transaction::database;

/// A server behind a proxy.
struct Crashing {
    cluster: Cluster,
    proxy: Proxy,
    db: TestDatabase,
    database: Database,
}

impl Crashing {
    async fn start() -> Self {
        // Only a COMMIT writes WAL to disk.
        let options = ClusterOptions::default().setting("wal_writer_delay", "10s");
        let cluster = Cluster::start(options).await.unwrap();
        let db = TestDatabase::empty_on(&cluster).await.unwrap();
        let proxy = Proxy::start(cluster.port()).await.unwrap();
        let database = database(&db.proxied_url(&proxy), &[]).await;
        Self {
            cluster,
            proxy,
            db,
            database,
        }
    }

    /// A COMMIT that waits on the server, and the id of its transaction.
    async fn commit_at(&self, gate: &Gate<'_>) -> (i64, JoinHandle<Result<(), Error>>) {
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
        (self.db.scalar(id).await.unwrap(), committing)
    }

    /// Ends the connection whose answer is held, and restarts the server, which nobody can reach meanwhile.
    async fn restart(&self, how: Stop) {
        // In this order, because another fault releases the replies that this one holds.
        self.proxy.cut();
        self.proxy.set(Fault::Refuse).await;
        self.cluster.restart(how).await.unwrap();
    }

    async fn rows(&self) -> i64 {
        self.db.scalar("select count(*) from gated").await.unwrap()
    }
}

/// The id was not written to disk, and another transaction got it later and committed.
#[tokio::test]
async fn a_commit_lost_in_a_crash_is_not_taken_for_another() {
    let server = Crashing::start().await;
    let gate = Gate::before(&server.db).await;
    let (xid, committing) = server.commit_at(&gate).await;
    server.restart(Stop::Immediate).await;
    let status = format!(
        "select coalesce(pg_xact_status(least({xid}, pg_current_xact_id()::text::bigint)::text::xid8), '')"
    );
    let mut others = 0;
    wait_until("the id is another's", SOON, async || {
        others += 1;
        server.db.scalar::<String>(&status).await.unwrap() == "committed"
    })
    .await;
    assert!(others > 1, "the id was written down");
    server.proxy.set(Fault::None).await;
    let error = committing.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::CommitUnknown(_)), "{error:?}");
    assert_eq!(server.rows().await, 0);
}

/// The server no longer knows the id: its transaction was not committed.
#[tokio::test]
async fn a_commit_that_a_crash_came_before_is_aborted() {
    let server = Crashing::start().await;
    let gate = Gate::before(&server.db).await;
    let (_xid, committing) = server.commit_at(&gate).await;
    server.restart(Stop::Immediate).await;
    server.proxy.set(Fault::None).await;
    let error = committing.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::CommitAborted(_)), "{error:?}");
    assert_eq!((error.kind(), server.rows().await), (Kind::Down, 0));
}

/// A committed transaction is there after a crash and after an orderly restart. After an orderly restart it is
/// known to be ours.
#[tokio::test]
async fn a_commit_before_an_orderly_restart_is_known() {
    for how in [Stop::Fast, Stop::Immediate] {
        let server = Crashing::start().await;
        let gate = Gate::before(&server.db).await;
        let (_xid, committing) = server.commit_at(&gate).await;
        server.proxy.set(Fault::HoldReplies).await;
        gate.let_through(1).await;
        server.restart(how).await;
        server.proxy.set(Fault::None).await;
        let outcome = committing.await.unwrap();
        match how {
            Stop::Fast => outcome.unwrap(),
            _ => assert!(matches!(outcome, Err(Error::CommitUnknown(_)))),
        }
        assert_eq!(server.rows().await, 1);
    }
}
