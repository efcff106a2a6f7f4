//! The layer for tracing: makes a record of each event, with the fields of the spans around it.
//! Promises: the fields of a span are made JSON once, however many events it has; spans from INFO on give their fields whatever the levels
//! say, since who sees an ERROR wants to know of which request it is.

use std::fmt;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::call_sites::Key;
use crate::context::{self, Layered};
use crate::core::{Core, Parts, Scratch, with_scratch};
use crate::failure::Failure;
use crate::fields::{Fields, Value};
use crate::json;
use crate::level::Level;
use crate::logger::Place;

/// Writes events. Which of them it is shown, [`Gate`] decides.
#[derive(Debug)]
pub struct CordwoodLayer {
    core: Arc<Core>,
}

/// Lets through what the levels let through: a filter of one layer, or a layer that filters for all.
#[derive(Debug)]
pub struct Gate {
    core: Arc<Core>,
}

impl CordwoodLayer {
    pub(crate) fn new(core: &Arc<Core>) -> CordwoodLayer {
        CordwoodLayer { core: Arc::clone(core) }
    }
}

impl Gate {
    pub(crate) fn new(core: &Arc<Core>) -> Gate {
        Gate { core: Arc::clone(core) }
    }

    fn passes(&self, metadata: &Metadata<'_>) -> bool {
        (metadata.is_span() && *metadata.level() <= tracing::Level::INFO)
            || self.core.levels.enabled((*metadata.level()).into(), &self.core.service, metadata.target())
    }

    fn interest(&self, metadata: &Metadata<'_>) -> Interest {
        // (A changed level has all of them asked again.)
        if self.passes(metadata) { Interest::always() } else { Interest::never() }
    }
}

impl<S> Filter<S> for Gate {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.passes(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.interest(metadata)
    }
}

impl<S: Subscriber> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.interest(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.passes(metadata)
    }
}

/// What a span's extensions hold: its fields and those around it.
struct SpanFields(Arc<Layered>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for CordwoodLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let around = if attributes.is_contextual() {
            context::innermost()
        } else {
            attributes.parent().and_then(|parent| fields_of(&context, parent))
        };
        let mut own = Fields::new();
        Visitor::record(&mut own, None, |visitor| attributes.record(visitor));
        span.extensions_mut().replace(SpanFields(Layered::new(own, around)));
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        let Some(fields) = fields_of(&context, id) else { return };
        let mut newer = Fields::new();
        Visitor::record(&mut newer, None, |visitor| values.record(visitor));
        fields.record(&newer);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(fields) = fields_of(&context, id) {
            context::enter(id.into_u64(), fields);
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        context::exit(id.into_u64());
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        with_scratch(|scratch| {
            let Scratch { line, message, call, call_sites, .. } = scratch;
            Visitor::record(call, Some(message), |visitor| event.record(visitor));
            let metadata = event.metadata();
            let (file, at) =
                if self.core.is_located { (metadata.file(), metadata.line()) } else { (None, None) };
            let origin = call_sites.of(Key::of_event(file, at, metadata.target()), |origin| {
                origin.put_known("logger", |out| json::text(out, metadata.target()));
                if let (Some(file), Some(line)) = (file, at) {
                    Place { file, line, function: None }.put(origin);
                }
            });
            let parts = Parts {
                level: Level::from(*metadata.level()),
                is_audit: false,
                message,
                call,
                bound: None,
                around: None,
                origin,
                base: &self.core.base,
            };
            if event.is_contextual() {
                context::with_current(|around| self.core.write(line, &Parts { around, ..parts }));
            } else {
                let parent = event.parent().and_then(|parent| fields_of(&context, parent));
                let around = parent.map(|fields| fields.all());
                self.core.write(line, &Parts { around: around.as_deref(), ..parts });
            }
        });
    }
}

fn fields_of<S: Subscriber + for<'a> LookupSpan<'a>>(
    context: &Context<'_, S>,
    id: &Id,
) -> Option<Arc<Layered>> {
    let span = context.span(id)?;
    let extensions = span.extensions();
    extensions.get::<SpanFields>().map(|SpanFields(fields)| Arc::clone(fields))
}

struct Visitor<'a> {
    fields: &'a mut Fields,
    /// Of an event; a span has none.
    message: Option<&'a mut Vec<u8>>,
    /// Fields with a dotted name within `metadata`: tracing's macros have no objects.
    metadata: Option<Fields>,
}

/// `info!(metadata.progress = 50, ..)` is `"metadata":{"progress":50}`.
const METADATA: &str = "metadata.";

impl Visitor<'_> {
    /// Records what `visit` shows.
    fn record(fields: &mut Fields, message: Option<&mut Vec<u8>>, visit: impl FnOnce(&mut Visitor<'_>)) {
        let mut visitor = Visitor { fields, message, metadata: None };
        visit(&mut visitor);
        if let Some(metadata) = visitor.metadata {
            fields.put_known("metadata", |out| metadata.write_object(out));
        }
    }

    #[inline]
    fn put(&mut self, field: &Field, value: impl Value) {
        match &mut self.message {
            Some(message) if field.name() == "message" => {
                message.clear();
                value.write(message);
                if message.first().is_some_and(|byte| *byte != b'"') {
                    // (A message is a text, also when it is a number.)
                    message.insert(0, b'"');
                    message.push(b'"');
                }
            }
            _ => match field.name().strip_prefix(METADATA) {
                Some(name) => self.metadata.get_or_insert_default().put(name, value),
                None => self.fields.put(field.name(), value),
            },
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.put(field, String::from_utf8_lossy(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        match field.name() {
            "error" | "err" => Failure::of_dyn(value).put(self.fields),
            _ => self.put(field, format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}
