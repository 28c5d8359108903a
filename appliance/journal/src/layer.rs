//! What this process says by `tracing`, as lines of the journal.

use crate::line::Severity;
use crate::runner::Journal;
use std::cell::Cell;
use std::fmt::{Debug, Write};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

thread_local! {
    /// Each thread writes into the same room; one that is ending, or a value that itself says
    /// something while it is printed, finds none and makes its own.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
}

/// Collects events; add it to a `tracing_subscriber::Registry`.
#[derive(Clone, Debug)]
pub struct JournalLayer(pub(crate) Journal);

impl<S: Subscriber> Layer<S> for JournalLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = match *event.metadata().level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            Level::INFO => Severity::Info,
            _ => Severity::Debug,
        };
        let target = event.metadata().target();
        let mut text = TEXT.try_with(Cell::take).unwrap_or_default();
        self.say(&mut text, event, severity, target);
        let _ = TEXT.try_with(|room| room.set(text));
    }
}

impl JournalLayer {
    fn say(&self, text: &mut String, event: &Event<'_>, severity: Severity, target: &str) {
        text.clear();
        let mut fields = Fields { text, fields: 0 };
        event.record(&mut fields);
        self.0.line(severity, target, text);
    }
}

/// The message first, whatever its place, then `name=value`.
struct Fields<'a> {
    text: &'a mut String,
    fields: usize,
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message(&value);
        } else {
            self.field(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message(&format_args!("{value:?}"));
        } else {
            self.field(field, value);
        }
    }
}

impl Fields<'_> {
    fn message(&mut self, value: &dyn std::fmt::Display) {
        if self.fields == 0 {
            let _ = write!(self.text, "{value}");
        } else {
            let behind = std::mem::take(self.text);
            let _ = write!(self.text, "{value}{behind}");
        }
    }

    fn field(&mut self, field: &Field, value: &dyn Debug) {
        self.fields += 1;
        // `log.` fields repeat what the metadata says.
        if !field.name().starts_with("log.") {
            let _ = write!(self.text, " {}={value:?}", field.name());
        }
    }
}
