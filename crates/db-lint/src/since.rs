//! What has changed since a revision of git.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use app_db::Migration;

use crate::error::LintError;
use crate::finding::Finding;
use crate::rules;

/// The migrations that have changed since a revision.
#[derive(Clone, Debug)]
pub struct Changes {
    since: String,
    /// The names of their directories.
    changed: BTreeSet<String>,
    /// Files that existed and have changed since, as paths from the folder on.
    edited: Vec<PathBuf>,
    /// The directories that the revision has.
    there: BTreeSet<String>,
}

impl Changes {
    /// Asks git what has changed below `directory` since this branch left `since`: in commits, in files that are not
    /// committed, and in new files.
    ///
    /// # Errors
    ///
    /// [`LintError::Git`] if there is no git, no repository, or no such revision.
    pub fn since(directory: &Path, since: &str) -> Result<Self, LintError> {
        let git = |arguments: &[&str]| git(directory, since, arguments);
        let commit = format!("{since}^{{commit}}");
        let commit = git(&[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &commit,
        ])?;
        // Changes that came to the other branch meanwhile are not ours.
        let tip = commit.trim().to_owned();
        let base = git(&["merge-base", &tip, "HEAD"]).unwrap_or(commit);
        let base = base.trim();
        let diff = [
            "diff",
            "--relative",
            "--no-renames",
            "--name-status",
            "-z",
            base,
            "--",
            ".",
        ];
        let diff = git(&diff)?;
        let new = git(&["ls-files", "--others", "--exclude-standard", "-z"])?;
        // The directories of the revision itself: a migration that came to it meanwhile may be applied
        // before ours.
        let there = git(&["ls-tree", "-d", "--name-only", "-z", &tip])?;

        let mut changes = Self {
            since: since.to_owned(),
            changed: new.split('\0').filter_map(directory_of).collect(),
            edited: Vec::new(),
            there: there
                .split('\0')
                .filter(|directory| !directory.is_empty() && !directory.starts_with('.'))
                .map(str::to_owned)
                .collect(),
        };
        let mut parts = diff.split('\0');
        while let (Some(status), Some(file)) = (parts.next(), parts.next()) {
            changes.changed.extend(directory_of(file));
            let is_migration = directory_of(file).is_some();
            if is_migration && !status.starts_with('A') {
                changes.edited.push(PathBuf::from(file));
            }
        }
        Ok(changes)
    }

    /// Whether the migration in this directory has changed.
    #[must_use]
    pub fn has(&self, migration: &Path) -> bool {
        let name = migration.file_name().unwrap_or_default();
        self.changed.contains(&*name.to_string_lossy())
    }

    /// A finding for a new migration that is older than the newest one of the revision.
    pub(crate) fn out_of_order(&self, migration: &Migration) -> Option<Finding> {
        let name = migration.path.file_name()?.to_string_lossy();
        let newest = self
            .there
            .iter()
            .max_by_key(|directory| version(directory))?;
        if self.there.contains(&*name) || migration.version >= version(newest) {
            return None;
        }
        let message = format!("It is older than {newest}, which {} has.", self.since);
        let path = migration.path.join("up.sql");
        Some(Finding::of_file(&rules::OUT_OF_ORDER, path, message))
    }

    /// A finding for each file that existed before. Somebody may have applied it, so it must not change.
    pub(crate) fn edited(&self, directory: &Path) -> Vec<Finding> {
        let finding = |file: &PathBuf| {
            let message = format!(
                "The file differs from the one in {}, which may already be applied somewhere.",
                self.since
            );
            Finding::of_file(&rules::EDITED, directory.join(file), message)
        };
        self.edited.iter().map(finding).collect()
    }
}

/// The version of a directory, in the form in which versions are compared.
fn version(directory: &str) -> String {
    let version = directory.split('_').next().unwrap_or_default();
    version.replace('-', "")
}

/// The directory of the migration to which a file belongs.
fn directory_of(file: &str) -> Option<String> {
    let (directory, _) = file.split_once('/')?;
    Some(directory.to_owned())
}

fn git(directory: &Path, since: &str, arguments: &[&str]) -> Result<String, LintError> {
    let failed = |problem: String| LintError::Git {
        since: since.to_owned(),
        problem,
    };
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let said = if said.is_empty() {
            "there is no such revision".to_owned()
        } else {
            said
        };
        return Err(failed(said));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
