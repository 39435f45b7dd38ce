//! Renewals again and again: nothing is left of any of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use app_db::Refresh;
use harness::{TestDatabase, wait_until};
use tokio::runtime::Handle;

use super::{Secrets, generation, json, open, sourced, user};
use crate::SOON;
use crate::alone::has_its_own_process;
use crate::at_rest::watched;

/// As many as a day has, one every quarter of an hour.
const RENEWALS: u64 = 96;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A day of renewals from each source: no task, no descriptor, no generation and no process is left. The pool's side of
/// it runs on a paused clock, in `a_day_of_rotations_leaves_nothing_behind`.
#[tokio::test]
async fn a_day_of_renewals_leaves_nothing_behind() {
    if !has_its_own_process() {
        return;
    }
    for source in ["file", "directory", "command"] {
        let db = TestDatabase::empty().await.unwrap();
        let name = db.role().name();
        let secrets = Secrets::new();
        let put = |password: &str| {
            secrets.put("secret", &json(name, password));
            secrets.put("password", password);
        };
        put(&db.password());
        let script = secrets.put("token", "#!/bin/sh\nexec cat \"$1\"\n");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let secret = secrets.path("secret");
        let path = match source {
            "directory" => secrets.0.path(),
            _ => &secret,
        };
        let command = serde_json::to_string(&[&script, &secret]).unwrap();
        let more = [
            ("APP_DB__CREDENTIALS__COMMAND", &*command),
            // Nobody looks at the files but the test.
            ("APP_DB__CREDENTIALS__POLL", "1h"),
            ("APP_DB__CREDENTIALS__DRAIN_SPREAD", "0s"),
            ("APP_DB__PROFILE__MAX", "2"),
            ("PATH", "/usr/bin:/bin"),
        ];
        let database = open(&sourced(&db, source, path, &more)).await;
        let database = watched(&db, database).with_sessions(3);
        let mut first = None;
        for number in 1..=RENEWALS {
            let password = format!("password{number}");
            db.set_password(&password).await.unwrap();
            put(&password);
            let Refresh::Rotated(rotation) = database.refresh().await.unwrap() else {
                panic!("{source} has nothing new");
            };
            assert_eq!(database.read(user).await.unwrap(), name);
            rotation.drained().await;
            drop(rotation);
            if number == 5 {
                first = Some(left(&database).await);
            }
        }
        assert_eq!(generation(&database), RENEWALS + 1);
        let after = left(&database).await;
        assert_eq!(Some(after), first, "{source}: descriptors and tasks");
        assert_eq!(database.status()[0].retiring, 0);
        database.rests().await;
    }
}

/// The descriptors and the tasks of this process once nothing happens any more.
async fn left(database: &app_db::Database) -> (usize, usize) {
    let mut before = (0, 0);
    let mut settled = 0;
    wait_until("nothing happens", SOON, async || {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let status = &database.status()[0];
        let now = (descriptors(), Handle::current().metrics().num_alive_tasks());
        let is_same = now == before && (status.idle, status.open) == (1, 1);
        settled = if is_same { settled + 1 } else { 0 };
        before = now;
        settled > 10
    })
    .await;
    before
}
