//! Locales for servers that report in another language than English.

use std::fs;
use std::path::PathBuf;

use crate::HarnessError;
use crate::account::Account;
use crate::error::Doing;
use crate::folder::{base, lock, make};

/// The folder, for `LOCPATH`, that has the locale in UTF-8; made once for each machine. Blocks.
///
/// The machine itself may have no locale but `C`.
pub(super) fn prepare(account: Account, locale: &str) -> Result<PathBuf, HarnessError> {
    let folder = base(account)?.join(format!("locale-{locale}"));
    let _lock = lock(account)?;
    // The system may have removed some files from the temporary folder. The server needs this one.
    let read = folder
        .join(in_utf8(locale))
        .join("LC_MESSAGES/SYS_LC_MESSAGES");
    if read.exists() {
        return Ok(folder);
    }
    let _ = fs::remove_dir_all(&folder);
    let growing = folder.with_extension("growing");
    let _ = fs::remove_dir_all(&growing);
    make(account, &growing, 0o755).doing(|| format!("making {}", growing.display()))?;
    let mut localedef = account.command("localedef");
    localedef.args(["-i", locale, "-f", "UTF-8"]);
    localedef.arg(growing.join(in_utf8(locale)));
    let made = account.run(&mut localedef);
    made.map_err(|why| HarnessError::NoLocale {
        locale: locale.to_owned(),
        why: why.to_string(),
    })?;
    // The rename makes it appear whole or not at all.
    fs::rename(&growing, &folder).doing(|| format!("naming {}", folder.display()))?;
    Ok(folder)
}

pub(super) fn in_utf8(locale: &str) -> String {
    format!("{locale}.UTF-8")
}
