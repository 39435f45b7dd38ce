//! The delays one by one, and what holds for any events in any order.

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::advance;

use super::*;
use crate::connect::connect_error::ConnectFailure;

fn backoff() -> Arc<Backoff> {
    Arc::new(Backoff::new("pool".into(), Reconnect::default()))
}

fn room() -> Option<()> {
    Some(())
}

fn unreachable() -> ConnectError {
    ConnectError::new("db", ConnectFailure::Unreachable)
}

/// Fails one attempt as soon as one may begin, and returns how long that took.
async fn fail_next(backoff: &Arc<Backoff>, urge: Urge) -> Duration {
    let asked = Instant::now();
    loop {
        match backoff.begin(urge, room) {
            Ok((attempt, _slot)) => {
                advance(Duration::from_millis(1)).await;
                attempt.failed(unreachable());
                return asked.elapsed();
            }
            Err(not_now) => advance(not_now.until().unwrap() - Instant::now()).await,
        }
    }
}

/// req 2.35; case R08: nobody waits, and the delay doubles up to its maximum.
#[tokio::test(start_paused = true)]
async fn with_nobody_waiting_the_delay_doubles_up_to_its_maximum() {
    let backoff = backoff();
    fail_next(&backoff, Urge::Keeper).await;
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let took = fail_next(&backoff, Urge::Keeper).await;
        let full = Duration::from_secs(seconds);
        let most = full + Duration::from_millis(2);
        assert!(took >= full / 2 && took <= most, "{took:?} of {full:?}");
    }
}

/// case R05, case R08: a waiting caller tries again within a second, however often that has failed.
#[tokio::test(start_paused = true)]
async fn while_somebody_waits_attempts_are_at_most_a_second_apart() {
    let backoff = backoff();
    fail_next(&backoff, Urge::Keeper).await;
    for _ in 0..40 {
        let took = fail_next(&backoff, Urge::Caller).await;
        let (least, most) = (Duration::from_millis(500), Duration::from_millis(1002));
        assert!(took >= least && took <= most, "{took:?}");
    }
}

/// req 0.09, req 0.10, req 0.11, req 2.37: ten failures open it, one attempt at a time decides, a success closes it.
#[tokio::test(start_paused = true)]
async fn the_breaker_opens_after_ten_failures_and_one_attempt_decides() {
    let backoff = backoff();
    for nth in 1..=10 {
        assert_eq!(backoff.breaker(), Breaker::Closed);
        assert!(backoff.refusal().is_none(), "{nth}");
        fail_next(&backoff, Urge::Caller).await;
    }
    assert_eq!(backoff.breaker(), Breaker::Open);
    assert!(backoff.refusal().is_some());
    advance(Duration::from_secs(1)).await;

    let (probe, _slot) = backoff.begin(Urge::Caller, room).unwrap();
    assert_eq!(backoff.breaker(), Breaker::HalfOpen);
    let second = backoff.begin(Urge::Caller, room);
    assert_eq!(second.unwrap_err(), NotNow::UntilChange);
    assert!(backoff.refusal().is_some());
    probe.failed(unreachable());
    assert_eq!(backoff.breaker(), Breaker::Open);
    advance(Duration::from_secs(1)).await;

    // An attempt that ends without an outcome decides nothing.
    drop(backoff.begin(Urge::Caller, room).unwrap());
    assert_eq!(backoff.breaker(), Breaker::Open);
    let (probe, _slot) = backoff.begin(Urge::Caller, room).unwrap();
    probe.succeeded();
    assert_eq!(backoff.breaker(), Breaker::Closed);
    assert!(backoff.refusal().is_none() && backoff.last_failure().is_none());
}

/// A cold pool has waiting callers, and a server that has done nothing wrong.
#[tokio::test(start_paused = true)]
async fn before_any_failure_eight_logins_go_ahead_at_once() {
    let backoff = backoff();
    let ahead = backoff.begin(Urge::Keeper, room).unwrap();
    let second = backoff.begin(Urge::Keeper, room);
    assert_eq!(second.unwrap_err(), NotNow::UntilChange);
    drop(ahead);
    let mut cold = all_that_may_begin(&backoff);
    assert_eq!(cold.len(), 8);
    let (attempt, _slot) = cold.pop().unwrap();
    attempt.succeeded();
    assert_eq!(all_that_may_begin(&backoff).len(), 1);

    // One failure makes all others wait, whatever else is in flight.
    let (attempt, _slot) = cold.pop().unwrap();
    attempt.failed(unreachable());
    advance(Duration::from_secs(1)).await;
    assert_eq!(all_that_may_begin(&backoff).len(), 0);
    drop(cold);
    assert_eq!(all_that_may_begin(&backoff).len(), 1);

    // Failures with old credentials must not slow down logins with new ones.
    backoff.forget();
    assert_eq!(all_that_may_begin(&backoff).len(), 8);
}

/// A server that has ended connections is treated with more care than the server of a cold pool.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_paid_for_with_care() {
    let backoff = backoff();
    let (first, _slot) = backoff.begin(Urge::Caller, room).unwrap();
    first.succeeded();
    backoff.lost(1);
    let careful = all_that_may_begin(&backoff);
    assert_eq!(careful.len(), 1);
    for (attempt, _slot) in careful {
        attempt.succeeded();
    }
    // The same loss counts only once.
    backoff.lost(1);
    assert_eq!(all_that_may_begin(&backoff).len(), 2);
}

/// Eight attempts that are refused together count as one failure, and the first delay follows.
#[tokio::test(start_paused = true)]
async fn what_fails_together_has_failed_once() {
    let backoff = backoff();
    for (attempt, _slot) in all_that_may_begin(&backoff) {
        attempt.failed(unreachable());
    }
    assert_eq!(backoff.breaker(), Breaker::Closed);
    let took = fail_next(&backoff, Urge::Keeper).await;
    assert!(took <= Duration::from_millis(1_001), "{took:?}");
}

