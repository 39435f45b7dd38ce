//! Databases that killed processes have left, and templates of migrations that no longer exist.

use tokio::sync::OnceCell;

use crate::admin::Admin;
use crate::error::TestDatabaseError;
use crate::project::Project;
use crate::template::comment;

/// Removes them, once in a process. What cannot be removed stays for the next process.
pub(crate) async fn sweep_once(admin: &Admin, project: &Project) {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    SWEPT
        .get_or_init(async || {
            let _ = sweep(admin, project).await;
        })
        .await;
}

async fn sweep(admin: &Admin, project: &Project) -> Result<(), TestDatabaseError> {
    let present = format!("{}template_{}", admin.prefix(), project.state()?);
    let sql = "SELECT coalesce(array_agg(datname::text), '{}') FROM pg_database \
        WHERE datname ~ ('^' || $1 || '[0-9a-f]{12}$') \
           OR datname ~ ('^' || $1 || 'template_') AND datname <> $2 \
              AND shobj_description(oid, 'pg_database') = $3";
    let left: Vec<String> = admin
        .ask(sql, &[&admin.prefix(), &present, &comment(project)])
        .await?;
    for name in left {
        // The owner of a copy holds the lock as long as it lives.
        if admin.try_lock(&name).await? {
            let dropped = admin
                .run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
                .await;
            admin.unlock(&name).await?;
            dropped?;
        }
    }
    Ok(())
}
