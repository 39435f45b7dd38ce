//! `dbctl migrate lint --since` and `verify --since`: only what a branch has changed.

use std::fs;
use std::process::Command;

use harness::TestDatabase;

use super::Dbctl;
use super::lint::folder;

fn git(dbctl: &Dbctl, arguments: &[&str]) {
    let done = Command::new("git")
        .current_dir(dbctl.path("."))
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
async fn only_what_has_changed_is_looked_at_and_an_edit_of_the_old_is_an_error() {
    let dbctl = folder("alter table a drop column b");
    let path = std::env::var("PATH").unwrap();
    let dbctl = dbctl.with("PATH", path);
    git(&dbctl, &["init", "--quiet"]);
    git(&dbctl, &["add", "."]);
    git(&dbctl, &["commit", "--quiet", "-m", "first"]);
    dbctl.run("migrate lint --since HEAD").await.ended_with(0);
    dbctl.add_migration("2_new", "drop table a");
    let text = dbctl
        .run("migrate lint --since HEAD")
        .await
        .ended_with(6)
        .stdout;
    assert!(
        text.contains("ban-drop-table") && !text.contains("1_a/up.sql"),
        "{text}"
    );
    git(&dbctl, &["add", "."]);
    git(&dbctl, &["commit", "--quiet", "-m", "second"]);
    let text = dbctl
        .run("migrate lint --since HEAD~1")
        .await
        .ended_with(6)
        .stdout;
    assert!(text.contains("ban-drop-table"), "{text}");

    dbctl.add_migration("1_a", "create table b(id bigint primary key)");
    let text = dbctl
        .run("migrate lint --since HEAD")
        .await
        .ended_with(6)
        .stdout;
    assert!(
        text.contains("migrations/1_a/up.sql:1:1: error migration-edited"),
        "{text}"
    );
    dbctl
        .run("migrate lint --since no-such-ref")
        .await
        .ended_with(2)
        .says("no-such-ref");
}

#[tokio::test]
async fn a_new_migration_that_is_older_than_those_of_the_other_branch_is_an_error() {
    let dbctl = folder("create table a(id bigint primary key)");
    let path = std::env::var("PATH").unwrap();
    let dbctl = dbctl.with("PATH", path);
    let commit = |message| {
        git(&dbctl, &["add", "."]);
        git(&dbctl, &["commit", "--quiet", "-m", message]);
    };
    let add = |name: &str| {
        dbctl.add_migration(name, "create table b(id bigint primary key)");
        let down = dbctl.path(&format!("migrations/{name}/down.sql"));
        fs::write(down, "drop table b").unwrap();
    };
    git(&dbctl, &["init", "--quiet"]);
    commit("first");
    git(&dbctl, &["checkout", "--quiet", "-b", "mine"]);
    add("2026-01-02_mine");
    commit("mine");
    dbctl.run("migrate lint --since main").await.ended_with(0);

    git(&dbctl, &["checkout", "--quiet", "main"]);
    add("20260103_theirs");
    commit("theirs");
    git(&dbctl, &["checkout", "--quiet", "mine"]);
    let text = dbctl
        .run("migrate lint --since main")
        .await
        .ended_with(6)
        .stdout;
    assert!(
        text.contains(
            "error migration-out-of-order: It is older than 20260103_theirs, which main has."
        ),
        "{text}"
    );
    fs::rename(
        dbctl.path("migrations/2026-01-02_mine"),
        dbctl.path("migrations/2026-01-04_mine"),
    )
    .unwrap();
    dbctl.run("migrate lint --since main").await.ended_with(0);
}

#[tokio::test]
async fn only_down_files_of_what_has_changed_are_verified() {
    let (database, scratch) = (
        TestDatabase::empty().await.unwrap(),
        TestDatabase::empty().await.unwrap(),
    );
    let path = std::env::var("PATH").unwrap();
    let dbctl = Dbctl::with_migration(&database, "1_a", "create table if not exists a()")
        .with("PATH", path);
    // It takes nothing back, and nobody asks.
    fs::write(dbctl.path("migrations/1_a/down.sql"), "select 1").unwrap();
    git(&dbctl, &["init", "--quiet"]);
    git(&dbctl, &["add", "."]);
    git(&dbctl, &["commit", "--quiet", "-m", "first"]);
    dbctl.add_migration("2_b", "create table b(); create table if not exists c()");
    fs::write(dbctl.path("migrations/2_b/down.sql"), "drop table b").unwrap();
    let verify = format!(
        "migrate verify --since HEAD --scratch-url {}",
        scratch.url()
    );
    let outcome = dbctl
        .run(&verify)
        .await
        .ended_with(1)
        .says("1 migration verified");
    assert_eq!(
        outcome.stdout,
        "2_b: table public.c is left behind by down.sql\n"
    );
}
