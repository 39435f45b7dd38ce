//! Runs one piece of work as a process of its own, and measures its cost.

use std::fmt;
use std::process::{Command, Output, Stdio};

use crate::workload::{Side, Workload};
use crate::{ALLOCATOR, say};

/// Runs pieces of work.
pub(crate) struct Meter {
    url: String,
    valgrind: bool,
}

/// The cost of one round, or of a whole process.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) instructions: Option<f64>,
    pub(crate) allocations: f64,
    /// Bytes of the heap that are not freed.
    pub(crate) bytes: f64,
}

impl Meter {
    pub(crate) fn new(url: String) -> Self {
        let version = Command::new("valgrind").arg("--version").output();
        let valgrind = version.is_ok_and(|output| output.status.success());
        Self { url, valgrind }
    }

    pub(crate) fn counts_instructions(&self) -> bool {
        self.valgrind
    }

    /// The cost of one round.
    pub(crate) fn cost(&self, work: Workload, side: Side) -> Cost {
        let rounds = work.rounds();
        let once = self.run(work, side, rounds);
        let twice = self.run(work, side, 2 * rounds);
        twice.beyond(once, rounds)
    }

    fn run(&self, work: Workload, side: Side, rounds: u32) -> Cost {
        let program = std::env::current_exe().unwrap();
        // For connecting, only the memory that stays is of interest.
        let counted = self.valgrind && !work.is_memory();
        let mut command = match counted {
            false => Command::new(program),
            true => {
                let mut command = Command::new("valgrind");
                command
                    .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                    .arg(program);
                command
            }
        };
        let output = command
            .args([work.title(), side.title(), &rounds.to_string()])
            .env(URL, &self.url)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Cost::read(&output)
    }
}

impl Cost {
    fn read(output: &Output) -> Self {
        let said = String::from_utf8_lossy(&output.stdout);
        let counted = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{counted}");
        let mut numbers = said.split_whitespace().map(|word| word.parse().unwrap());
        let instructions = counted
            .lines()
            .find_map(|line| line.split_once("Collected :"))
            .map(|(_, number)| number.trim().parse().unwrap());
        Self {
            instructions,
            allocations: numbers.next().unwrap(),
            bytes: numbers.next().unwrap(),
        }
    }

    /// How much more this costs than another one. For two sides that run the same statements, it is the
    /// telemetry alone.
    pub(crate) fn above(self, other: Self) -> Self {
        self.beyond(other, 1)
    }

    /// Whether it is no allocation and at most this many instructions.
    pub(crate) fn judged_by(self, instructions: f64) -> String {
        let allocates = self.allocations.abs() >= 0.05;
        let verdict = match self.instructions {
            Some(counted) if !allocates && counted <= instructions => "PASS",
            None if !allocates => "instructions not counted",
            _ => "short of target",
        };
        format!("target no allocation and {instructions:.0} instructions: {verdict}")
    }

    /// The cost of each of the `rounds` rounds that the other run has not done.
    fn beyond(self, other: Self, rounds: u32) -> Self {
        let each = |more: f64, less: f64| (more - less) / f64::from(rounds);
        let instructions = self.instructions.zip(other.instructions);
        Self {
            instructions: instructions.map(|(more, less)| each(more, less)),
            allocations: each(self.allocations, other.allocations),
            bytes: each(self.bytes, other.bytes),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(instructions) = self.instructions {
            write!(f, "{instructions:.0} instructions, ")?;
        }
        write!(
            f,
            "{:.1} allocations, {:.0} bytes that stay",
            self.allocations, self.bytes
        )
    }
}

/// The measured process: does its work, and reports what it has allocated.
pub(crate) async fn be_measured(work: Workload, side: Side, rounds: u32) {
    let url = std::env::var(URL).unwrap();
    side.begin();
    work.run(side, &url, rounds, || {
        let stats = ALLOCATOR.stats();
        let allocations = stats.allocations + stats.reallocations;
        let bytes = stats.bytes_allocated - stats.bytes_deallocated;
        say(&format!("{allocations} {bytes}"));
        // What happens afterwards is not measured.
        std::process::exit(0);
    })
    .await;
}

/// The variable that tells the measured process the URL of the database.
const URL: &str = "DATABASE_URL";
