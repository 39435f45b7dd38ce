//! Secrets in the text of a migration.

use crate::checks::up_file::UpFile;
use crate::finding::Finding;
use crate::rules;

/// Never shows the secret, only what it looks like.
pub(super) fn find(up: &UpFile<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for statement in up.statements {
        let words = statement.words();
        let password = words.windows(2).any(|pair| {
            pair[0].eq_ignore_ascii_case("password") && is_text(pair[1]) && pair[1].len() > 2
        });
        let kind = if password {
            Some("a password")
        } else {
            words
                .iter()
                .filter(|word| is_text(word))
                .find_map(|text| kind_of(text))
        };
        if let Some(kind) = kind {
            let message =
                format!("This looks like {kind}, which everybody who has the repository can read.");
            findings.push(up.at(&rules::SECRET, statement, message));
        }
    }
    findings
}

/// Whether a word is a string constant.
fn is_text(word: &str) -> bool {
    word.ends_with('\'') || word.ends_with('$')
}

fn kind_of(text: &str) -> Option<&'static str> {
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if has_url_with_password(text) {
        return Some("a URL with a password");
    }
    let prefixes = [
        ("AKIA", 16, "an access key of AWS"),
        ("ASIA", 16, "an access key of AWS"),
        ("ghp_", 36, "a token of GitHub"),
        ("github_pat_", 22, "a token of GitHub"),
        ("glpat-", 20, "a token of GitLab"),
        ("xoxb-", 20, "a token of Slack"),
        ("sk_live_", 16, "a key of Stripe"),
    ];
    let found = prefixes.into_iter().find(|(prefix, length, _)| {
        text.match_indices(prefix).any(|(at, _)| {
            let rest = &text[at + prefix.len()..];
            let run = rest
                .bytes()
                .take_while(|b| b.is_ascii_alphanumeric() || b"_-".contains(b));
            run.count() >= *length
        })
    });
    found.map(|(_, _, kind)| kind)
}

/// `scheme://user:password@host`, with a password that is no placeholder.
fn has_url_with_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, _)| {
        let rest = &text[at + 3..];
        let end = rest.find(['/', '\'', ' ', '?']).unwrap_or(rest.len());
        let Some((credentials, _)) = rest[..end].rsplit_once('@') else {
            return false;
        };
        let password = credentials
            .split_once(':')
            .map_or("", |(_, password)| password);
        !password.is_empty() && !password.starts_with(['$', '{', '<', '%', '*'])
    })
}
