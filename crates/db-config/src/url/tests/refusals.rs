//! Refusals and their messages, without an echo of a password.

use super::*;
use crate::revealed::revealed;

#[test]
fn what_cannot_be_honoured_is_refused_by_name_with_advice() {
    for (query, why) in [
        ("service=x", "service files are not read"),
        ("gssencmode=require", "GSSAPI"),
        ("require_auth=scram-sha-256", "channel_binding=require"),
        ("min_protocol_version=3.2", "3.0"),
        ("target_session_attrs=prefer-primary", "prefer-standby"),
        ("sslcrl=x", "revocation"),
        ("client_encoding=LATIN1", "UTF8"),
        ("statement_cache_size=0", "database.profile.pooler"),
        ("currentSchema=app", "use search_path"),
        ("targetServerType=primary", "use target_session_attrs"),
        ("pool_max_conns=10", "database.profile.max"),
        ("pool=5", "database.profile.max"),
        ("encoding=utf8", "use client_encoding"),
        ("passfile=x", "only Config::load reads it"),
        ("sslmod=require", "did you mean `sslmode`?"),
        ("connect_timeout=5s", "whole number of seconds"),
        ("connection_limit=0", "whole number from 1"),
        ("statement_timeout=5parsecs", "such as 30s"),
        ("keepalives_count=1&keepalives_retries=2", "means the same"),
        ("sslmode=require&sslmode=disable", "given twice"),
        ("user=other", "given twice"),
        ("options=-B%205", "only"),
        ("options=-c%20user%3Dadmin", "no server setting"),
        ("application_name=a%0Ab", "control character"),
        ("application_name=a%00b", "control character"),
        ("application_name=%zz", "%25"),
        ("application_name=%ff", "UTF-8"),
        ("sslmode", "without `=`"),
    ] {
        let error = refused(&format!("postgres://u@h/d?{query}"));
        assert!(error.contains(why), "{query}: {error}");
    }
}

#[test]
fn every_problem_of_a_url_is_reported_at_once() {
    let error =
        PooledUrl::parse("postgres://u@h/d?sslmode=x&connect_timeout=y&target_session_attrs=z");
    assert_eq!(error.unwrap_err().problems().len(), 3);
}

#[test]
fn what_is_no_url_gets_a_hint() {
    for (text, why) in [
        ("'postgres://u@h/d'", "remove the quotes"),
        ("psql 'postgres://u@h/d'", "remove `psql`"),
        ("jdbc:postgresql://h/d?user=u", "remove `jdbc:`"),
        ("postgresql+asyncpg://u@h/d", "after `+`"),
        ("mysql://u@h/d", "something else"),
        ("https://h/d", "something else"),
        ("pgsql://u@h/d", "write `postgres://`"),
        ("psql://u@h/d", "write `postgres://`"),
        ("postgress://u@h/d", "write `postgres://`"),
        ("postgre://u@h/d", "write `postgres://`"),
        ("postgresq://u@h/d", "write `postgres://`"),
        ("PGX5://u@h/d", "write `postgres://`"),
        ("postgis://u@h/d", "write `postgres://`"),
        ("ecto://u@h/d", "write `postgres://`"),
        ("\"host=h user=u\"", "remove the quotes"),
        ("//u@h/d", "write `postgres:` before it"),
        ("postgres:u@h/d", "two slashes"),
        ("postgresql:/u@h/d", "two slashes"),
        ("DATABASE_URL=postgres://u@h/d", "remove the name"),
        ("export X=\"postgresql://u@h/d?a=b\"", "remove the name"),
        ("r2dbc:postgresql://h/d", "remove `r2dbc:`"),
        ("", "expected postgres://"),
    ] {
        assert!(refused(text).contains(why), "{text}: {}", refused(text));
    }
}

/// case R49: an unescaped character in the password never sends a part of it anywhere.
#[test]
fn an_unescaped_character_in_the_password_is_refused_without_an_echo() {
    for url in [
        "postgres://u:cana@ry@h/d",
        "postgres://u:cana/ry@h/d",
        "postgres://u:cana?ry@h/d",
        "postgres://u:cana?ry=x@h/d",
        "postgres://u:cana%ry@h/d",
        "postgres://u:cana\nry@h/d",
        "postgres://u:ca@na/ry?x=y@h/d",
        "postgres://h/d?user=u&password=cana&ry=x",
        "postgres://u:cana",
        "u:canary@h/d",
        "x:canary://h/d",
    ] {
        let error = refused(url);
        assert!(
            !error.contains("cana") && !error.contains("ry"),
            "{url}: {error}"
        );
    }
    let endpoint = parsed("postgres://u:can#ary@h/d");
    assert_eq!(
        revealed(&endpoint.password.unwrap()),
        "can#ary",
        "as libpq reads it"
    );
}
