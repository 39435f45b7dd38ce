//! Connection URLs of the servers on this machine.

/// A URL of a server on this machine.
pub fn url(port: u16, database: &str, user: &str, password: &str) -> String {
    format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
}

/// The same URL with another port, for a proxy or a pooler.
pub fn through_port(url: &str, port: u16) -> String {
    let Some((before, rest)) = url.rsplit_once("@127.0.0.1:") else {
        return url.to_owned();
    };
    let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}@127.0.0.1:{port}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_changes() {
        let direct = url(5432, "d", "u", "p");
        assert_eq!(through_port(&direct, 7), "postgres://u:p@127.0.0.1:7/d");
        assert_eq!(
            through_port(&format!("{direct}?a=1"), 7),
            "postgres://u:p@127.0.0.1:7/d?a=1"
        );
    }
}
