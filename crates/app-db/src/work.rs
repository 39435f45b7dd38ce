//! Work: a function that runs on one connection.

use diesel_async::AsyncPgConnection;

/// Anything that runs on one connection: `async |conn| …` or an `async fn(&mut AsyncPgConnection)`.
///
/// All such functions implement it: write it as a bound, and do not implement it yourself. Work that may be
/// repeated is `Work + Clone`. Each attempt runs a clone, so that it cannot see what an earlier attempt
/// left in its captures.
///
/// | written so | compiles | otherwise write |
/// |---|---|---|
/// | `async \|conn\| f(conn, x).await` | yes | |
/// | `f`, an `async fn f(conn: &mut AsyncPgConnection) -> ..` | yes | |
/// | `async move \|conn\| ..`, which takes what it uses along | yes | |
/// | `\|conn\| f(conn, x)` | no: the future borrows `conn` | `async \|conn\| f(conn, x).await` |
/// | `\|conn\| async move { .. }` | no: the future borrows `conn` | `async \|conn\| { .. }` |
/// | `\|conn\| async move { .. }.boxed()`, as for diesel-async | no: nothing says for how long `conn` lives | `async \|conn\| { .. }` |
/// | `let work = async \|conn\| ..; db.write(work)` | no: the compiler settles its type before it knows the use | `let work = async \|conn: &mut AsyncPgConnection\| ..` |
/// | a parameter `work: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, E>` | no: nothing says that its future is `Send` | `work: impl Work<T, E> + Clone` |
/// | a closure that uses an `Rc`, or holds a lock's guard over an `await` | no: its future is not `Send` | an `Arc`; drop the guard first |
/// | a closure that owns what cannot be cloned | only with `run_once` | for `run`, `read` and `write` put it into an `Arc` |
/// | `Ok(())` at its end, with `?` before | no: the type of the error is not known | `Ok::<_, Error>(())`, or a function with a signature |
///
/// The second bound says that the future is `Send`. A bare `AsyncFnOnce` bound does not say so: a helper
/// with only that bound does not compile inside `tokio::spawn` once the closure borrows something.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no work on a connection",
    label = "expected `async |conn| ..`, or an `async fn(&mut AsyncPgConnection) -> Result<..>`",
    note = "write `async |conn| f(conn, ..).await` in the place of `|conn| f(conn, ..)` and of `|conn| async move {{ .. }}`",
    note = "a helper of your own takes `work: impl Work<T, E> + Clone`, and a closure in a variable says `|conn: &mut AsyncPgConnection|`",
    note = "the documentation of `Work` has a table of the shapes that compile"
)]
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
    #[diagnostic::on_unimplemented(
        message = "the future of this work cannot be sent to another thread, or does not outlive its connection",
        label = "expected `async |conn| ..` whose future is `Send`",
        note = "the documentation of `Work` has a table of the shapes that compile"
    )]
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

/// Compiles the shapes that compile, and checks that the compiler refuses the others.
#[cfg(doctest)]
#[doc = include_str!("work/shapes.md")]
struct Shapes;