fn all_that_may_begin(backoff: &Arc<Backoff>) -> Vec<(ConnectAttempt, ())> {
    std::iter::from_fn(|| backoff.begin(Urge::Caller, room).ok()).collect()
}

/// After an outage logins come one by one, then two, four and eight at a time.
#[tokio::test(start_paused = true)]
async fn logins_in_flight_double_with_each_round_of_successes() {
    let backoff = backoff();
    fail_next(&backoff, Urge::Caller).await;
    advance(Duration::from_secs(1)).await;
    for at_once in [1, 2, 4, 8, 8] {
        let round = all_that_may_begin(&backoff);
        assert_eq!(round.len(), at_once);
        for (attempt, _slot) in round {
            attempt.succeeded();
        }
    }
}

/// case R18: an attempt takes no slot that it may not use, and needs one.
#[tokio::test(start_paused = true)]
async fn an_attempt_needs_a_slot() {
    let backoff = backoff();
    let full = backoff.begin(Urge::Caller, || None::<()>);
    assert_eq!(full.unwrap_err(), NotNow::UntilChange);
    let begun = all_that_may_begin(&backoff);
    // Enough attempts are in flight, so the slot is not even looked for.
    let second = backoff.begin(Urge::Caller, || -> Option<()> { panic!("takes a slot") });
    assert_eq!(second.unwrap_err(), NotNow::UntilChange);
    drop(begun);
    drop(backoff.begin(Urge::Caller, room).unwrap());
}

/// The expected state, which follows only from the outcomes.
#[derive(Default)]
struct Model {
    /// Named if something does not hold, so that the run can be repeated.
    seed: u64,
    in_flight: Vec<(ConnectAttempt, OwnedSemaphorePermit)>,
    in_a_row: u32,
    failed_at: Option<Instant>,
    has_failed: bool,
    single: bool,
    half_open: bool,
}

impl Model {
    fn begin(&mut self, backoff: &Arc<Backoff>, slots: &Arc<Semaphore>, urge: Urge) {
        let was_open = backoff.breaker() == Breaker::Open;
        let slot = || Arc::clone(slots).try_acquire_owned().ok();
        match backoff.begin(urge, slot) {
            Ok(begun) => {
                assert!(
                    !self.single || self.in_flight.is_empty(),
                    "seed {}",
                    self.seed
                );
                self.half_open |= was_open;
                self.in_flight.push(begun);
                assert!(self.in_flight.len() <= MOST_AT_ONCE as usize);
            }
            Err(NotNow::Until(at)) => {
                let rules = Reconnect::default();
                let most = match urge {
                    Urge::Caller => rules.base_delay,
                    Urge::Keeper | Urge::Drain => rules.max_delay,
                };
                let failed_at = self.failed_at.expect("only a failure sets a delay");
                assert!(at > Instant::now() && at <= failed_at + most);
            }
            Err(NotNow::UntilChange) => {
                let few = match urge {
                    Urge::Caller if !self.has_failed => {
                        self.in_flight.len() < MOST_AT_ONCE as usize
                    }
                    _ => self.in_flight.is_empty(),
                };
                assert!(!few || slots.available_permits() == 0, "seed {}", self.seed);
            }
        }
    }

    fn end(&mut self, nth: usize, how: u32) {
        let (attempt, _slot) = self.in_flight.swap_remove(nth);
        match how {
            0 => {
                attempt.succeeded();
                (self.in_a_row, self.failed_at, self.single) = (0, None, false);
            }
            1 => drop(attempt),
            _ => {
                if self.failed_at.is_none_or(|at| attempt.began > at) {
                    self.in_a_row += 1;
                    self.failed_at = Some(Instant::now());
                }
                (self.single, self.has_failed) = (true, true);
                attempt.failed(unreachable());
            }
        }
        // The deciding attempt is over, whatever its outcome.
        self.half_open = false;
    }

    fn agrees(&self, backoff: &Backoff) {
        let expected = match (self.in_a_row >= 10, self.half_open) {
            (false, _) => Breaker::Closed,
            (true, false) => Breaker::Open,
            (true, true) => Breaker::HalfOpen,
        };
        let seed = self.seed;
        assert_eq!(backoff.breaker(), expected, "seed {seed}");
        let refuses = backoff.refusal().is_some();
        assert_eq!(refuses, expected != Breaker::Closed, "seed {seed}");
        let failed = backoff.last_failure().is_some();
        assert_eq!(failed, self.in_a_row > 0, "seed {seed}");
    }
}

/// req 0.09, req 0.11, req 2.35, req 2.37; case R05, case R08
#[tokio::test(start_paused = true)]
async fn whatever_happens_the_state_follows_from_the_outcomes() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (backoff, slots) = (backoff(), Arc::new(Semaphore::new(random.usize(1..=20))));
        // Some servers mostly answer, some mostly do not, and some are gone.
        let outcomes = random.u32(2..=20);
        let mut model = Model {
            seed,
            ..Model::default()
        };
        for _ in 0..300 {
            match random.u32(0..4) {
                0 => model.begin(&backoff, &slots, Urge::Caller),
                1 => model.begin(&backoff, &slots, Urge::Keeper),
                2 if !model.in_flight.is_empty() => {
                    let nth = random.usize(0..model.in_flight.len());
                    model.end(nth, random.u32(0..outcomes));
                }
                _ => advance(Duration::from_millis(random.u64(1..2_000))).await,
            }
            model.agrees(&backoff);
        }
    }
}
