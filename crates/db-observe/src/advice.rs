//! Advice: sizes that follow from measured numbers, each with its inputs.

pub mod formulas;

use std::time::Duration;

use app_db::db_pool::{PoolSettings, PoolSnapshot};

use crate::advice::formulas::{
    connections_for, cores_and_spindles, deadlock_bound, fleet_share, little, product,
};

/// One piece of advice: a number, the inputs behind it, and what it means.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// What it is about: a setting of a pool, or a name of a formula.
    pub about: &'static str,
    /// The result of the formula.
    pub recommended: f64,
    /// What it was computed from.
    pub inputs: Vec<Input>,
    /// What it means, in a sentence.
    pub sentence: String,
}

/// One number from which advice was computed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Input {
    /// Its name and unit.
    pub name: &'static str,
    /// The number.
    pub value: f64,
}

/// What is known about a load and its server. Advice uses the values that are given.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// Checkouts in a second.
    pub rate: Option<f64>,
    /// How long a connection is held on average.
    pub hold: Option<Duration>,
    /// How long a caller may wait; 1 in 100 may wait longer. 10 ms if not given.
    pub target: Option<Duration>,
    /// Users at the same time.
    pub users: Option<f64>,
    /// Operations on the database that a request runs at the same time, on average.
    pub operations: Option<f64>,
    /// The factor for unknown influences; 1.5 if not given.
    pub safety: Option<f64>,
    /// Cores of the server.
    pub cores: Option<u32>,
    /// Disks of the server that seek at the same time.
    pub spindles: Option<u32>,
    /// The number of threads or tasks that take several connections each, and how many each takes.
    pub nested: Option<(u32, u32)>,
    /// The server's `max_connections`, and how many of them are reserved.
    pub server: Option<(u32, u32)>,
    /// Instances of the service.
    pub instances: Option<u32>,
    /// The settings in force.
    pub settings: Option<PoolSettings>,
}

impl Load {
    /// The load that a pool has measured between two snapshots, which are `between` apart.
    #[must_use]
    pub fn measured(earlier: &PoolSnapshot, now: &PoolSnapshot, between: Duration) -> Self {
        let held = now.times.held.since(&earlier.times.held);
        let checkouts = now.handed_out.saturating_sub(earlier.handed_out);
        let seconds = between.as_secs_f64();
        Self {
            rate: (checkouts > 0 && seconds > 0.0).then(|| checkouts as f64 / seconds),
            hold: held.mean(),
            settings: Some(now.settings.clone()),
            ..Self::default()
        }
    }

