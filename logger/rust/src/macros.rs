//! Macros: tracing's, with the function's name in each event; scopes; places.

/// The name of the function that this stands in.
#[macro_export]
macro_rules! function {
    () => {{
        fn here() {}
        $crate::function_of(::std::any::type_name_of_val(&here))
    }};
}

/// Where this stands: file, line and function.
#[macro_export]
macro_rules! here {
    () => {
        $crate::Place { file: file!(), line: line!(), function: Some($crate::function!()) }
    };
}

/// A scope of the process's logger until the guard is dropped: `let _scope = scope!("load");`, or of a given one: `scope!(log, "load")`.
#[macro_export]
macro_rules! scope {
    ($name:literal) => {
        $crate::Scope::open(&$crate::logger(), $name, $crate::here!())
    };
    ($logger:expr, $name:literal) => {
        $crate::Scope::open(&$logger, $name, $crate::here!())
    };
}

/// `tracing::trace!` with the function's name.
#[macro_export]
macro_rules! trace {
    ($($rest:tt)+) => { $crate::tracing::event!($crate::tracing::Level::TRACE, function = $crate::function!(), $($rest)+) };
}

/// `tracing::debug!` with the function's name.
#[macro_export]
macro_rules! debug {
    ($($rest:tt)+) => { $crate::tracing::event!($crate::tracing::Level::DEBUG, function = $crate::function!(), $($rest)+) };
}

/// `tracing::info!` with the function's name.
#[macro_export]
macro_rules! info {
    ($($rest:tt)+) => { $crate::tracing::event!($crate::tracing::Level::INFO, function = $crate::function!(), $($rest)+) };
}

/// `tracing::warn!` with the function's name.
#[macro_export]
macro_rules! warn {
    ($($rest:tt)+) => { $crate::tracing::event!($crate::tracing::Level::WARN, function = $crate::function!(), $($rest)+) };
}

/// `tracing::error!` with the function's name.
#[macro_export]
macro_rules! error {
    ($($rest:tt)+) => { $crate::tracing::event!($crate::tracing::Level::ERROR, function = $crate::function!(), $($rest)+) };
}

/// The function's own name in the path of an item within it (`shop::cart::pay::{{closure}}::here`).
#[doc(hidden)]
pub fn function_of(path: &'static str) -> &'static str {
    let mut path = path.strip_suffix("::here").unwrap_or(path);
    while let Some(outer) = path.strip_suffix("::{{closure}}") {
        path = outer;
    }
    path.rsplit("::").next().unwrap_or(path)
}
