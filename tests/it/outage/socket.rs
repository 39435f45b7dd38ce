//! The kernel's settings for a connection's socket, and their effect.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use app_db::Pool;
use diesel_async::SimpleAsyncConnection;
use harness::{Fault, Proxy, TestDatabase};
use rustix::net::{getpeername, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use crate::SOON;
use crate::pool::{sized, url};

/// This process's end of the connection to a port.
fn socket_to(port: u16) -> OwnedFd {
    let this = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut sockets = numbers.filter_map(|number: i32| {
        let socket = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()).ok()?;
        let peer = SocketAddr::try_from(getpeername(&socket).ok()??).ok()?;
        (peer.port() == port).then_some(socket)
    });
    sockets.next().unwrap()
}

/// case F12; req 2.17, req 4.16: TCP keepalive after 30 s, no delay of small packets, and an end to what nobody
/// acknowledges: after milliseconds, as libpq counts them, and not after a thousand times as many.
#[tokio::test]
async fn the_kernel_watches_over_the_socket() {
    let db = TestDatabase::empty().await.unwrap();
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let own = "tcp_user_timeout=1500&keepalives_idle=7&keepalives_interval=2&keepalives_count=5";
    let off = "keepalives=0";
    for (parameters, idle, interval, count, user_timeout) in [
        ("", Some(30), 10, 3, 30_000),
        (own, Some(7), 2, 5, 1_500),
        (off, None, 0, 0, 30_000),
    ] {
        let proxy = Proxy::start(db.server().port()).await.unwrap();
        let address = format!("{}{separator}{parameters}", db.proxied_url(&proxy));
        let pool = Pool::connect(url(&address), sized(1)).await.unwrap();
        let socket = socket_to(proxy.port());
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), user_timeout);
        assert_eq!(sockopt::socket_keepalive(&socket).unwrap(), idle.is_some());
        if let Some(idle) = idle {
            let seconds = Duration::from_secs;
            assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), seconds(idle));
            assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), seconds(interval));
            assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), count);
        }
        drop(pool);
    }
}

/// req 4.17: a sender whose peer accepts nothing any more gets an error after `tcp_user_timeout`.
#[tokio::test]
async fn a_statement_that_nobody_takes_ends_with_the_user_timeout() {
    let db = TestDatabase::empty().await.unwrap();
    let proxy = Proxy::start(db.server().port()).await.unwrap();
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let address = format!("{}{separator}tcp_user_timeout=100", db.proxied_url(&proxy));
    let pool = Pool::connect(url(&address), sized(1)).await.unwrap();
    let mut conn = pool.get().await.unwrap();
    proxy.set(Fault::Stall).await;
    // More than the buffers of the two sockets hold.
    let statement = format!("select '{}'", "x".repeat(12 << 20));
    let outcome = tokio::time::timeout(2 * SOON, conn.batch_execute(&statement)).await;
    // It looks now and then only: a window that stays shut is probed at doubling intervals.
    outcome.expect("the kernel gives it up").unwrap_err();
    proxy.set(Fault::None).await;
    drop(conn);
    drop(pool.get().await.unwrap());
    assert_eq!(pool.status().closed.discarded, 1);
}
