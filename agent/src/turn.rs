//! What one step of reading works with: the moment, the settings, where batches go, what is counted. A [`Turn`] is made for a
//! step and handed down; nobody keeps it.

use cordwood_core::rotation::ending::Graces;

use crate::clock::Clock;
use crate::config::{Batch, Config};
use crate::ship::Shipper;
use crate::telemetry::Tally;

/// Bytes that are read at once; a longer line is read in a larger piece.
pub const CHUNK_BYTES: usize = 256 << 10;

pub struct Turn<'a> {
    pub clock: Clock,
    pub settings: Settings<'a>,
    pub ship: &'a mut Shipper,
    pub tally: &'a mut Tally,
}

impl<'a> Turn<'a> {
    pub fn new(config: &'a Config, ship: &'a mut Shipper, tally: &'a mut Tally, clock: Clock) -> Turn<'a> {
        Turn { clock, settings: Settings::new(config, ship), ship, tally }
    }

    /// The same, with other pieces than [`CHUNK_BYTES`].
    pub fn in_chunks_of(mut self, chunk_bytes: usize) -> Turn<'a> {
        self.settings.chunk_bytes = chunk_bytes;
        self
    }
}

/// What reading needs to know: of the configuration, and of the sink at this moment.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    pub batch: &'a Batch,
    pub grace_ms: i64,
    /// Bytes of the largest message that is taken.
    pub message_bytes_max: usize,
    /// Bytes that are read at once; a longer line is read in a larger piece.
    pub chunk_bytes: usize,
}

impl<'a> Settings<'a> {
    fn new(config: &'a Config, ship: &Shipper) -> Settings<'a> {
        Settings {
            batch: &config.batch,
            grace_ms: config.read.rotation_grace_ms as i64,
            message_bytes_max: ship.message_bytes_max(),
            chunk_bytes: CHUNK_BYTES,
        }
    }

    /// How long nothing more is expected after what.
    pub fn graces(&self) -> Graces {
        Graces { rotation_ms: self.grace_ms, gone_ms: self.gone_grace_ms() }
    }

    /// How long a file that was removed while we hold it open is still watched for more.
    pub fn gone_grace_ms(&self) -> i64 {
        10 * self.grace_ms
    }
}
