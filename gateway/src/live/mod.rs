//! Records as they are stored, over a WebSocket or as lines. [`hub`] looks at the store for all streams; [`session`] takes from it what is
//! for one; what a stream shows next, [`engine`] decides; how far it came, [`stairs`] says in the reader's cursor; [`socket`] and [`lines`]
//! carry its frames. [`plain`] is for clients that know none of that: a task's lines, a [`monitor`].

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
mod stairs;
mod wire;

pub use engine::Out;
pub use hub::Hub;
pub use lines::lines;
pub use plain::{Plain, TaskLines, serve_plain};
pub use redis::{client as redis_client, wake as wake_by_redis};
pub use session::After;
pub use socket::{PROTOCOL, serve};
pub use wire::{ASK_BYTES_MAX, READ_BUFFER_BYTES};
