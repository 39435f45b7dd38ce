//! What the documents say is true: the tests compare their tables, links, examples and counts with the
//! repository.
//!
//! Most of these tests read files and need no server: `cargo nextest run -p db-tests --test it docs::`.

mod events;
mod guides;
mod links;
mod logged;
mod pages;
mod quick_start;
mod quotes;
mod requirements;
mod settings;
mod sizing;
mod words;
