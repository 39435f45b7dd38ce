//! The text of `search_path`.

/// The first schema that `path` names, whether it exists or not.
pub(super) fn first_named(path: &str, user: &str) -> Option<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    for character in path.chars() {
        match character {
            // A doubled quote inside quotes closes and opens them again, and stands for one quote.
            '"' => {
                quoted = !quoted;
                name.push('"');
            }
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            character => name.push(character),
        }
    }
    names.push(name);
    let names = names.into_iter().map(|name| unquoted(name.trim()));
    names
        .map(|name| match name.as_str() {
            "$user" => user.to_owned(),
            _ => name,
        })
        .find(|name| !name.is_empty() && !name.starts_with("pg_"))
}

fn unquoted(name: &str) -> String {
    match name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
    {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_is_read_as_the_server_reads_it() {
        for (path, first) in [
            ("app", Some("app")),
            (" App , public", Some("app")),
            ("\"$user\", public", Some("me")),
            ("$user", Some("me")),
            ("\"A, \"\"b\"\"\", c", Some("A, \"b\"")),
            ("pg_temp, pg_catalog, app", Some("app")),
            ("", None),
            ("\"\"", None),
        ] {
            assert_eq!(first_named(path, "me").as_deref(), first, "{path}");
        }
    }
}
