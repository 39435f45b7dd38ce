//! A subscriber that keeps events and spans with their fields, for tests that look at one of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Everything that has been traced on this thread since it was made. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Traced>>);

#[derive(Default)]
struct Traced {
    events: Vec<Entry>,
    spans: Vec<Entry>,
}

/// One event or span.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) target: String,
    pub(crate) fields: BTreeMap<String, String>,
    /// The index of the enclosing span in the list of spans.
    pub(crate) parent: Option<usize>,
    pub(crate) is_closed: bool,
}

impl Entry {
    /// A field, without the quotes of a text.
    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        self.fields[field].parse().unwrap()
    }
}

impl Captured {
    /// Begins to capture. It does not see what other threads trace.
    pub(crate) fn begin() -> (Self, DefaultGuard) {
        let captured = Self::default();
        let subscriber = tracing_subscriber::registry().with(captured.clone());
        (captured, tracing::subscriber::set_default(subscriber))
    }

    /// The events of a target.
    pub(crate) fn events(&self, target: &str) -> Vec<Entry> {
        let events = &self.lock().events;
        let wanted = events.iter().filter(|event| event.target == target);
        wanted.cloned().collect()
    }

    /// Waits until an event has this message.
    pub(crate) async fn hears(&self, message: &str) {
        let is_heard = || {
            let traced = self.lock();
            let mut events = traced.events.iter();
            events.any(|event| event.get("message") == Some(message))
        };
        harness::wait_until(message, crate::SOON, async || is_heard()).await;
    }

    /// Every span, in the order in which they began.
    pub(crate) fn spans(&self) -> Vec<Entry> {
        self.lock().spans.clone()
    }

    /// Whether anything at all has this text in it.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        !self.with_text(text).is_empty()
    }

    /// Every event and span that has this text in it.
    pub(crate) fn with_text(&self, text: &str) -> Vec<Entry> {
        let traced = self.lock();
        let all = traced.events.iter().chain(&traced.spans);
        all.filter(|entry| format!("{entry:?}").contains(text))
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Traced> {
        self.0.lock().unwrap()
    }
}

/// Where a span stands in the list.
struct Place(usize);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Captured {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent();
        let parent = parent.and_then(|parent| Some(parent.extensions().get::<Place>()?.0));
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let spans = &mut self.lock().spans;
        span.extensions_mut().insert(Place(spans.len()));
        spans.push(Entry {
            target: attributes.metadata().target().to_owned(),
            fields: fields.0,
            parent,
            is_closed: false,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        let span = context.span(id).unwrap();
        let place = span.extensions().get::<Place>().unwrap().0;
        self.lock().spans[place].fields.extend(fields.0);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let parent = context.event_span(event);
        let parent = parent.and_then(|parent| Some(parent.extensions().get::<Place>()?.0));
        self.lock().events.push(Entry {
            target: event.metadata().target().to_owned(),
            fields: fields.0,
            parent,
            is_closed: true,
        });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let place = span.extensions().get::<Place>().unwrap().0;
        self.lock().spans[place].is_closed = true;
    }
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}
