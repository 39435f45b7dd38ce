//! Where the fixtures run: beside the test.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Spawns a task for a fixture of a test.
///
/// It runs on a runtime of the process. So the test's own runtime has only tasks of the tested code,
/// and the test can count them at the end.
pub fn beside<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(runtime).spawn(future)
}

/// The same, and waits for the result.
pub(crate) async fn done_beside<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    match beside(future).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("beside")
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("the fixtures have no runtime: {error}"))
}
