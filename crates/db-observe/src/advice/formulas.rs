//! The formulas of sizing, by their usual names.

use std::time::Duration;

/// Little's law: how many connections are in use on average.
#[must_use]
pub fn little(checkouts_per_second: f64, mean_hold: Duration) -> f64 {
    checkouts_per_second * mean_hold.as_secs_f64()
}

/// Erlang C: the share of callers that wait at all, if `in_use` connections are in use on average and callers come at
/// random. It is 1 if the load is more than the connections can carry.
#[must_use]
pub fn erlang_c(connections: u32, in_use: f64) -> f64 {
    let servers = f64::from(connections);
    if in_use >= servers {
        return 1.0;
    }
    if in_use <= 0.0 {
        return 0.0;
    }
    // Erlang B comes from its recursion, which neither overflows nor loses digits. C follows from it.
    let blocked = (1..=connections).fold(1.0, |blocked, n| {
        in_use * blocked / (f64::from(n) + in_use * blocked)
    });
    let utilisation = in_use / servers;
    blocked / (1.0 - utilisation + utilisation * blocked)
}

/// The share of callers that wait longer than a target.
#[must_use]
pub fn wait_exceeds(
    connections: u32,
    checkouts_per_second: f64,
    mean_hold: Duration,
    target: Duration,
) -> f64 {
    let in_use = little(checkouts_per_second, mean_hold);
    let waits = erlang_c(connections, in_use);
    let spare = f64::from(connections) - in_use;
    if spare <= 0.0 || mean_hold.is_zero() {
        return waits;
    }
    waits * (-spare * target.as_secs_f64() / mean_hold.as_secs_f64()).exp()
}

/// The smallest number of connections with which at most this share of the callers waits longer than the target.
/// `None` if ten thousand are not enough.
#[must_use]
pub fn connections_for(
    checkouts_per_second: f64,
    mean_hold: Duration,
    target: Duration,
    share: f64,
) -> Option<u32> {
    (1..=10_000).find(|connections| {
        wait_exceeds(*connections, checkouts_per_second, mean_hold, target) <= share
    })
}

/// Users at the same time × operations of each request at the same time × a factor for unknown influences, rounded
/// up.
#[must_use]
pub fn product(users: f64, operations: f64, safety: f64) -> u32 {
    let product = users * operations * safety;
    // A product that differs from a whole number only by rounding counts as that number.
    (product - product.abs() * 1e-12).ceil().max(0.0) as u32
}

/// Cores × 2, plus one for each disk that seeks: how many connections a server can serve well at the same time.
#[must_use]
pub fn cores_and_spindles(cores: u32, spindles: u32) -> u32 {
    cores.saturating_mul(2).saturating_add(spindles)
}

/// The smallest number of connections with which these tasks cannot wait for each other for ever. Each task takes
/// several connections one after the other and keeps them.
#[must_use]
pub fn deadlock_bound(tasks: u32, connections_each: u32) -> u32 {
    tasks
        .saturating_mul(connections_each.saturating_sub(1))
        .saturating_add(1)
}

/// How many connections each instance may have, if the share `kept` of the server's unreserved connections stays free
/// for maintenance.
#[must_use]
pub fn fleet_share(max_connections: u32, reserved: u32, kept: f64, instances: u32) -> u32 {
    let available = f64::from(max_connections.saturating_sub(reserved));
    let share = available * (1.0 - kept) / f64::from(instances.max(1));
    (share + 1e-9).floor().max(0.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// req 4.01, req 4.02
    #[test]
    fn the_worked_example_is_68() {
        assert_eq!(product(150.0, 0.3, 1.5), 68);
        assert_eq!(
            product(10.0, 0.1, 3.0),
            3,
            "no more for the error of a fraction"
        );
        assert_eq!(product(0.0, 1.0, 1.0), 0);
    }

    /// req 0.01, req 4.03, req 4.10
    #[test]
    fn the_formulas_of_the_sources() {
        assert_eq!(cores_and_spindles(8, 1), 17);
        assert_eq!(deadlock_bound(8, 2), 9);
        assert_eq!(deadlock_bound(3, 1), 1);
        assert_eq!(fleet_share(100, 3, 0.2, 4), 19);
        assert_eq!(fleet_share(100, 0, 0.1, 9), 10);
        assert_eq!(fleet_share(2, 3, 0.2, 0), 0);
    }

    /// Values from the published tables.
    #[test]
    fn erlang_c_is_that_of_the_tables() {
        for (connections, in_use, known) in [
            (1, 0.5, 0.5),
            (2, 1.0, 1.0 / 3.0),
            (5, 4.0, 0.5541),
            (10, 8.0, 0.4092),
        ] {
            let found = erlang_c(connections, in_use);
            assert!(
                (found - known).abs() < 1e-4,
                "{connections} {in_use}: {found}"
            );
        }
        assert_eq!((erlang_c(4, 4.0), erlang_c(4, 0.0)), (1.0, 0.0));
        assert!(erlang_c(10_000, 9_000.0) < 1e-9);
        assert_eq!(little(200.0, ms(20)), 4.0);
    }

    /// req 3.41: the advice about a load differs by at most one from the result of a simulation of that load.
    #[test]
    fn advice_is_within_one_of_the_simulated_optimum() {
        for (rate, hold, target) in [
            (200.0, ms(20), ms(10)),
            (50.0, ms(100), ms(50)),
            (1_000.0, ms(15), ms(5)),
        ] {
            let advised = connections_for(rate, hold, target, 0.01).unwrap();
            let simulated = (1..200)
                .find(|connections| simulate(*connections, rate, hold, target) <= 0.01)
                .unwrap();
            assert!(
                advised.abs_diff(simulated) <= 1,
                "{rate} {hold:?}: {advised} advised, {simulated} simulated"
            );
        }
    }

    /// Simulates two hundred thousand callers, served in the order of arrival. Returns the share that waits longer
    /// than the target.
    fn simulate(connections: u32, rate: f64, hold: Duration, target: Duration) -> f64 {
        let mut random = fastrand::Rng::with_seed(42);
        let mut exponential = |mean: f64| -mean * (1.0 - random.f64()).ln();
        let mut free_at = vec![0.0_f64; connections as usize];
        let (mut now, mut late) = (0.0, 0);
        const CALLERS: u32 = 200_000;
        for _ in 0..CALLERS {
            now += exponential(1.0 / rate);
            let held = exponential(hold.as_secs_f64());
            let first = free_at
                .iter_mut()
                .min_by(|a, b| a.total_cmp(b))
                .expect("there is one");
            let begins = first.max(now);
            late += u32::from(begins - now > target.as_secs_f64());
            *first = begins + held;
        }
        f64::from(late) / f64::from(CALLERS)
    }
}
