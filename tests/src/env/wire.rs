//! PostgreSQL's messages as they travel: enough to know where one ends and which statement it is about.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// More than any message of a test.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

/// A message after the startup: one byte that says what it is, its length, its content.
pub struct Message(Vec<u8>);

impl Message {
    /// `None`: the other side closed the connection.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Message>> {
        let mut head = [0; 5];
        match from.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = length([head[1], head[2], head[3], head[4]])?;
        let mut bytes = vec![0; 1 + length];
        bytes[..5].copy_from_slice(&head);
        from.read_exact(&mut bytes[5..]).await?;
        Ok(Some(Message(bytes)))
    }

    pub fn new(tag: u8, content: &[u8]) -> Message {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&(content.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(content);
        Message(bytes)
    }

    pub fn tag(&self) -> u8 {
        self.0[0]
    }

    pub fn content(&self) -> &[u8] {
        &self.0[5..]
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The texts that its content begins with, each ended by NUL.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.content().split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// The first packet of a session. Encryption is refused, as by a server that has none.
pub async fn startup(client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Vec<u8>> {
    loop {
        let mut head = [0; 4];
        client.read_exact(&mut head).await?;
        let mut packet = head.to_vec();
        packet.resize(length(head)?, 0);
        client.read_exact(&mut packet[4..]).await?;
        match packet.get(4..8).map(|code| u32::from_be_bytes([code[0], code[1], code[2], code[3]])) {
            Some(SSL_REQUEST | GSS_REQUEST) => client.write_all(b"N").await?,
            _ => return Ok(packet),
        }
    }
}

fn length(bytes: [u8; 4]) -> Result<usize> {
    let length = u32::from_be_bytes(bytes) as usize;
    if (4..=MESSAGE_BYTES_MAX).contains(&length) {
        return Ok(length);
    }
    Err(Error::new(ErrorKind::InvalidData, format!("a message of {length} bytes")))
}
