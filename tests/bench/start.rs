//! How long a new process waits for its first row.

use app_db::{Config, Database};
use diesel_async::{AsyncConnection, AsyncPgConnection};

use crate::accounts;
use crate::contenders::Contenders;
use crate::pairs::pairs;

/// Does the first row come as soon as with a plain connection, from a cold start?
pub(crate) async fn first_row(contenders: &Contenders, name: &'static str) {
    let url = contenders.url();
    let vars = [
        ("APP_ENV", "test"),
        ("DATABASE_URL", &*url),
        ("APP_DB__PROFILE__MIN_IDLE", "0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::load_from(std::path::Path::new("/nonexistent"), vars).unwrap();
    let outcome = pairs(
        name,
        async || {
            let database = Database::connect(&config).await.unwrap();
            let mut conn = database.get().await.unwrap();
            accounts::select(&mut conn).await;
        },
        async || {
            let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
            accounts::select(&mut conn).await;
        },
    );
    outcome.await.answer(1.0);
}
