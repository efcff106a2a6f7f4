// Where code of libraries lies, and how it is called: the lists of core/src/signature/in_app.rs, by which errors are grouped. A test compares them. Pure.

/** Begins of names of Java. */
export const JAVA: readonly string[] = [
  "java.", "javax.", "jakarta.", "jdk.", "sun.", "com.sun.", "kotlin.", "kotlinx.", "scala.", "groovy.", "clojure.", "org.springframework.",
  "org.apache.", "org.hibernate.", "org.eclipse.", "org.jboss.", "org.postgresql.", "org.junit.", "org.codehaus.", "org.slf4j.", "org.gradle.",
  "io.netty.", "io.quarkus.", "io.micronaut.", "io.vertx.", "io.grpc.", "io.undertow.", "reactor.", "akka.", "com.zaxxer.", "com.fasterxml.",
  "com.google.common.", "com.mysql.", "okhttp3.",
];
/** Begins of names of .NET. */
export const DOTNET: readonly string[] = [
  "System.", "Microsoft.", "Npgsql.", "MySql.", "Newtonsoft.", "Serilog.", "Castle.", "Grpc.",
];
/** Begins of names of Go. */
export const GO: readonly string[] = [
  "runtime.", "runtime/", "testing.", "net/http.", "reflect.", "panic(",
];
/** Crates of Rust. */
export const RUST: readonly string[] = [
  "std", "core", "alloc", "test", "rust_begin_unwind", "__rust_begin_short_backtrace", "__rust_end_short_backtrace", "rust_panic",
  "rust_eh_personality", "tokio", "tokio_util", "futures", "futures_util", "futures_core", "anyhow", "eyre", "color_eyre", "hyper", "hyper_util",
  "axum", "tower", "tower_http", "actix_web", "actix_http", "rayon", "rayon_core", "tracing", "backtrace", "main", "start_thread", "clone",
  "__libc_start_main",
];
/** Parts of a path under which packages of others lie. */
export const FOREIGN_PATHS: readonly string[] = [
  "/site-packages/", "/dist-packages/", "/lib/python", "/lib64/python", "<frozen ", "node_modules/", "node:", "internal/", "/pkg/mod/",
  "/usr/local/go/", "/usr/lib/go", "/go/src/runtime/", "/vendor/", "/rustc/", "/.cargo/registry/", "/.cargo/git/", "/rustlib/src/", "/sysdeps/",
  "/nptl/", "/_work/1/s/src/System.",
];
