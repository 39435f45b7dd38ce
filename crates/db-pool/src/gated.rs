//! The pool against a server in memory, on a paused clock.
//!
//! `UnixStream` takes the place of tokio's in the tests of this crate, so that all the rest of the pool is
//! what is shipped: login, wire, driver, cancel requests. Nothing real is waited for, which is why the clock
//! moves only when every task waits, and then at once. Each answer of the server can be held back at a
//! [`Point`], so that a future is dropped exactly there.

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
