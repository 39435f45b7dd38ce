//! Work: a function that runs on one connection.

use diesel_async::AsyncPgConnection;

/// Anything that runs on one connection: `async |conn| …` or an `async fn(&mut AsyncPgConnection)`.
///
/// It is implemented for all such functions: write it as a bound, and do not implement it. Work that may be
/// repeated is `Work + Clone`. Each attempt runs a clone, so that it cannot see what an earlier attempt
/// left.
///
/// The second bound says that the future is `Send`. A bare `AsyncFnOnce` bound does not say so: a helper
/// with only that bound does not compile inside `tokio::spawn` once the closure borrows something.
pub trait Work<T, E>:
    for<'c> AsyncFnOnce(&'c mut AsyncPgConnection) -> Result<T, E>
    + for<'c> send::SendFn<&'c mut AsyncPgConnection, Result<T, E>>
    + Send
{
}

impl<F, T, E> Work<T, E> for F where
    F: for<'c> AsyncFnOnce(&'c mut AsyncPgConnection) -> Result<T, E>
        + for<'c> send::SendFn<&'c mut AsyncPgConnection, Result<T, E>>
        + Send
{
}

mod send {
    /// A function whose future can be sent, named through the plain function it also is.
    pub trait SendFn<A, R>: AsyncFnOnce(A) -> R + FnOnce(A) -> <Self as SendFn<A, R>>::Fut {
        /// The future.
        type Fut: Future<Output = R> + Send;
    }

    impl<F, A, R, Fut> SendFn<A, R> for F
    where
        F: AsyncFnOnce(A) -> R + FnOnce(A) -> Fut,
        Fut: Future<Output = R> + Send,
    {
        type Fut = Fut;
    }
}
