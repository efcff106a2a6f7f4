//! Records as they are stored, over a WebSocket or as lines. What a stream shows next, [`engine`] decides; how far it came, [`stairs`] says
//! in the reader's cursor; [`session`] looks at the store for it; [`socket`] and [`lines`] carry its frames.

mod ask;
mod engine;
mod frame;
mod lines;
mod session;
mod socket;
mod stairs;

pub use engine::Out;
pub use lines::lines;
pub use session::After;
pub use socket::{ASK_BYTES_MAX, PROTOCOL, serve};
