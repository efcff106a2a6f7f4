//! Schemas of enumerated words in answers, for the OpenAPI document; made from the lists that the answers use.

use cordwood_core::level::Level;
use cordwood_core::task;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! one_of {
    ($(#[doc = $about:literal] $name:ident = $words:expr;)*) => {$(
        #[doc = $about]
        #[derive(Debug)]
        pub struct $name;

        impl ToSchema for $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).description(Some($about.trim()));
                RefOr::T(text.enum_values(Some($words)).into())
            }
        }
    )*};
}

one_of! {
    /// The level of a record.
    LevelName = Level::ALL.map(Level::as_str);
    /// The level of a group of errors.
    GroupLevel = Level::ALL.into_iter().filter(|level| cordwood_core::signature::is_grouped(*level)).map(Level::as_str).collect::<Vec<_>>();
    /// The level of a line of a task.
    TaskLevel = task::LEVELS;
    /// The level of a line of a plugin.
    PluginLevel = Level::ALL.map(spelled);
    /// What kind of record it is.
    CategoryName = ["system", "audit"];
    /// Where the line was written to.
    StreamName = ["stdout", "stderr"];
    /// How a caller is known.
    KnownByName = ["loopback", "token", "kubernetes", "oidc"];
    /// Which of two levels it is.
    ScopeName = ["application", "task"];
    /// What becomes of lines whose level is unknown.
    UnleveledName = ["keep", "drop"];
    /// What may follow in an expression.
    CompletionKind = ["field", "operator", "value"];
}

/// As clients of plugins' logs spell it.
pub fn spelled(level: Level) -> &'static str {
    match level {
        Level::Trace => "Trace",
        Level::Debug => "Debug",
        Level::Info => "Info",
        Level::Warn => "Warn",
        Level::Error => "Error",
    }
}
