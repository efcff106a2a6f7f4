//! Amounts of what a step drops or a hold keeps: table partitions with records, their bytes, and their records if all are counted.

/// Of table partitions with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    pub partitions: u32,
    /// In PostgreSQL, indexes included.
    pub bytes: i64,
    /// `None`: not all of them are counted.
    pub records: Option<i64>,
}

impl Default for Amount {
    /// Nothing, and that is known.
    fn default() -> Amount {
        Amount { partitions: 0, bytes: 0, records: Some(0) }
    }
}

impl Amount {
    /// One more table partition.
    pub fn add(&mut self, bytes: i64, records: Option<i64>) {
        self.partitions = self.partitions.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        self.records = self.records.zip(records).map(|(sum, more)| sum.saturating_add(more));
    }
}
