//! Splits the text of a URL into parameters, as libpq does. Its errors never quote the text.

use percent_encoding::percent_decode_str;

use super::gathered::Gathered;
use super::{pairs, scheme};

/// Returns the decoded parameters under libpq's names. The error has every problem, without secrets.
pub(super) fn split(text: &str) -> Result<Gathered, Vec<String>> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(vec![CONTROL.to_owned()]);
    }
    match pairs::are_meant(text) {
        true => pairs::split(text),
        false => split_url(text),
    }
}

fn split_url(url: &str) -> Result<Gathered, Vec<String>> {
    let parts = UrlParts::of(url).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut params = Vec::new();
    match parts.login() {
        Ok(login) => params.extend(login),
        Err(problem) => problems.push(problem),
    }
    match parts.hosts() {
        Ok(hosts) => params.extend(hosts),
        Err(problem) => problems.push(problem),
    }
    // A wrong split there would move a part of the login into the query, where it is no parameter.
    if !problems.is_empty() {
        return Err(problems);
    }
    match decode(parts.path, "the database's name") {
        Ok(dbname) if dbname.is_empty() => {}
        Ok(dbname) => params.push(("dbname".to_owned(), dbname)),
        Err(problem) => problems.push(problem),
    }
    // A `?` or `&` in a password cuts it, and its rest looks like the name of a parameter.
    let login_is_whole = parts.userinfo.is_some() || !parts.authority.contains(':');
    let may_echo = login_is_whole && !parts.query.contains("password");
    let mut gathered = Gathered::new(params, problems, may_echo);
    for pair in parts.query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            gathered.problem(
                "a parameter without `=`; is a `&` in a value not written %26?".to_owned(),
            );
            continue;
        };
        match (decode(name, "a parameter"), decode(value, "a parameter")) {
            (Ok(name), Ok(value)) => gathered.add(name, value),
            (Err(problem), _) | (_, Err(problem)) => gathered.problem(problem),
        }
    }
    gathered.finish()
}

const CONTROL: &str = "a control character in the URL; is a line break in the middle?";

struct UrlParts<'a> {
    userinfo: Option<&'a str>,
    authority: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> UrlParts<'a> {
    fn of(url: &'a str) -> Result<Self, String> {
        let rest = scheme::after(url)?;
        // As libpq does: the login ends at an `@`, if there is one before any `/`.
        let at = rest.find('@').filter(|at| !rest[..*at].contains('/'));
        let (userinfo, rest) = match at {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        if rest.contains('@') || userinfo.is_some_and(|login| login.contains('?')) {
            return Err(
                "one of `@`, `/` or `?` stands unescaped in the user name, the password \
                        or a parameter: write %40 for `@`, %2F for `/`, %3F for `?`"
                    .into(),
            );
        }
        if rest.contains('#') {
            return Err("a `#` stands unescaped after the login: write %23".into());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(UrlParts {
            userinfo,
            authority,
            path,
            query,
        })
    }

    fn login(&self) -> Result<Vec<(String, String)>, String> {
        let Some(userinfo) = self.userinfo else {
            return Ok(Vec::new());
        };
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        let mut login = Vec::new();
        if !user.is_empty() {
            login.push(("user".to_owned(), decode(user, "the user name")?));
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            login.push(("password".to_owned(), decode(password, "the password")?));
        }
        Ok(login)
    }

    fn hosts(&self) -> Result<Vec<(String, String)>, String> {
        if self.authority.is_empty() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        let mut ports = Vec::new();
        for host in self.authority.split(',') {
            let (name, port) = name_and_port(host)?;
            let name = decode(name, "the host")?;
            if name.contains(',') {
                return Err("a comma in the name of a host".into());
            }
            names.push(name);
            ports.push(port);
        }
        let mut hosts = Vec::new();
        if names.len() > 1 && names.iter().any(String::is_empty) {
            return Err("an empty element in the list of hosts".into());
        }
        if names.iter().any(|name| !name.is_empty()) {
            hosts.push(("host".to_owned(), names.join(",")));
        }
        // As in libpq: a list of hosts has a list of ports, even if each is empty.
        if ports.len() > 1 || ports.iter().any(|port| !port.is_empty()) {
            hosts.push(("port".to_owned(), ports.join(",")));
        }
        Ok(hosts)
    }
}

fn name_and_port(host: &str) -> Result<(&str, &str), String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest
                .split_once(']')
                .ok_or("an IPv6 address lacks its `]`")?;
            match (rest.is_empty(), rest.strip_prefix(':')) {
                (true, _) => (name, ""),
                (false, Some(port)) => (name, port),
                (false, None) => return Err("expected `:` and a port after `]`".into()),
            }
        }
        None => host.split_once(':').unwrap_or((host, "")),
    };
    if port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Ok((name, port));
    }
    Err(
        "the port is no number from 1 to 65535; an IPv6 address needs brackets, and `/` in a \
         password has to be written %2F"
            .into(),
    )
}

/// Percent-decodes, and refuses broken escapes, invalid UTF-8 and control characters.
fn decode(text: &str, what: &str) -> Result<String, String> {
    let broken = text.split('%').skip(1).any(|rest| {
        let hex = rest.as_bytes().get(..2);
        !hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    });
    if broken {
        return Err(format!(
            "a `%` in {what} is no escape: write %25 for `%` itself"
        ));
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| format!("{what} is not UTF-8 when decoded"))?;
    match decoded.chars().any(char::is_control) {
        true => Err(format!("a control character in {what}")),
        false => Ok(decoded.into_owned()),
    }
}
