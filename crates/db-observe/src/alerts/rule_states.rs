//! The states of rules: inactive, pending, firing and back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::alerts::alert::{Alert, AlertState, Level};
use crate::alerts::reading::Reading;
use crate::alerts::rule::Rule;

/// The state of each rule for each pool. It gets readings, returns alerts, and has no clock.
#[derive(Debug)]
pub struct RuleStates {
    rules: Vec<Rule>,
    states: HashMap<(&'static str, Arc<str>), RuleState>,
}

#[derive(Debug)]
enum RuleState {
    /// The number has been above the threshold since `since`.
    Pending {
        since: Instant,
    },
    Firing(Firing),
}

#[derive(Debug)]
struct Firing {
    started: SystemTime,
    told: Instant,
    /// Since when the number is low enough.
    low_since: Option<Instant>,
    level: Level,
    message: String,
}

impl RuleStates {
    /// Every rule is inactive.
    #[must_use]
    pub fn new(rules: &[Rule]) -> Self {
        Self {
            rules: rules.to_vec(),
            states: HashMap::new(),
        }
    }

    /// The alerts that follow from these readings, one reading for each pool. If a pool has no reading any more,
    /// its firing alerts end.
    ///
    /// An alert that goes on is repeated every four hours.
    pub fn update(&mut self, now: Instant, at: SystemTime, readings: &[Reading]) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for rule in &self.rules {
            for reading in readings {
                let key = (rule.name, Arc::clone(&reading.pool));
                let state = self.states.remove(&key);
                let (next, alert) = step(rule, state, now, at, reading);
                alerts.extend(alert);
                if let Some(next) = next {
                    self.states.insert(key, next);
                }
            }
        }
        self.states.retain(|(rule, pool), state| {
            let lives = readings.iter().any(|reading| reading.pool == *pool);
            if let (false, RuleState::Firing(firing)) = (lives, &*state) {
                alerts.push(firing.alert(rule, pool, AlertState::Resolved, at));
            }
            lives
        });
        alerts
    }

