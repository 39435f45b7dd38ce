//! Gates: where the server waits until a test lets it go on.

use tokio::sync::watch;

/// Where the server can be held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// A client asks for a connection that is not open yet, for a session or for a cancel request.
    Accepting,
    /// The startup packet has come.
    Startup,
    /// The server has accepted the login, and the client waits to hear that it is ready.
    Greeting,
    /// The client asks for the number of its process.
    Detection,
    /// The client asks for a sign of life.
    Ping,
    /// A statement runs until the gate opens or it is cancelled.
    Statement,
    /// The rows are sent, and the end of the answer is not.
    Rest,
    Commit,
    Rollback,
    /// The client asks for a reset of the session.
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
    /// How many sessions have come to it since it was last shut.
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

    /// How many sessions have come to a gate since it was shut.
    pub(super) fn arrived(&self, point: Point) -> u32 {
        self.0.borrow()[point as usize].arrived
    }

    /// Waits until `count` sessions have come to a gate.
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
