//! The quick start of the README: `as_printed.rs` is what the README prints.

#![expect(
    clippy::exhaustive_structs,
    clippy::print_stdout,
    missing_docs,
    reason = "a newcomer types it without our lints"
)]

include!("as_printed.rs");
