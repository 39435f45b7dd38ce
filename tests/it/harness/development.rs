//! The development servers of `just up` and `just down`.

use std::path::Path;
use std::process::Command;

use tokio_postgres::NoTls;

const DEV_CLUSTER: &str = env!("CARGO_BIN_EXE_dev-cluster");

/// The URLs stand in a service's `.env`, and the data in its database.
#[tokio::test]
async fn the_next_start_has_the_same_urls_and_data() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("dev");
    let started = Started::up(&folder);
    let (pooled, direct) = started.urls();
    execute(&direct, "CREATE TABLE kept AS SELECT 1").await;
    execute(&pooled, "SELECT FROM kept").await;
    drop(started);
    assert!(tokio_postgres::connect(&direct, NoTls).await.is_err());

    let started = Started::up(&folder);
    assert_eq!(started.urls(), (pooled.clone(), direct));
    execute(&pooled, "SELECT FROM kept").await;
}

/// The servers, until it is dropped.
struct Started<'a> {
    folder: &'a Path,
    printed: String,
}

impl<'a> Started<'a> {
    fn up(folder: &'a Path) -> Self {
        let printed = dev_cluster("up", folder);
        Self { folder, printed }
    }

    /// The pooled and the direct URL.
    fn urls(&self) -> (String, String) {
        let url = |name: &str| {
            let start = format!("export {name}=");
            let mut lines = self.printed.lines();
            lines
                .find_map(|line| line.strip_prefix(&start))
                .unwrap()
                .to_owned()
        };
        (url("DATABASE_URL"), url("DATABASE_URL_DIRECT"))
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        dev_cluster("down", self.folder);
    }
}

fn dev_cluster(action: &str, folder: &Path) -> String {
    let mut command = Command::new(DEV_CLUSTER);
    let output = command
        .arg(action)
        .arg("--folder")
        .arg(folder)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}");
    printed
}

async fn execute(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}
