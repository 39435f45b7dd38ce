//! How long a close of the pool takes.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use tokio::task::JoinHandle;

use super::Point::{Accepting, Cancel, Cancelled, Closing, Statement};
use super::workplace::{Workplace, ms, on_paused_clock, sized, timed};

/// case R11: a close ends within a known time, whatever the server does. Connections that are working when
/// the grace ends get a moment to come back.
#[test]
fn a_close_is_over_in_time() {
    let grace = 1_000;
    for (gate, took) in [
        // The cancelled connection comes back at once.
        (None, grace),
        // Two seconds for the cancel request, and two more for the statement that it should stop.
        (Some(Accepting), grace + 2_000 + 2_000),
        (Some(Cancel), grace + 2_000 + 2_000),
        // The cancelled statement goes on, or the server does not hang up.
        (Some(Cancelled), grace + 2_000),
        (Some(Closing), grace + 2_000),
    ] {
        on_paused_clock(async {
            let work = Workplace::new(sized(1));
            let _worker = at_work(&work).await;
            gate.inspect(|gate| work.server.gates.shut(*gate));
            let (closed, elapsed) = timed(work.pool.close(ms(grace))).await;
            assert_eq!((closed.abandoned, elapsed), (1, ms(took)), "{gate:?}");
            assert_eq!(
                work.pool.status().in_use == 0,
                [None, Some(Closing)].contains(&gate)
            );
            work.comes_to_rest().await;
            work.is_at_rest();
        });
    }
    on_paused_clock(async {
        let work = Workplace::new(sized(3));
        drop(work.all().await);
        let (closed, elapsed) = timed(work.pool.close(ms(grace))).await;
        assert_eq!((closed.abandoned, elapsed), (0, Duration::ZERO));
        work.is_at_rest();
    });
}

/// case R11: a close that has cancelled a statement ends only when the statement has ended and the server has
/// hung up. It does not wait for a holder that does nothing.
#[test]
fn a_close_waits_for_what_it_has_cancelled() {
    on_paused_clock(async {
        let work = Workplace::new(sized(2));
        let _idle = work.pool.get().await.unwrap();
        let worker = at_work(&work).await;
        work.server.gates.shut(Cancelled);
        let gates = async {
            work.server.gates.reached(Cancelled, 1).await;
            tokio::time::sleep(ms(300)).await;
            work.server.gates.open_all();
        };
        let ((closed, took), ()) = tokio::join!(timed(work.pool.close(Duration::ZERO)), gates);
        assert_eq!((closed.abandoned, took), (2, ms(300)));
        assert!(worker.is_finished());
        assert_eq!(work.server.facts().live.len(), 1);
    });
}

/// Starts a statement in a task, which ends with it.
async fn at_work(work: &Workplace) -> JoinHandle<()> {
    let mut conn = work.pool.get().await.unwrap();
    work.server.gates.shut(Statement);
    let worker = tokio::spawn(async move {
        let stopped = conn.batch_execute("select 1").await;
        assert!(stopped.is_err());
    });
    work.server.gates.reached(Statement, 1).await;
    worker
}
