//! Whether a frame is of the application's own code: not of its language's library, and not of a package that it only uses.

/// Whose form a frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Java,
    Python,
    Go,
    Rust,
    Node,
    DotNet,
}

const JAVA: [&str; 34] = [
    "java.",
    "javax.",
    "jakarta.",
    "jdk.",
    "sun.",
    "com.sun.",
    "kotlin.",
    "kotlinx.",
    "scala.",
    "groovy.",
    "clojure.",
    "org.springframework.",
    "org.apache.",
    "org.hibernate.",
    "org.eclipse.",
    "org.jboss.",
    "org.postgresql.",
    "org.junit.",
    "org.codehaus.",
    "org.slf4j.",
    "org.gradle.",
    "io.netty.",
    "io.quarkus.",
    "io.micronaut.",
    "io.vertx.",
    "io.grpc.",
    "io.undertow.",
    "reactor.",
    "akka.",
    "com.zaxxer.",
    "com.fasterxml.",
    "com.google.common.",
    "com.mysql.",
    "okhttp3.",
];
const DOTNET: [&str; 8] =
    ["System.", "Microsoft.", "Npgsql.", "MySql.", "Newtonsoft.", "Serilog.", "Castle.", "Grpc."];
const RUST: [&str; 32] = [
    "std",
    "core",
    "alloc",
    "test",
    "rust_begin_unwind",
    "__rust_begin_short_backtrace",
    "__rust_end_short_backtrace",
    "rust_panic",
    "rust_eh_personality",
    "tokio",
    "tokio_util",
    "futures",
    "futures_util",
    "futures_core",
    "anyhow",
    "eyre",
    "color_eyre",
    "hyper",
    "hyper_util",
    "axum",
    "tower",
    "tower_http",
    "actix_web",
    "actix_http",
    "rayon",
    "rayon_core",
    "tracing",
    "backtrace",
    "main",
    "start_thread",
    "clone",
    "__libc_start_main",
];
/// Parts of a path under which packages of others lie.
const FOREIGN_PATHS: [&str; 20] = [
    "/site-packages/",
    "/dist-packages/",
    "/lib/python",
    "/lib64/python",
    "<frozen ",
    "node_modules/",
    "node:",
    "internal/",
    "/pkg/mod/",
    "/usr/local/go/",
    "/usr/lib/go",
    "/go/src/runtime/",
    "/vendor/",
    "/rustc/",
    "/.cargo/registry/",
    "/.cargo/git/",
    "/rustlib/src/",
    "/sysdeps/",
    "/nptl/",
    "/_work/1/s/src/System.",
];

/// `name`: the frame's function with its module; `path`: where its source lies, if that is known.
pub fn is_in_app(language: Language, name: &str, path: &str) -> bool {
    if FOREIGN_PATHS.iter().any(|part| path.contains(part)) {
        return false;
    }
    let begins = |list: &[&str]| list.iter().any(|prefix| name.starts_with(prefix));
    match language {
        Language::Java => !begins(&JAVA),
        Language::DotNet => !begins(&DOTNET),
        Language::Rust => is_own_crate(name),
        Language::Go => {
            !(begins(&["runtime.", "runtime/", "testing.", "net/http.", "reflect.", "panic("])
                || name == "panic")
        }
        Language::Node => !path.is_empty() && path != "native" && !path.contains("<anonymous>"),
        Language::Python => !path.starts_with('<'),
    }
}

/// `<core::pin::Pin<P> as core::future::Future>::poll` is of `core`.
fn is_own_crate(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&', '*', '(', '[']);
    let name = name.trim_start_matches("mut ").trim_start_matches("dyn ");
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    let first = &name[..end];
    !first.is_empty() && !RUST.contains(&first) && !first.starts_with("_")
}
