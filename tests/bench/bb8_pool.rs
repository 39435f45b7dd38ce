//! bb8 as diesel-async sets it up.

use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

/// bb8 with `connections` connections, either with a ping at every checkout, as in its defaults, or without.
///
/// It hands out first the connection that was returned last, as our pool does. That is not bb8's default. If
/// ten server processes took turns, they would slow down everything on the client's core (a SELECT of ours
/// from 58 to 90 µs), and the bench would not answer its question.
pub(crate) async fn connect(url: &str, connections: u32, validates: bool) -> bb8::Pool<Manager> {
    bb8::Pool::builder()
        .queue_strategy(bb8::QueueStrategy::Lifo)
        .max_size(connections)
        .min_idle(connections)
        .test_on_check_out(validates)
        .connection_timeout(Duration::from_secs(60))
        .build(Manager(url.to_owned()))
        .await
        .unwrap()
}

/// What diesel-async's own feature `bb8` does.
pub(crate) struct Manager(pub(crate) String);

impl bb8::ManageConnection for Manager {
    type Connection = AsyncPgConnection;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    async fn connect(&self) -> Result<AsyncPgConnection, Self::Error> {
        Ok(AsyncPgConnection::establish(&self.0).await?)
    }

    async fn is_valid(&self, conn: &mut AsyncPgConnection) -> Result<(), Self::Error> {
        let asked = diesel::select(1.into_sql::<Integer>());
        asked.get_result::<i32>(conn).await?;
        Ok(())
    }

    fn has_broken(&self, conn: &mut AsyncPgConnection) -> bool {
        use diesel_async::{AnsiTransactionManager, TransactionManager};
        AnsiTransactionManager::is_broken_transaction_manager(conn)
    }
}
