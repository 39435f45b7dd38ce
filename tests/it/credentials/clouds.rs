//! The commands of the clouds in docs/rotation.md, with our own programs in the clouds' place: what a command is asked,
//! and whether its output is understood.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use app_db::Database;
use harness::{Cluster, ClusterOptions};

use super::recipes::blocks;
use super::{Secrets, open, sourced_at, user};

/// The command of a section; its script, if it has one, is put where `path` leads.
fn command(heading: &str, secrets: &Secrets) -> Vec<String> {
    let [settings] = &blocks(heading, "toml")[..] else {
        panic!("{heading} has another number of settings");
    };
    let settings: toml::Table = toml::from_str(settings).unwrap();
    let credentials = &settings["database"]["credentials"];
    assert_eq!(credentials["source"].as_str(), Some("command"));
    let mut argv: Vec<String> = credentials["command"].clone().try_into().unwrap();
    if let [script] = &blocks(heading, "sh")[..] {
        let name = Path::new(&argv[0]).file_name().unwrap().to_str().unwrap();
        let path = program(secrets, name, script);
        argv[0] = path;
    }
    argv
}

fn program(secrets: &Secrets, name: &str, text: &str) -> String {
    let path = secrets.put(name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Opens a database with the command of a section, and a program that notes what it is asked, and prints this.
async fn with(heading: &str, program_name: &str, prints: &str) -> (Cluster, Database, String) {
    let cluster = Cluster::start(ClusterOptions::default()).await.unwrap();
    let create = "CREATE ROLE app LOGIN PASSWORD 'a-token/?Action=connect&X%2F=1'";
    cluster.sql(create).await.unwrap();
    let secrets = Secrets::new();
    let asked = secrets.path("asked");
    let prints = secrets.put("prints", prints);
    let text = format!(
        "#!/bin/sh\nprintf '%s ' \"$@\" >{}\ncat {}\n",
        asked.display(),
        prints.display()
    );
    program(&secrets, program_name, &text);
    let argv = serde_json::to_string(&command(heading, &secrets)).unwrap();
    let path = format!("{}:/usr/bin:/bin", secrets.0.path().display());
    let url = harness::url(cluster.port(), "postgres", "app", "nobody");
    let more = [("APP_DB__CREDENTIALS__COMMAND", &*argv), ("PATH", &path)];
    let database = open(&sourced_at(&url, "command", &prints, &more)).await;
    assert_eq!(database.read(user).await.unwrap(), "app");
    (cluster, database, fs::read_to_string(asked).unwrap())
}

const TOKEN: &str = "a-token/?Action=connect&X%2F=1";

#[tokio::test]
async fn a_token_of_rds() {
    let (_cluster, database, asked) = with("AWS", "aws", TOKEN).await;
    assert_eq!(
        asked,
        "rds generate-db-auth-token --hostname app.abc.eu-central-1.rds.amazonaws.com --port 5432 --username app "
    );
    let left = database.credentials().expires_in.unwrap();
    assert!(
        left > Duration::from_secs(840) && left <= Duration::from_secs(900),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_token_of_cloud_sql() {
    let (_cluster, database, asked) = with("Google Cloud", "gcloud", TOKEN).await;
    assert_eq!(asked, "auth print-access-token ");
    assert!(database.credentials().expires_in.unwrap() <= Duration::from_secs(300));
}

#[tokio::test]
async fn a_token_of_entra() {
    // What `az` makes of its answer with that query.
    let until = std::time::SystemTime::now() + Duration::from_secs(3_600);
    let until = until
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let prints = serde_json::json!({ "expires_at": until, "password": TOKEN, "version": 1 });
    let (_cluster, database, asked) = with("Azure", "az", &prints.to_string()).await;
    assert!(
        asked.starts_with(
            "account get-access-token --resource-type oss-rdbms --query {version: `1`,"
        ),
        "{asked}"
    );
    let left = database.credentials().expires_in.unwrap();
    assert!(left > Duration::from_secs(3_500), "{left:?}");
}
