//! The server on which the databases are made: the project's own, or a private one.

use app_db::Endpoint;
use tokio::sync::OnceCell;

use crate::error::TestDatabaseError;
use crate::private_server;
use crate::project::Project;

pub(crate) struct Server(Endpoint);

impl Server {
    pub(crate) async fn of(project: &Project) -> Result<Self, TestDatabaseError> {
        if let Some(endpoint) = project.endpoint()? {
            return Ok(Self(endpoint));
        }
        // A process asks only once. From then on it keeps the server alive, like the other
        // processes that have asked.
        static PRIVATE: OnceCell<Endpoint> = OnceCell::const_new();
        PRIVATE
            .get_or_try_init(private_server::shared)
            .await
            .cloned()
            .map(Self)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}
