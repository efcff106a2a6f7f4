//! Streams records as they are stored, over a WebSocket or as lines of JSON.
//!
//! [`hub`] looks at the store for all streams. [`session`] takes from it what one stream may show. [`engine`] decides what the stream shows
//! next, and [`stream_cursor`] says which records it has shown. [`socket`] and [`lines`] send the frames. [`plain`] and [`monitor`] are for
//! clients that know neither credit nor cursors.

mod ask;
mod engine;
mod frame;
mod hub;
mod lines;
mod monitor;
mod order;
mod plain;
mod redis;
mod session;
mod socket;
mod stream_cursor;
mod wire;

pub use engine::Out;
pub use hub::Hub;
pub use lines::lines;
pub use plain::{Plain, TaskLines, serve_plain};
pub use redis::{client as redis_client, wake as wake_by_redis};
pub use session::After;
pub use socket::{PROTOCOL, serve};
pub use wire::{ASK_BYTES_MAX, READ_BUFFER_BYTES};

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what somebody waits for who calls this.
    fn bytes<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// Thousands are open, and each is as large as the largest of what it may ever wait for.
    #[test]
    fn a_stream_at_rest_is_small() {
        let serve_task = |socket, gateway, caller, slot| async move {
            let task = TaskLines { task_id: String::new(), namespace: None, wanted: Default::default() };
            serve_plain(socket, gateway, caller, slot, Plain::Task(task)).await;
        };
        for (name, bytes) in [("websocket", bytes(serve)), ("plain", bytes(serve_task))] {
            assert!(bytes <= 12 << 10, "{name}: {bytes} bytes");
        }
    }
}