    /// All advice that can be given about this load.
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        advice.extend(self.by_rate());
        advice.extend(self.by_users());
        advice.extend(self.by_cores());
        advice.extend(self.by_nesting());
        advice.extend(self.by_server());
        advice.extend(self.by_settings());
        advice
    }

    fn by_rate(&self) -> Vec<Advice> {
        let (Some(rate), Some(hold)) = (self.rate, self.hold) else {
            return Vec::new();
        };
        let target = self.target.unwrap_or(TARGET);
        let busy = little(rate, hold);
        let measured = [
            input("checkouts per second", rate),
            input("mean hold in ms", hold.as_secs_f64() * 1e3),
        ];
        let mut advice = vec![Advice {
            about: "in use on the mean",
            recommended: busy,
            inputs: measured.to_vec(),
            sentence: format!(
                "By Little's law {busy:.1} connections are in use on average; fewer cannot carry this load."
            ),
        }];
        if let Some(max) = connections_for(rate, hold, target, SHARE) {
            let mut inputs = measured.to_vec();
            inputs.push(input(
                "longest wait wanted in ms",
                target.as_secs_f64() * 1e3,
            ));
            inputs.push(input("share that may wait longer", SHARE));
            let now = match &self.settings {
                Some(settings) => format!(" It is {} now.", settings.max),
                None => String::new(),
            };
            advice.push(Advice {
                about: "max",
                recommended: f64::from(max),
                inputs,
                sentence: format!(
                    "With a max of {max}, 1 of 100 callers waits longer than {target:?} (Erlang C).{now}"
                ),
            });
        }
        advice
    }

    fn by_users(&self) -> Option<Advice> {
        let (users, operations) = (self.users?, self.operations?);
        let safety = self.safety.unwrap_or(SAFETY);
        let max = product(users, operations, safety);
        Some(Advice {
            about: "max by users",
            recommended: f64::from(max),
            inputs: vec![
                input("users at the same time", users),
                input("operations at the same time per request", operations),
                input("safety factor", safety),
            ],
            sentence: format!(
                "{users} × {operations} × {safety} is {max} connections per instance."
            ),
        })
    }

    fn by_cores(&self) -> Option<Advice> {
        let (cores, spindles) = (self.cores?, self.spindles.unwrap_or(0));
        let active = cores_and_spindles(cores, spindles);
        Some(Advice {
            about: "active on the server",
            recommended: f64::from(active),
            inputs: vec![
                input("cores of the server", f64::from(cores)),
                input("spindles", f64::from(spindles)),
            ],
            sentence: format!(
                "The server works best with about {active} active connections from all instances together; \
                 2 to 4 for each core are usual."
            ),
        })
    }

    fn by_nesting(&self) -> Option<Advice> {
        let (tasks, each) = self.nested?;
        let least = deadlock_bound(tasks, each);
        Some(Advice {
            about: "least max",
            recommended: f64::from(least),
            inputs: vec![
                input("tasks at the same time", f64::from(tasks)),
                input("connections of each task", f64::from(each)),
            ],
            sentence: format!(
                "With fewer than {least} connections these tasks can wait for each other for ever."
            ),
        })
    }

    fn by_server(&self) -> Option<Advice> {
        let (max_connections, reserved) = self.server?;
        let instances = self.instances.unwrap_or(1);
        let share = fleet_share(max_connections, reserved, KEPT, instances);
        let now = match &self.settings {
            Some(settings) if settings.max > share => {
                format!(" It is {} now, which is more.", settings.max)
            }
            _ => String::new(),
        };
        Some(Advice {
            about: "share of the server",
            recommended: f64::from(share),
            inputs: vec![
                input("max_connections", f64::from(max_connections)),
                input("reserved", f64::from(reserved)),
                input("share kept for maintenance", KEPT),
                input("instances", f64::from(instances)),
            ],
            sentence: match instances {
                0 | 1 => format!(
                    "A single instance may have {share} connections for all its pools; several instances share them.{now}"
                ),
                _ => format!(
                    "Each of {instances} instances may have {share} connections for all its pools.{now}"
                ),
            },
        })
    }

    fn by_settings(&self) -> Vec<Advice> {
        let Some(settings) = &self.settings else {
            return Vec::new();
        };
        let mut advice = Vec::new();
        let max = f64::from(settings.max);
        let half = (max / 2.0).ceil();
        match settings.max_idle {
            Some(idle) if f64::from(idle) > half || f64::from(idle) < (max / 5.0).floor() => {
                advice.push(Advice {
                    about: "max_idle",
                    recommended: (max / 3.0).ceil(),
                    inputs: vec![input("max", max), input("max_idle", f64::from(idle))],
                    sentence: format!("20 to 50 % of max are usual for max_idle; it is {idle}."),
                });
            }
            _ => {}
        }
        let lifetime = settings.max_lifetime;
        if lifetime.is_none_or(|lifetime| lifetime > LONGEST_LIFE || lifetime < SHORTEST_LIFE) {
            let now = lifetime.map_or("without end".to_owned(), |now| {
                humantime::format_duration(now).to_string()
            });
            advice.push(Advice {
                about: "max_lifetime",
                recommended: LONGEST_LIFE.as_secs_f64(),
                inputs: Vec::new(),
                sentence: format!(
                    "1 to 30 minutes are usual for max_lifetime, below every timeout of the server and of everything \
                     between; it is {now}."
                ),
            });
        }
        advice
    }
}

fn input(name: &'static str, value: f64) -> Input {
    Input { name, value }
}

/// The default for a target that is not given.
const TARGET: Duration = Duration::from_millis(10);
const SAFETY: f64 = 1.5;

/// The share of callers that may wait longer than the target.
const SHARE: f64 = 0.01;

/// The share of the server's connections that is kept in reserve.
const KEPT: f64 = 0.2;

const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    /// req 4.02: a computed number names its inputs.
    #[test]
    fn advice_names_what_it_rests_on() {
        let load = Load {
            users: Some(150.0),
            operations: Some(0.3),
            ..Load::default()
        };
        let advice = load.advice();
        assert_eq!(advice.len(), 1);
        assert_eq!(advice[0].recommended, 68.0);
        assert_eq!(
            advice[0].sentence,
            "150 × 0.3 × 1.5 is 68 connections per instance."
        );
        let inputs: Vec<_> = advice[0].inputs.iter().map(|input| input.value).collect();
        assert_eq!(inputs, [150.0, 0.3, 1.5]);
        assert!(
            Load::default().advice().is_empty(),
            "nothing is known, and nothing said"
        );
    }
}
