//! Gates: where the server waits until a test lets it go on.

use tokio::sync::watch;

/// Where it can be held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// A connection is asked for and not open yet, be it for a session or for a cancel request.
    Accepting,
    /// The startup packet has come.
    Startup,
    /// The client is let in, and waits to hear that the server is ready.
    Greeting,
    /// It asks for the number of its process.
    Detection,
    /// It asks for a sign of life.
    Ping,
    /// A statement runs, until it is let go on or cancelled.
    Statement,
    /// Its rows are sent, and not yet that these were all.
    Rest,
    Commit,
    Rollback,
    /// The session is to be reset.
    Reset,
    /// A cancel request has come, and nothing is cancelled yet.
    Cancel,
    /// A statement is cancelled, and has not ended yet.
    Cancelled,
    /// The client has said goodbye.
    Closing,
}

impl Point {
    pub(super) const ALL: [Self; 13] = [
        Self::Accepting,
        Self::Startup,
        Self::Greeting,
        Self::Detection,
        Self::Ping,
        Self::Statement,
        Self::Rest,
        Self::Commit,
        Self::Rollback,
        Self::Reset,
        Self::Cancel,
        Self::Cancelled,
        Self::Closing,
    ];
}

#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    shut: bool,
    /// How many have come to it since it was shut last.
    arrived: u32,
}

/// One gate for each point; all are open at first.
#[derive(Debug)]
pub(super) struct Gates(watch::Sender<[Gate; Point::ALL.len()]>);

impl Gates {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Default::default()))
    }

    pub(super) fn shut(&self, point: Point) {
        let shut = Gate {
            shut: true,
            arrived: 0,
        };
        self.0.send_modify(|gates| gates[point as usize] = shut);
    }

    pub(super) fn open(&self, point: Point) {
        self.0
            .send_modify(|gates| gates[point as usize].shut = false);
    }

    pub(super) fn open_all(&self) {
        for point in Point::ALL {
            self.open(point);
        }
    }

    /// How many have come to a gate since it was shut.
    pub(super) fn arrived(&self, point: Point) -> u32 {
        self.0.borrow()[point as usize].arrived
    }

    /// Waits until so many have come to a gate.
    pub(super) async fn reached(&self, point: Point, count: u32) {
        let mut gates = self.0.subscribe();
        let _there = gates
            .wait_for(|gates| gates[point as usize].arrived >= count)
            .await;
    }

    /// The server comes to a gate, and passes it once it is open.
    pub(super) async fn pass(&self, point: Point) {
        self.0
            .send_modify(|gates| gates[point as usize].arrived += 1);
        let mut gates = self.0.subscribe();
        let _open = gates.wait_for(|gates| !gates[point as usize].shut).await;
    }
}
