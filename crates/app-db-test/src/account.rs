//! The account under which a server runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

/// The user and the group of the account for servers that root starts, because PostgreSQL refuses root: `postgres`,
/// or else `nobody`. `None` if there is neither.
pub fn unprivileged() -> io::Result<Option<(u32, u32)>> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    Ok(["postgres", "nobody"]
        .iter()
        .find_map(|name| find(&passwd, name)))
}

/// The user of this process.
pub(crate) fn own() -> io::Result<u32> {
    // A process's entry in /proc belongs to its effective user. Without /proc, a new file shows the user.
    if let Ok(process) = fs::metadata("/proc/self") {
        return Ok(process.uid());
    }
    let probe = std::env::temp_dir().join(format!("app-db-test-{:x}", fastrand::u64(..)));
    let user = fs::File::create_new(&probe)?.metadata()?.uid();
    fs::remove_file(probe)?;
    Ok(user)
}

fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd =
            "postgresql:x:1:2::/:/bin/sh\npostgres:x:101:104:PostgreSQL,,,:/var:/bin/bash\n";
        assert_eq!(find(passwd, "postgres"), Some((101, 104)));
        assert_eq!(find(passwd, "nobody"), None);
    }
}
