//! The table of keys, joined from its parts.

mod bounds;
mod credentials;
mod pool;
mod session;
mod urls;
mod work;

use super::key::Key;

/// Every key, in the order of `config/README.md`.
pub const KEYS: &[Key] = &joined([
    urls::KEYS,
    credentials::KEYS,
    pool::KEYS,
    session::KEYS,
    work::KEYS,
]);

/// Joins the parts in their order.
const fn joined(parts: [&[Key]; 5]) -> [Key; COUNT] {
    let mut keys = [parts[0][0]; COUNT];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let mut i = 0;
        while i < parts[part].len() {
            keys[at] = parts[part][i];
            (at, i) = (at + 1, i + 1);
        }
        part += 1;
    }
    keys
}

const COUNT: usize = urls::KEYS.len()
    + credentials::KEYS.len()
    + pool::KEYS.len()
    + session::KEYS.len()
    + work::KEYS.len();
