//! The workspace's programs, built as their sources are now.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The command line.
pub(crate) fn dbctl() -> PathBuf {
    profile_folder().join("dbctl")
}

/// The reference service.
pub(crate) fn ledger() -> PathBuf {
    profile_folder().join("examples/ledger")
}

/// The quick start of the README.
pub(crate) fn quick_start() -> PathBuf {
    profile_folder().join("examples/quick_start")
}

/// The second example.
pub(crate) fn orders() -> PathBuf {
    profile_folder().join("examples/orders")
}

/// `target/debug`, brought up to date once per process. All programs at once, since that is what cargo
/// has just built for the tests: a single one would be built with other features, from the bottom up.
fn profile_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).unwrap();
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--bins", "--examples"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("CARGO_TARGET_DIR", folder.parent().unwrap())
            .status()
            .unwrap();
        assert!(built.success(), "the programs do not build");
        folder.to_owned()
    })
}
