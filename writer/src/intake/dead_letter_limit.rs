//! Limits what is kept of dead letters: a producer that never writes OTLP must not fill the database. Dead letters above the
//! limit are counted in the row of one that is kept.

use bytes::Bytes;
use cordwood_core::limits::{
    DEAD_LETTER_BYTES_PER_MINUTE_MAX, DEAD_LETTER_HEAD_BYTES, DEAD_LETTERS_PER_MINUTE_MAX,
};
use cordwood_store::commit::DeadLetter;

use super::shared::MINUTE_US;

/// What was kept in the current minute.
#[derive(Debug, Default)]
pub struct DeadLetterLimit {
    /// The minute of PostgreSQL's clock, counted from the Unix epoch.
    minute: i64,
    rows: usize,
    bytes: usize,
}

impl DeadLetterLimit {
    /// Adds the dead letter to the rows of its transaction: whole, with only its beginning, or counted in another row.
    pub fn add(&mut self, letter: DeadLetter, now_us: i64, rows: &mut Vec<DeadLetter>) {
        let minute = now_us.div_euclid(MINUTE_US);
        if self.minute != minute {
            *self = DeadLetterLimit { minute, ..DeadLetterLimit::default() };
        }
        let partition = letter.topic_partition;
        if self.rows >= DEAD_LETTERS_PER_MINUTE_MAX
            && let Some(row) = rows.iter_mut().rev().find(|row| row.topic_partition == partition)
        {
            row.messages += letter.messages;
            return;
        }
        let room = DEAD_LETTER_BYTES_PER_MINUTE_MAX.saturating_sub(self.bytes);
        let payload = if letter.payload.len() <= room {
            letter.payload
        } else {
            Bytes::copy_from_slice(&letter.payload[..letter.payload.len().min(DEAD_LETTER_HEAD_BYTES)])
        };
        self.rows += 1;
        self.bytes += payload.len();
        rows.push(DeadLetter { payload, ..letter });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_them_is_counted_and_not_kept() {
        let mut limit = DeadLetterLimit::default();
        let mut rows = Vec::new();
        let payload = Bytes::from(vec![b'{'; 1 << 20]);
        let letter = |kafka_offset| DeadLetter {
            topic_partition: 1,
            kafka_offset,
            reason: "no OTLP".to_owned(),
            payload: payload.clone(),
            bytes: 1 << 20,
            messages: 1,
        };
        for offset in 0..5_000 {
            limit.add(letter(offset), 1_000, &mut rows);
        }
        assert_eq!(rows.len(), DEAD_LETTERS_PER_MINUTE_MAX);
        assert_eq!(rows.iter().map(|row| row.messages).sum::<u64>(), 5_000, "each is counted");
        let kept: usize = rows.iter().map(|row| row.payload.len()).sum();
        assert!(
            kept <= DEAD_LETTER_BYTES_PER_MINUTE_MAX + DEAD_LETTERS_PER_MINUTE_MAX * DEAD_LETTER_HEAD_BYTES
        );
        assert_eq!((rows[0].payload.len(), rows[99].payload.len()), (1 << 20, DEAD_LETTER_HEAD_BYTES));
        limit.add(letter(5_000), 60_000_000, &mut rows);
        assert_eq!(rows.last().map(|row| row.payload.len()), Some(1 << 20), "the next minute");
        // A transaction of its own has a row in any case.
        let mut rows = Vec::new();
        for offset in 0..200 {
            limit.add(letter(offset), 60_000_000, &mut rows);
        }
        assert!(!rows.is_empty());
    }
}
