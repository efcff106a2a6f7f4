//! Free ports that stay ours: below the range the kernel gives to outgoing connections, so that nobody takes a part's port
//! while it restarts, and claimed by a locked file, so that no other test takes it either.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// A port nobody else listens on, ours until dropped.
pub struct Port {
    number: u16,
    _claim: File,
}

impl Port {
    pub fn free() -> Result<Port> {
        let claims = std::env::temp_dir().join("cordwood-ports");
        fs::create_dir_all(&claims).with_context(|| format!("create {}", claims.display()))?;
        for _ in 0..1000 {
            let number = rand::random_range(PORTS);
            let claim = claims.join(number.to_string());
            let claim = File::create(&claim).with_context(|| format!("create {}", claim.display()))?;
            if flock(&claim, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).is_ok() {
                return Ok(Port { number, _claim: claim });
            }
        }
        bail!("no free port found between {} and {}", PORTS.start, PORTS.end)
    }

    pub fn number(&self) -> u16 {
        self.number
    }
}
