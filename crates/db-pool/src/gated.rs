//! The pool against a server in memory, on a paused clock.
//!
//! In the tests of this crate, `UnixStream` replaces tokio's. The rest of the pool is the shipped code:
//! login, wire, driver, cancel requests. Nothing waits for real time or real input, so the clock moves only
//! when every task waits, and then at once. A test can hold back each answer of the server at a [`Point`],
//! and so drop a future exactly there.

mod cancellation;
mod closing;
mod deadlines;
mod gates;
mod outages;
mod polls;
mod rotations;
mod server;
mod session;
mod socket;
mod storm;
mod upkeep;
mod victim;
mod workplace;

pub(crate) use self::socket::UnixStream;

use self::gates::Point;
