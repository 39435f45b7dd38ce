//! Whole conversations of several kinds, as lists of what either side sends.

use super::{named, shared, unnamed};
use crate::rules::{Naming, Rules};

/// `>` is the client, `<` the server.
pub(super) type Recording = (Rules, Vec<(char, Vec<&'static str>)>);

pub(super) fn recordings() -> Vec<Recording> {
    let small = Rules {
        statement_cache: 1,
        ..named()
    };
    let statements = [
        "> P s1 update a|D s1|S",
        "< 1|t|n|N notice|Z I",
        "> B s1|E|S|P s2 update b|D s2|S|C s1|S|P s3 update a|D s3|S",
        "< 2|A notification|C UPDATE 1|Z I|1|t|n|Z I|1|t|n|Z I",
        "> B s2|E|S|B s3|E|S|B s2>p|D s2|E|S",
        "< 3|1|t|n|2|C UPDATE 1|Z I|3|2|C UPDATE 1|Z I|2|n|C UPDATE 3|Z I",
        "> P s4 selec|D s4|S|Q select 1; select 2",
        "< E 42601|Z I|T a:23|D one|C SELECT 1|T b:25|D two|C SELECT 1|S a=b|Z I",
        "> X",
    ];
    let transactions = [
        "> P s1 update a|D s1|S|P s2 select 1|D s2|S",
        "< 1|t|n|Z I|1|t|T a:23|Z I",
        "> Q BEGIN|B s1|E|S|B s1|E|S|Q SAVEPOINT a",
        "< 1|2|C BEGIN|2|C UPDATE 1|Z T",
        "< 2|E 23505|Z E|E 25P02|Z E",
        "> Q ROLLBACK",
        "< C ROLLBACK|Z I",
        "> Q BEGIN READ ONLY|B s2|E|S",
        "< 1|2|C BEGIN|2|D one|C SELECT 1|Z T",
        "> Q COMMIT|Q BEGIN READ ONLY|P s3 select 1|D s3|S|B s3|E|S",
        "< C COMMIT|Z I|1|2|C BEGIN|2|D one|C SELECT 1|Z T",
        "> Q COMMIT|Q BEGIN READ WRITE|B s1|E|S|B s1|E|S|C s1|S|Q COMMIT",
        "< C COMMIT|Z I|E 25006|Z I",
    ];
    let repeats = [
        "> P s1 select * from t|D s1|S",
        "< 1|t|T a:23|Z I",
        "> B s1|E|S",
        "< E 0A000 RevalidateCachedQuery|Z I",
        "> Q select 2|C s1|S",
        "< 3|1|t|T a:23,b:25|Z I",
        "< 2|D one,two|N notice|D 3,|C SELECT 2|Z I",
        "< C SELECT 1|Z I",
        "> P s2 select * from t|D s2|S|B s2|E|S",
        "< 1|t|T a:23,b:25|Z I|E 26000|Z I",
        "< 3|3|1|t|T a:25|Z I",
    ];
    let nameless = [
        "> P s1 select * from t|D s1|S",
        "< 1|t|T a:23|Z I",
        "> B s1|E|S|B s1|E|S",
        "< 1|t|T a:23|2|D one|D two|C SELECT 2|Z I|1|t|T a:700|2|D one|C SELECT 1|Z I",
        "> Q BEGIN|B s1|E|S|Q COMMIT",
        "< 1|2|C BEGIN|1|t|T a:700|2|D one|C SELECT 1|Z T",
        "< C ROLLBACK|Z I",
    ];
    let copies = [
        "> Q copy t to stdout|P s1 copy t from stdin|D s1|S",
        "< H \0\0\0|d a long row of data|d another|c|C COPY 2|Z I|1|t|n|Z I",
        "> B s1|E|S",
        "< 2|G \0\0\0",
        "> d row|d row|c|S|C s1|S|Q BEGIN|Q copy t from stdin",
        "< C COPY 2|Z I|C BEGIN|G \0\0\0",
        "> d row|f no|Q ROLLBACK",
        "< E 57014|Z E|C ROLLBACK|Z I",
    ];
    let settings = [
        "> P s1 update a|D s1|S|B s1|E|S|Q vacuum|Q select 1",
        "< 1|2|D a|C SELECT 1|1|t|n|Z I|1|2|D a|C SELECT 1|2|C UPDATE 1|Z I|C VACUUM|Z I",
        "< T a:25|D a|C SELECT 1|T a:23|D one|C SELECT 1|Z I",
        "> Q LISTEN a|Q BEGIN|Q select 1|Q COMMIT",
        "< C BEGIN|T a:25|D a|C SELECT 1|C SELECT 1|Z T",
        "< C COMMIT|Z I",
    ];
    let kept = [
        "> P s1 select v from t|D s1|S",
        "< 1|2|D a|C SELECT 1|1|t|T v:23|Z I",
        "> B s1|E|S",
        "< 1|2|D a|C SELECT 1|t|T v:23|2|D one|C SELECT 1|Z I",
        "> Q BEGIN|B s1|E|S",
        "< 1|2|C BEGIN|1|2|D a|C SELECT 1|t|T v:700|2|D one|C SELECT 1|Z T",
        "> Q COMMIT",
        "< C ROLLBACK|Z I",
        "> P s2 select v from t|D s2|S|B s1|E|S",
        "< 3|1|2|D a|C SELECT 1|1|t|T v:23|Z I",
        "< 1|2|D a|C SELECT 1|1|t|T v:23|2|D one|C SELECT 1|Z I",
        "> B s2|E|S",
        "< 1|2|D a|C SELECT 1|t|E 0A000 RevalidateCachedQuery|Z I",
        "> C s1|S|P s3 select w from t|D s3|S",
        "< 3|1|2|D a|C SELECT 1|1|t|T v:23,w:25|2|D one,two|C SELECT 1|Z I",
        "< 1|2|D a|C SELECT 1|1|t|E 0A000 RevalidateCachedQuery|Z I",
        "< 3|1|2|D a|C SELECT 1|1|t|T w:25|Z I",
    ];
    [
        (small, &statements[..]),
        (named(), &transactions),
        (unnamed(), &transactions),
        (named(), &repeats),
        (unnamed(), &nameless),
        (named(), &copies),
        (shared(Naming::Named), &settings),
        (shared(Naming::Unnamed), &settings),
        (shared(Naming::Named), &kept),
        (Rules::default(), &transactions),
        (Rules::default(), &copies),
    ]
    .map(|(rules, lines)| (rules, lines.iter().map(|line| event(line)).collect()))
    .into()
}

fn event(line: &'static str) -> (char, Vec<&'static str>) {
    let (side, messages) = line.split_at(2);
    (side.chars().next().unwrap(), messages.split('|').collect())
}
