//! Random sequences of holders' actions, each with a number.

use std::fmt;

use fastrand::Rng;

/// How a statement is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// By a simple query; its rows are not looked at.
    Command,
    /// By `sql_query`.
    Read,
    /// As the DSL does, so that diesel keeps it prepared.
    Kept,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One of the two borrowers runs a statement; it borrows a connection first if it has none.
    Run {
        borrower: usize,
        form: Form,
        sql: String,
        /// It changes a table or a type.
        changes: bool,
    },
    /// A borrower gives its connection back.
    Return { borrower: usize },
    /// Another client holds a server connection of the pooler from now on, or releases it.
    Occupy { held: bool },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run {
                borrower,
                form,
                sql,
                ..
            } => write!(f, "borrower {borrower} {form:?}: {sql}"),
            Self::Return { borrower } => write!(f, "borrower {borrower} returns its connection"),
            Self::Occupy { held: true } => write!(f, "another client holds a server connection"),
            Self::Occupy { held: false } => write!(f, "the other client lets it go"),
        }
    }
}

/// The sequence of a number.
pub(crate) fn by_chance(seed: u64) -> Vec<Step> {
    let mut rng = Rng::with_seed(seed);
    let length = rng.usize(30..70);
    (0..length).map(|_| step(&mut rng)).collect()
}

fn step(rng: &mut Rng) -> Step {
    let borrower = rng.usize(0..2);
    let command = |sql: String| Step::Run {
        borrower,
        form: Form::Command,
        sql,
        changes: false,
    };
    match rng.u32(0..100) {
        0..12 => command(setting(rng, "set")),
        12..22 => command(setting(rng, "set local")),
        22..36 => command(one_of(rng, &TRANSACTIONS).to_owned()),
        36..43 => Step::Run {
            borrower,
            form: Form::Command,
            sql: one_of(rng, &CHANGES).to_owned(),
            changes: true,
        },
        43..49 => {
            let query = one_of(rng, &SHAPES);
            command(format!("declare c scroll cursor for {query}"))
        }
        49..52 => command("close c".to_owned()),
        52..62 => Step::Run {
            borrower,
            form: Form::Read,
            sql: one_of(rng, &FETCHES).to_owned(),
            changes: false,
        },
        62..84 => Step::Run {
            borrower,
            form: Form::Read,
            sql: one_of(rng, &READS).to_owned(),
            changes: false,
        },
        84..91 => Step::Run {
            borrower,
            form: Form::Kept,
            sql: one_of(rng, &KEPT).to_owned(),
            changes: false,
        },
        91..97 => Step::Return { borrower },
        _ => Step::Occupy { held: rng.bool() },
    }
}

fn setting(rng: &mut Rng, set: &str) -> String {
    let (name, values) = one_of(rng, &SETTINGS);
    format!("{set} {name} to {}", one_of(rng, values))
}

fn one_of<T: Copy>(rng: &mut Rng, all: &[T]) -> T {
    all[rng.usize(0..all.len())]
}

/// Settings by which a text means something else, when it is parsed or when it runs.
const SETTINGS: [(&str, &[&str]); 10] = [
    ("timezone", &["'UTC'", "'Asia/Tokyo'", "'America/New_York'"]),
    (
        "datestyle",
        &["'ISO, MDY'", "'ISO, DMY'", "'German, DMY'", "'SQL, YMD'"],
    ),
    (
        "intervalstyle",
        &["'postgres'", "'sql_standard'", "'iso_8601'"],
    ),
    ("standard_conforming_strings", &["on", "off"]),
    ("search_path", &["public", "other", "other, public"]),
    ("transform_null_equals", &["on", "off"]),
    ("array_nulls", &["on", "off"]),
    ("xmloption", &["content", "document"]),
    ("bytea_output", &["hex", "escape"]),
    ("extra_float_digits", &["0", "3", "-5"]),
];

const TRANSACTIONS: [&str; 8] = [
    "begin",
    "begin",
    "commit",
    "rollback",
    "savepoint s",
    "rollback to s",
    "begin isolation level repeatable read",
    "begin read only",
];

const CHANGES: [&str; 9] = [
    "alter table t alter v type text using v::text",
    "alter table t alter v type int using length(v::text)",
    "alter table t alter v type float4 using 1.5",
    "alter table t alter v type varchar(20) using v::text",
    "alter table t add column more int default 7",
    "alter table t drop column if exists more",
    "drop type if exists mood cascade; create type mood as enum ('sad', 'ok'); alter table t add column m mood default 'ok'",
    "drop type if exists mood cascade; create type mood as enum ('ok', 'glad', 'sad'); alter table t add column m mood default 'sad'",
    "insert into t (id) values (5), (6)",
];

/// What a cursor of the same name may have been declared for.
const SHAPES: [&str; 5] = [
    "select 'first'::text t, 1 other",
    "select 2 other, 'second'::text t",
    "select 1.5::float4 t",
    "select * from t order by id",
    "select id, 'a'::text from t order by id",
];

const FETCHES: [&str; 4] = [
    "fetch all from c",
    "fetch 1 from c",
    "fetch first from c",
    "fetch backward all from c",
];

const READS: [&str; 22] = [
    "select timestamptz '2025-01-01 00:00' t",
    "select timestamptz '2025-01-01 00:00'::text t",
    "select date '1/2/2025' d",
    "select '3/4/2025'::date d, '3/4/2025'::date::text s",
    "select interval '-1 2:03:04' i",
    "select interval '-1 2:03:04'::text s",
    r"select 'a\\b' s, length('\n') n",
    r"select E'a\\b' s",
    r"select '\x6162'::bytea::text b",
    "select 'now'::timestamptz <= now() past",
    "select date 'tomorrow' - date 'today' one, 'now'::timestamptz < 'tomorrow' past",
    "select '{a,NULL}'::text[] a",
    "select id = null nothing from t order by id",
    "select xmlserialize(content xml 'a<b/>' as text) x",
    "select pi() / 3e5::float8 || '' f",
    "select time with time zone '12:00' t",
    "select 't'::regclass::text c, 'named'::text n",
    "select * from t order by id",
    "select v from t order by id",
    "select v::text from only t where id = 1",
    "select * from named",
    "show timezone",
];

const KEPT: [&str; 5] = [
    "select id, v from t where id = 1",
    "select * from t order by id",
    "select v from t order by id",
    "select * from named",
    "select count(*) from t",
];
