//! The database of one test.

use std::fmt;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use app_db::{Database, Endpoint, SecretString};
use tokio_postgres::Client;

use crate::admin::{self, Admin};
use crate::error::TestDatabaseError;
use crate::leftovers;
use crate::project::Project;
use crate::server::Server;
use crate::template::Template;

/// A migrated database for one test, which dereferences to a [`Database`].
///
/// It is removed on drop, together with any connections that are left.
pub struct TestDatabase {
    // Dropped in this order: the handle first, then its database.
    database: Database,
    copy: DatabaseCopy,
}

impl TestDatabase {
    /// A database with the migrations of the nearest folder `migrations`, from the tested crate upwards.
    ///
    /// It is made on the server of `DATABASE_URL` (`DATABASE_URL_DIRECT`), or on a private one if there is no such
    /// URL. It takes about 30 ms. The first one also takes the time of the migrations, and about half a second to
    /// start a private server.
    ///
    /// # Errors
    ///
    /// [`TestDatabaseError`] says what is missing (migrations, a PostgreSQL, a right of the role) or how a migration
    /// has failed.
    ///
    /// Dropping the future leaves at most a database that the next test process removes. Call it inside a tokio
    /// runtime.
    pub async fn new() -> Result<Self, TestDatabaseError> {
        Box::pin(Self::of(Project::nearest()?)).await
    }

    /// The same with the migrations of this folder. The settings come from `config/` beside it.
    ///
    /// # Errors
    ///
    /// As [`TestDatabase::new`]. Dropping the future has the same effect too.
    pub async fn migrated(folder: impl AsRef<Path>) -> Result<Self, TestDatabaseError> {
        Box::pin(Self::of(Project::of(folder.as_ref())?)).await
    }

    async fn of(project: Project) -> Result<Self, TestDatabaseError> {
        let server = Server::of(&project).await?;
        let admin = Admin::connect(server.endpoint()).await?;
        leftovers::sweep_once(&admin, &project).await;
        // They are boxed: without optimization these futures are large, and a test has a stack of 2 MiB.
        let template = Box::pin(Template::ready(&admin, &project)).await?;
        let copy = DatabaseCopy::of(&template, admin).await?;
        let config = project.config(&copy.endpoint)?;
        let database = Box::pin(Database::connect(&config)).await?;
        Ok(Self { database, copy })
    }

    /// Another handle to the same database, for the state of a web framework.
    pub fn database(&self) -> Database {
        self.database.clone()
    }

    /// The URL of the database, with its password: `DATABASE_URL` for another process.
    pub fn url(&self) -> SecretString {
        self.copy.endpoint.to_url()
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.copy.endpoint.dbname
    }
}

impl Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

/// The URL has the password as `***`.
impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestDatabase")
            .field(&self.copy.endpoint)
            .finish()
    }
}

/// A copy of a template.
struct DatabaseCopy {
    endpoint: Endpoint,
    /// Holds a lock on the copy's name as long as it lives. The lock tells a sweep that somebody still needs the
    /// copy.
    _owner: Client,
    /// The endpoint of the database in which the locks are.
    server: Endpoint,
}

impl DatabaseCopy {
    async fn of(template: &Template, admin: Admin) -> Result<Self, TestDatabaseError> {
        let name = format!("{}{:012x}", admin.prefix(), fastrand::u64(..1 << 48));
        admin.lock(&name).await?;
        admin
            .run(&format!(
                "CREATE DATABASE {name} TEMPLATE {}",
                template.name()
            ))
            .await?;
        let (client, server) = admin.into_parts();
        let mut endpoint = server.clone();
        endpoint.dbname = name;
        Ok(Self {
            endpoint,
            _owner: client,
            server,
        })
    }
}

impl Drop for DatabaseCopy {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.endpoint.dbname.clone());
        // A thread of its own works inside and outside a runtime.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                // What cannot be removed now is removed by the next sweep.
                let dropping = async {
                    tokio::time::timeout(PATIENCE, admin::drop_database(&server, &name)).await
                };
                let _ = runtime.block_on(dropping);
            }
        });
        let _ = dropping.join();
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
