//! Work: what runs on one connection.

use diesel_async::AsyncPgConnection;

/// Anything that runs on one connection: `async |conn| …` or an `async fn(&mut AsyncPgConnection)`.
///
/// Implemented for all of them; a bound to write, not a trait to implement. Work that may be repeated is
/// `Work + Clone`: each attempt runs a clone of its own and so cannot see what an earlier one left.
///
/// A bare `AsyncFnOnce` bound says nothing about `Send`, and a helper with that bound fails to compile
/// inside `tokio::spawn` as soon as the closure borrows; the second bound here says it.
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