    /// The alerts that fire now, the most urgent and oldest first.
    #[must_use]
    pub fn firing(&self, at: SystemTime) -> Vec<Alert> {
        let firing = |((rule, pool), state): (&(&'static str, Arc<str>), &RuleState)| match state {
            RuleState::Firing(firing) => Some(firing.alert(rule, pool, AlertState::Firing, at)),
            RuleState::Pending { .. } => None,
        };
        let mut alerts: Vec<_> = self.states.iter().filter_map(firing).collect();
        alerts.sort_by_key(|alert| (std::cmp::Reverse(alert.level), alert.started, alert.rule));
        alerts
    }
}

impl Firing {
    fn alert(
        &self,
        rule: &'static str,
        pool: &Arc<str>,
        state: AlertState,
        at: SystemTime,
    ) -> Alert {
        Alert {
            rule,
            pool: Arc::clone(pool),
            level: self.level,
            state,
            message: self.message.clone(),
            at,
            started: self.started,
        }
    }
}

fn step(
    rule: &Rule,
    state: Option<RuleState>,
    now: Instant,
    at: SystemTime,
    reading: &Reading,
) -> (Option<RuleState>, Option<Alert>) {
    let number = (rule.number)(reading);
    let is_above = number.is_some_and(|number| number > rule.above);
    let is_low = number.is_none_or(|number| number <= rule.until);
    let mut firing = match state {
        Some(RuleState::Firing(firing)) => firing,
        _ if !is_above => return (None, None),
        state => {
            let since = match state {
                Some(RuleState::Pending { since }) => since,
                _ => now,
            };
            if now.duration_since(since) < rule.lasting {
                return (Some(RuleState::Pending { since }), None);
            }
            let firing = Firing {
                started: at,
                told: now,
                low_since: None,
                level: rule.level,
                message: rule.message(reading, number.unwrap_or_default()),
            };
            let alert = firing.alert(rule.name, &reading.pool, AlertState::Firing, at);
            return (Some(RuleState::Firing(firing)), Some(alert));
        }
    };
    firing.low_since = is_low.then(|| firing.low_since.unwrap_or(now));
    if let Some(since) = firing.low_since
        && now.duration_since(since) >= rule.over_for
    {
        let over = firing.alert(rule.name, &reading.pool, AlertState::Resolved, at);
        return (None, Some(over));
    }
    if is_above {
        firing.message = rule.message(reading, number.unwrap_or_default());
    }
    let again = now.duration_since(firing.told) >= AGAIN;
    let alert = again.then(|| {
        firing.told = now;
        firing.alert(rule.name, &reading.pool, AlertState::Firing, at)
    });
    (Some(RuleState::Firing(firing)), alert)
}

/// The interval at which an alert that goes on is repeated.
const AGAIN: Duration = Duration::from_secs(4 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::rule::RULES;

    struct Clock {
        states: RuleStates,
        began: Instant,
        alerts: Vec<(u64, Alert)>,
    }

    impl Clock {
        fn new() -> Self {
            Self {
                states: RuleStates::new(&RULES),
                began: Instant::now(),
                alerts: Vec::new(),
            }
        }

        fn at(&mut self, second: u64, reading: &Reading) {
            let after = Duration::from_secs(second);
            let at = SystemTime::UNIX_EPOCH + after;
            let readings = std::slice::from_ref(reading);
            let alerts = self.states.update(self.began + after, at, readings);
            self.alerts
                .extend(alerts.into_iter().map(|alert| (second, alert)));
        }

        fn of(&self, rule: &str) -> Vec<(u64, AlertState, Level)> {
            let alerts = self.alerts.iter().filter(|(_, alert)| alert.rule == rule);
            alerts
                .map(|(at, alert)| (*at, alert.state, alert.level))
                .collect()
        }
    }

    fn reading() -> Reading {
        Reading {
            pool: "write".into(),
            idle: 1,
            ..Reading::default()
        }
    }

    /// req 3.24: after four minutes and fifty-nine seconds there is no alert, after five minutes there is one.
    #[test]
    fn a_full_pool_is_critical_after_five_minutes_on_end() {
        let mut clock = Clock::new();
        let mut full = reading();
        (full.is_full, full.utilisation) = (true, 1.0);
        (0..300).for_each(|second| clock.at(second, &full));
        assert!(clock.of("PoolFull").is_empty());
        (300..400).for_each(|second| clock.at(second, &full));
        let once = [(300, AlertState::Firing, Level::Critical)];
        assert_eq!(clock.of("PoolFull"), once);
        let message = &clock.states.firing(SystemTime::now())[0].message;
        assert_eq!(
            message,
            "pool `write` has had every connection in use for five minutes"
        );

        let mut clock = Clock::new();
        (0..299).for_each(|second| clock.at(second, &full));
        clock.at(299, &reading());
        (300..599).for_each(|second| clock.at(second, &full));
        assert!(clock.of("PoolFull").is_empty(), "it was free in between");
    }

    /// req 2.45, req 0.34: a value that goes up and down for an hour is one alert, and one end of it.
    #[test]
    fn flapping_for_an_hour_fires_once_and_resolves_once() {
        let mut clock = Clock::new();
        let mut waiting = reading();
        for second in 0..3_600 {
            waiting.waiting = if second / 30 % 2 == 0 { 12 } else { 0 };
            clock.at(second, &waiting);
        }
        waiting.waiting = 0;
        (3_600..4_200).for_each(|second| clock.at(second, &waiting));
        for (rule, level) in [
            ("Waiting", Level::Warning),
            ("ManyWaiting", Level::Critical),
        ] {
            assert_eq!(
                clock.of(rule),
                [
                    (0, AlertState::Firing, level),
                    (3_570 + 300, AlertState::Resolved, level)
                ],
                "{rule}"
            );
        }
    }

    /// Between the threshold that starts an alert and the one that ends it, nothing changes.
    #[test]
    fn between_the_thresholds_nothing_changes() {
        let mut clock = Clock::new();
        let mut used = reading();
        used.utilisation = 0.95;
        (0..100).for_each(|second| clock.at(second, &used));
        used.utilisation = 0.85;
        (100..2_000).for_each(|second| clock.at(second, &used));
        let fired = (60, AlertState::Firing, Level::Warning);
        assert_eq!(clock.of("Utilisation"), [fired]);
        used.utilisation = 0.8;
        (2_000..2_400).for_each(|second| clock.at(second, &used));
        let over = (2_300, AlertState::Resolved, Level::Warning);
        assert_eq!(clock.of("Utilisation"), [fired, over]);
    }

    /// req 3.21, req 3.22, req 3.23, req 2.46, req 2.47, req 0.15, req 0.16, req 0.17, req 0.33, req 0.35,
    /// req 0.36: each threshold of the rules, at it and
    /// just above.
    #[test]
    fn a_rule_fires_above_its_threshold_and_not_at_it() {
        type Change = fn(&mut Reading, bool);
        let cases: [(&str, u64, Level, Change); 11] = [
            ("Utilisation", 60, Level::Warning, |r, above| {
                r.utilisation = if above { 0.91 } else { 0.9 };
            }),
            ("Waiting", 0, Level::Warning, |r, above| {
                r.waiting = 5 + u32::from(above);
            }),
            ("ManyWaiting", 0, Level::Critical, |r, above| {
                r.waiting = 10 + u32::from(above);
            }),
            ("NoneIdle", 0, Level::Warning, |r, above| {
                (r.idle, r.waiting) = (0, u32::from(above));
            }),
            ("WaitP99", 60, Level::Critical, |r, above| {
                r.wait_p99 = Some(Duration::from_secs(if above { 5 } else { 1 }));
            }),
            ("ConnectErrors", 0, Level::Warning, |r, above| {
                r.connect_error_rate = Some(if above { 0.011 } else { 0.01 });
            }),
            ("ConnectTime", 0, Level::Warning, |r, above| {
                r.connect_time = Some(Duration::from_millis(500 + u64::from(above)));
            }),
            ("ResponseTime", 0, Level::Warning, |r, above| {
                r.response_time = Some(Duration::from_millis(500 + u64::from(above)));
            }),
            ("ServerDown", 0, Level::Critical, |r, above| {
                r.is_down = above;
            }),
            ("ServerConnections", 0, Level::Warning, |r, above| {
                r.server_share = Some(if above { 0.81 } else { 0.8 });
            }),
            ("Ports", 0, Level::Warning, |r, above| {
                r.ports_share = Some(if above { 0.81 } else { 0.8 });
            }),
        ];
        for (rule, fires_at, level, change) in cases {
            let (mut at, mut above) = (reading(), reading());
            change(&mut at, false);
            change(&mut above, true);
            let (mut quiet, mut clock) = (Clock::new(), Clock::new());
            for second in 0..120 {
                quiet.at(second, &at);
                clock.at(second, &above);
            }
            assert!(quiet.of(rule).is_empty(), "{rule}");
            let fired = [(fires_at, AlertState::Firing, level)];
            assert_eq!(clock.of(rule), fired, "{rule}");
        }
    }

    /// An alert that goes on is repeated after four hours. It ends when its pool is gone.
    #[test]
    fn an_alert_is_repeated_and_ends_with_its_pool() {
        let mut clock = Clock::new();
        let mut down = reading();
        down.is_down = true;
        for minute in 0..=5 * 60 {
            clock.at(minute * 60, &down);
        }
        let level = Level::Critical;
        let firing = AlertState::Firing;
        assert_eq!(
            clock.of("ServerDown"),
            [(0, firing, level), (4 * 3_600, firing, level)]
        );
        let late = clock.began + Duration::from_secs(6 * 3_600);
        let over = clock.states.update(late, SystemTime::UNIX_EPOCH, &[]);
        assert_eq!(over.len(), 1);
        assert_eq!(
            (over[0].rule, over[0].state),
            ("ServerDown", AlertState::Resolved)
        );
        assert!(clock.states.firing(SystemTime::UNIX_EPOCH).is_empty());
    }
}
