//! Sections of a block, compressed where that helps, and back.

use std::cell::RefCell;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::BlockError;

/// How a section is packed.
pub(super) const STORED: u8 = 0;
pub(super) const ZSTD: u8 = 1;
/// Sections up to this long are stored as they are: compressing them costs more than it saves.
const STORED_BYTES_MAX: usize = 384;

/// Logs repeat whole phrases: at the level of sealed blocks zstd looks for longer matches than it would (6 bytes and not 5) at half
/// as many places, which packs as well and is a sixth faster.
const ROWS_LEVEL: i32 = 5;
const ROWS_MATCH_BYTES_MIN: u32 = 6;
const ROWS_SEARCH_LOG: u32 = 4;
const ROWS_HASH_LOG: u32 = 17;

/// What is packed: that decides where zstd looks for matches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Any,
    /// Bodies one after the other.
    Rows,
}

/// One compressor a thread, however many builders there are: its tables stay in the processor's cache.
struct Compressor {
    zstd: zstd::bulk::Compressor<'static>,
    level: i32,
    kind: Kind,
}

thread_local! {
    static COMPRESSOR: RefCell<Compressor> =
        RefCell::new(Compressor { zstd: zstd::bulk::Compressor::default(), level: 0, kind: Kind::Any });
}

/// Appends `section` to `packed`, compressed if that helps; answers how.
pub(super) fn pack(level: i32, section: &[u8], packed: &mut Vec<u8>) -> u8 {
    pack_as(Kind::Any, level, section, packed)
}

/// [`pack`] for sections that hold whole bodies.
pub(super) fn pack_rows(level: i32, section: &[u8], packed: &mut Vec<u8>) -> u8 {
    let kind = if level == ROWS_LEVEL { Kind::Rows } else { Kind::Any };
    pack_as(kind, level, section, packed)
}

fn pack_as(kind: Kind, level: i32, section: &[u8], packed: &mut Vec<u8>) -> u8 {
    let start = packed.len();
    if section.len() > STORED_BYTES_MAX {
        packed.reserve(zstd::zstd_safe::compress_bound(section.len()));
        let mut tail = std::io::Cursor::new(std::mem::take(packed));
        tail.set_position(start as u64);
        let result =
            COMPRESSOR.with_borrow_mut(|compressor| compressor.pack(kind, level, section, &mut tail));
        *packed = tail.into_inner();
        if result.is_ok_and(|len| len < section.len()) {
            return ZSTD;
        }
        packed.truncate(start);
    }
    packed.extend_from_slice(section);
    STORED
}

impl Compressor {
    fn pack(
        &mut self,
        kind: Kind,
        level: i32,
        section: &[u8],
        to: &mut std::io::Cursor<Vec<u8>>,
    ) -> std::io::Result<usize> {
        if (self.level, self.kind) != (level, kind) {
            self.zstd.set_compression_level(level)?;
            // 0: as the level says.
            let [match_min, search_log, hash_log] = match kind {
                Kind::Any => [0; 3],
                Kind::Rows => [ROWS_MATCH_BYTES_MIN, ROWS_SEARCH_LOG, ROWS_HASH_LOG],
            };
            self.zstd.set_parameter(CParameter::MinMatch(match_min))?;
            self.zstd.set_parameter(CParameter::SearchLog(search_log))?;
            self.zstd.set_parameter(CParameter::HashLog(hash_log))?;
            (self.level, self.kind) = (level, kind);
        }
        self.zstd.compress_to_buffer(section, to)
    }
}

/// Among numbers a short match is chance, and takes more bits than the symbols in its place: only matches of so many bytes are taken.
const PARTS_LEVEL: i32 = 1;
const PARTS_MATCH_BYTES_MIN: u32 = 7;

/// Packs a section into one zstd frame in which each part is a block with a table of symbols of its own. `ends`: where each part ends; the last
/// end is that of the section. `None`: the frame is not shorter than the section.
pub(super) fn pack_parts(section: &[u8], ends: &[usize]) -> Option<Vec<u8>> {
    thread_local! {
        static CONTEXT: RefCell<Option<CCtx<'static>>> = const { RefCell::new(None) };
    }
    debug_assert_eq!(ends.last(), Some(&section.len()));
    let mut packed = Vec::with_capacity(section.len());
    CONTEXT.with_borrow_mut(|context| {
        if context.is_none() {
            let mut new = CCtx::try_create()?;
            new.set_parameter(CParameter::CompressionLevel(PARTS_LEVEL)).ok()?;
            new.set_parameter(CParameter::MinMatch(PARTS_MATCH_BYTES_MIN)).ok()?;
            *context = Some(new);
        }
        let context = context.as_mut()?;
        context.reset(ResetDirective::SessionOnly).ok()?;
        context.set_pledged_src_size(Some(section.len() as u64)).ok()?;
        let mut out = OutBuffer::around(&mut packed);
        let mut from = 0;
        for (number, &end) in ends.iter().enumerate() {
            let is_last = number + 1 == ends.len();
            let directive =
                if is_last { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_flush };
            let left =
                context.compress_stream2(&mut out, &mut InBuffer::around(&section[from..end]), directive);
            // The room is as large as the section. Where zstd needs more, the frame is not shorter.
            if left != Ok(0) {
                return None;
            }
            from = end;
        }
        Some(())
    })?;
    (packed.len() < section.len()).then_some(packed)
}

/// Never allocates more than `unpacked_bytes`, which a header says and a limit bounds.
pub(super) fn unpack_zstd(
    what: &'static str,
    packed: &[u8],
    unpacked_bytes: usize,
) -> Result<Vec<u8>, BlockError> {
    thread_local! {
        static DECOMPRESSOR: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
    }
    let mut unpacked = Vec::with_capacity(unpacked_bytes);
    let result = DECOMPRESSOR.with_borrow_mut(|d| d.decompress_to_buffer(packed, &mut unpacked));
    match result {
        Ok(len) if len == unpacked_bytes => Ok(unpacked),
        Ok(_) => Err(BlockError::Short(what)),
        Err(error) => Err(BlockError::Unpack { what, reason: error.to_string() }),
    }
}
