//! The size under simulated loads, second by second.

use super::*;

/// A simulated pool.
struct Played {
    sizer: Sizer,
    began: Instant,
    second: u64,
    inputs: SizingInputs,
    changes: Vec<(u64, SizeChange)>,
}

impl Played {
    fn new(max: u32, ceiling: u32) -> Self {
        Self {
            sizer: Sizer::new(Duration::from_secs(60)),
            began: Instant::now(),
            second: 0,
            inputs: SizingInputs {
                max,
                ceiling,
                min_idle: 5,
                max_idle: Some(5),
                ..SizingInputs::default()
            },
            changes: Vec::new(),
        }
    }

    fn minutes(&mut self, minutes: u64, demand: u32, is_slower: bool) {
        self.seconds(minutes * 60, demand, is_slower);
    }

    fn seconds(&mut self, seconds: u64, demand: u32, is_slower: bool) {
        for _ in 0..seconds {
            self.second += 1;
            self.inputs.in_use = demand.min(self.inputs.max);
            self.inputs.queued += u64::from(demand.saturating_sub(self.inputs.max));
            let now = self.began + Duration::from_secs(self.second);
            if let Some(change) = self.sizer.observe(now, &self.inputs, || is_slower) {
                self.inputs.max = change.max;
                self.inputs.max_idle = change.max_idle;
                self.inputs.min_idle = change.min_idle;
                self.changes.push((self.second, change));
            }
            assert!(self.inputs.max <= self.inputs.ceiling);
        }
    }

    fn sizes(&self) -> Vec<u32> {
        self.changes.iter().map(|(_, change)| change.max).collect()
    }
}

/// req 3.14, req 3.15, req 3.16: the size grows from 25 in steps of five, one each minute, until nobody waits.
/// Then it stays.
#[test]
fn a_step_of_load_is_followed_and_settles() {
    let mut played = Played::new(25, 100);
    played.minutes(5, 10, false);
    assert!(played.changes.is_empty());
    played.minutes(10, 40, false);
    assert_eq!(played.sizes(), [30, 35, 40]);
    let idle: Vec<_> = played.changes.iter().map(|(_, one)| one.max_idle).collect();
    assert_eq!(idle, [Some(7), Some(9), Some(11)]);
    for pair in played.changes.windows(2) {
        assert!(pair[1].0 - pair[0].0 >= 60);
    }
    assert!(played.changes[0].1.cause.contains("callers queued"));
    played.minutes(10, 40, false);
    assert_eq!(played.changes.len(), 3, "it has settled");
}

/// req 3.16: the ceiling is the end.
#[test]
fn it_never_grows_above_its_ceiling() {
    let mut played = Played::new(25, 33);
    played.minutes(30, 1_000, false);
    assert_eq!(played.sizes(), [30, 33]);
}

/// req 3.17: a quiet pool shrinks by three down to five, and its idle connections with it.
#[test]
fn a_quiet_pool_shrinks_to_its_floor() {
    let mut played = Played::new(15, 100);
    played.minutes(10, 1, false);
    assert_eq!(played.sizes(), [12, 9, 6, 5]);
    assert_eq!(
        (played.inputs.max_idle, played.inputs.min_idle),
        (Some(2), 2)
    );
    let mut small = Played::new(4, 100);
    small.minutes(10, 0, false);
    assert!(small.changes.is_empty());
    // The number of idle connections kept ready returns with the load.
    played.minutes(4, 30, false);
    assert_eq!(
        (played.inputs.max_idle, played.inputs.min_idle),
        (Some(8), 5)
    );
}

/// A server that has become slower gets no more connections.
#[test]
fn a_slower_server_gets_no_more() {
    let mut played = Played::new(25, 100);
    played.minutes(10, 60, true);
    assert!(played.changes.is_empty());
    played.minutes(1, 60, false);
    assert_eq!(played.sizes(), [30]);
}

/// If the server has no connection left, the pool gives back a tenth and does not ask for more.
#[test]
fn too_many_connections_give_a_tenth_back() {
    let mut played = Played::new(50, 100);
    played.minutes(1, 50, false);
    played.inputs.too_many_connections = 7;
    played.minutes(1, 80, false);
    assert_eq!(played.sizes(), [45]);
    assert!(
        played.changes[0]
            .1
            .cause
            .contains("no connection left 7 times")
    );
}

/// While the server has a problem, or holders keep their connections, nothing changes.
#[test]
fn nothing_changes_in_an_outage_a_failover_or_a_leak() {
    type Trouble = fn(&mut SizingInputs);
    let troubles: [Trouble; 3] = [
        |inputs| inputs.is_unsettled = true,
        |inputs| inputs.is_held_up = true,
        |inputs| inputs.lost += 3,
    ];
    for trouble in troubles {
        let mut played = Played::new(25, 100);
        // One second after a decision.
        played.seconds(61, 25, false);
        played.second += 1;
        let mut troubled = played.inputs.clone();
        trouble(&mut troubled);
        let now = played.began + Duration::from_secs(played.second);
        played.sizer.observe(now, &troubled, || false);
        played.inputs.lost = troubled.lost;
        played.minutes(1, 60, false);
        assert!(played.changes.is_empty());
        played.minutes(1, 60, false);
        assert_eq!(played.sizes(), [30]);
    }
}
