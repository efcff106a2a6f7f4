//! How Kafka's client compresses with zstd: with one context per thread that is used again, and with parameters for lines of logs.
//!
//! The client (librdkafka) makes a context of more than a megabyte for each request, and has no setting for more than the level. `build.rs`
//! therefore links these three functions in the place of zstd's own where the client calls them (`--wrap`). What they write is zstd's
//! ordinary format, which every consumer and broker reads. A program that is linked without them compresses as the client does by itself.

#![allow(unsafe_code, reason = "functions of C, called by C")]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

use zstd::zstd_safe::zstd_sys::{
    ZSTD_CCtx, ZSTD_CCtx_reset, ZSTD_CCtx_setParameter, ZSTD_ResetDirective, ZSTD_cParameter,
    ZSTD_createCCtx, ZSTD_freeCCtx, ZSTD_isError,
};

/// 1 MiB, as much as the client packs together: the context's buffer does not come round within a request, behind which zstd would go
/// on in its slower way for a window of two parts.
const WINDOW_LOG: c_int = 20;
/// Entries of the table of matches, which then stays in the processor's first cache. Lines of logs repeat what stood shortly before.
const HASH_LOG: c_int = 13;
/// Bytes of the shortest match that is looked for.
const MATCH_BYTES_MIN: c_int = 6;
/// The level that these parameters are for; others are as zstd has them.
const LEVEL: c_int = 1;

thread_local! {
    static SPARE: Spare = const { Spare(Cell::new(None)) };
}

/// The context that the thread used last.
struct Spare(Cell<Option<NonNull<ZSTD_CCtx>>>);

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(context) = self.0.take() {
            // SAFETY: made by `ZSTD_createCCtx`, and nobody uses what is spare.
            unsafe { ZSTD_freeCCtx(context.as_ptr()) };
        }
    }
}

/// `ZSTD_createCStream`: a context, or NULL where there is no memory for it.
#[unsafe(no_mangle)]
extern "C" fn __wrap_ZSTD_createCStream() -> *mut c_void {
    let spare = SPARE.try_with(|spare| spare.0.take()).ok().flatten();
    // SAFETY: it takes nothing; a CStream is a CCtx.
    spare.map_or_else(|| unsafe { ZSTD_createCCtx() }, NonNull::as_ptr).cast()
}

/// `ZSTD_initCStream`: a frame of its own begins. Gives zstd's error code, or none.
///
/// # Safety
/// `context` is one that [`__wrap_ZSTD_createCStream`] gave.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_ZSTD_initCStream(context: *mut c_void, level: c_int) -> usize {
    let context: *mut ZSTD_CCtx = context.cast();
    let of_lines: &[(ZSTD_cParameter, c_int)] = &[
        (ZSTD_cParameter::ZSTD_c_windowLog, WINDOW_LOG),
        (ZSTD_cParameter::ZSTD_c_hashLog, HASH_LOG),
        (ZSTD_cParameter::ZSTD_c_minMatch, MATCH_BYTES_MIN),
    ];
    let of_lines = if level == LEVEL { of_lines } else { &[] };
    let parameters = [(ZSTD_cParameter::ZSTD_c_compressionLevel, level)];
    // SAFETY: the context is alive and this thread's alone.
    unsafe {
        let mut code = ZSTD_CCtx_reset(context, ZSTD_ResetDirective::ZSTD_reset_session_and_parameters);
        for (parameter, value) in parameters.iter().chain(of_lines) {
            if ZSTD_isError(code) == 0 {
                code = ZSTD_CCtx_setParameter(context, *parameter, *value);
            }
        }
        code
    }
}

/// `ZSTD_freeCStream`: the thread's next request takes it.
///
/// # Safety
/// `context` is NULL or one that [`__wrap_ZSTD_createCStream`] gave, which nobody uses any more.
// SAFETY: nothing else has this name; the linker puts it where the client calls zstd's function of the same type.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_ZSTD_freeCStream(context: *mut c_void) -> usize {
    let Some(context) = NonNull::new(context.cast()) else { return 0 };
    let before = SPARE.try_with(|spare| spare.0.replace(Some(context))).unwrap_or(Some(context));
    // SAFETY: made by `ZSTD_createCCtx`, and out of use.
    before.map_or(0, |before| unsafe { ZSTD_freeCCtx(before.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use zstd::zstd_safe::zstd_sys::{ZSTD_compressStream, ZSTD_endStream, ZSTD_inBuffer, ZSTD_outBuffer};

    use super::*;

    /// As the client does it (`rd_kafka_zstd_compress`).
    fn compress(level: c_int, parts: &[&[u8]]) -> (Vec<u8>, *mut c_void) {
        let mut out = vec![0; zstd::zstd_safe::compress_bound(parts.concat().len())];
        let mut to = ZSTD_outBuffer { dst: out.as_mut_ptr().cast(), size: out.len(), pos: 0 };
        // SAFETY: the context lives until it is given back, the buffers longer.
        let context = unsafe {
            let context = __wrap_ZSTD_createCStream();
            assert_eq!(ZSTD_isError(__wrap_ZSTD_initCStream(context, level)), 0);
            for part in parts {
                let mut from = ZSTD_inBuffer { src: part.as_ptr().cast(), size: part.len(), pos: 0 };
                assert_eq!(ZSTD_isError(ZSTD_compressStream(context.cast(), &mut to, &mut from)), 0);
                assert_eq!(from.pos, part.len());
            }
            assert_eq!(ZSTD_endStream(context.cast(), &mut to), 0);
            assert_eq!(__wrap_ZSTD_freeCStream(context), 0);
            context
        };
        let len = to.pos;
        out.truncate(len);
        (out, context)
    }

    #[test]
    fn each_request_is_a_frame_of_its_own_and_the_context_is_used_again() {
        let line = |n: usize| {
            format!("{{\"level\":\"info\",\"msg\":\"order {n} placed\",\"id\":\"{:x}\"}}", n * 0x9e37_79b9)
        };
        let lines: String = (0..40_000).map(line).collect();
        let mut contexts = Vec::new();
        for level in [1, 3, 1] {
            for parts in [&[][..], &[&b"x"[..]], &[lines.as_bytes(), &lines.as_bytes()[..700_000], b"end"]] {
                let (packed, context) = compress(level, parts);
                let whole = parts.concat();
                assert_eq!(zstd::bulk::decompress(&packed, whole.len().max(1)).unwrap(), whole, "{level}");
                contexts.push(context);
            }
        }
        assert!(contexts.iter().all(|context| *context == contexts[0]));
        // Two at once, and one that is none.
        let (first, second) = (__wrap_ZSTD_createCStream(), __wrap_ZSTD_createCStream());
        assert_ne!(first, second);
        // SAFETY: each is given back once.
        unsafe {
            assert_eq!(__wrap_ZSTD_freeCStream(first), 0);
            assert_eq!(__wrap_ZSTD_freeCStream(second), 0);
            assert_eq!(__wrap_ZSTD_freeCStream(std::ptr::null_mut()), 0);
        }
    }
}
