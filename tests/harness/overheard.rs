//! Secrets in what the process says: its events, its spans, its panics.

use std::fmt::{self, Write};
use std::panic::PanicHookInfo;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Listens from now on to every panic, and to everything that is traced at any level, unless a test's own
/// subscriber takes it.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Ear);
        // If there is another subscriber already, that one listens.
        let _taken = tracing::subscriber::set_global_default(subscriber);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
            hear(&panic.to_string());
            before(panic);
        }));
    });
}

/// Everything since [`listen`] that contains a password of a test's database.
pub fn overheard(database: &str) -> Vec<String> {
    let heard = heard();
    let said = heard.said.iter();
    said.filter(|(role, _)| role.starts_with(database))
        .map(|(_, said)| said.clone())
        .collect()
}

/// The role whose password is in a text; a test role of this process.
pub fn secret_in(text: &str) -> Option<String> {
    let heard = heard();
    let mut secrets = heard.secrets.iter();
    let (role, _) = secrets.find(|(_, secret)| text.contains(secret))?;
    Some(role.clone())
}

/// Treats a role's password as a secret from here on.
pub(crate) fn keep_secret(role: &str, password: &str) {
    let secret = (role.to_owned(), password.to_owned());
    heard().secrets.push(secret);
}

/// Pairs of a role and the texts with its password.
struct Heard {
    secrets: Vec<(String, String)>,
    said: Vec<(String, String)>,
}

fn heard() -> MutexGuard<'static, Heard> {
    static HEARD: Mutex<Heard> = Mutex::new(Heard {
        secrets: Vec::new(),
        said: Vec::new(),
    });
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hear(said: &str) {
    if let Some(role) = secret_in(said) {
        heard().said.push((role, said.to_owned()));
    }
}

struct Ear;

impl<S: Subscriber> Layer<S> for Ear {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut fields = Fields::of(attributes.metadata().name());
        attributes.record(&mut fields);
        hear(&fields.0);
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields::of("recorded");
        values.record(&mut fields);
        hear(&fields.0);
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::of(event.metadata().target());
        event.record(&mut fields);
        hear(&fields.0);
    }
}

/// One line of names and values.
struct Fields(String);

impl Fields {
    fn of(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _infallible = write!(self.0, " {field}={value:?}");
    }
}
