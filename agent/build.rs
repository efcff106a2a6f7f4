//! Puts `src/compression.rs` in the place of zstd's own functions where Kafka's client calls them, in `cordwood-agent` alone.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The linkers of Linux know `--wrap`; elsewhere the client makes a context for each request, as it does by itself.
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        for name in ["ZSTD_createCStream", "ZSTD_initCStream", "ZSTD_freeCStream"] {
            println!("cargo::rustc-link-arg-bins=-Wl,--wrap={name}");
        }
    }
}
