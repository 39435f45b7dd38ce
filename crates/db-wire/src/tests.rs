//! Conversations without a server: messages in, messages out.

mod copying;
mod early_commits;
mod local_settings;
mod lone_reads;
mod lost;
mod observing;
mod parsed_again;
mod peers;
mod plans;
mod proptests;
mod recordings;
mod refusals;
mod residue;
mod session;
mod statements;
mod stream;
mod transactions;
mod unnamed;
mod unsent_begins;

use crate::rules::{Naming, Rules};
use crate::sql::local_settings::LocalSettings;

fn named() -> Rules {
    Rules {
        statement_cache: 4,
        defer_begin: true,
        ..Rules::default()
    }
}

fn unnamed() -> Rules {
    Rules {
        naming: Naming::Unnamed,
        ..named()
    }
}

/// The rules behind a transaction pooler, with a search path of the pool's own.
fn shared(naming: Naming) -> Rules {
    Rules {
        naming,
        local_settings: LocalSettings::new(&[("search_path".to_owned(), "a".to_owned())]),
        shared_session: true,
        ..named()
    }
}

/// The setting in a transaction, and before a simple query.
const SET_LOCAL: &str = "SET LOCAL \"search_path\" = 'a'";

/// The setting before a statement of the extended protocol outside a transaction.
const SET_CONFIG: &str = "SELECT pg_catalog.set_config('search_path', 'a', true)";
