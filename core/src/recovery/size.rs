//! Limits the size of a transaction: halves it after each one that took too long, and raises it again when they succeed.

/// Halvings at the most: a thousandth of what the settings say.
const HALVINGS_MAX: u32 = 10;
/// Transactions in time, one after the other, after which the size is doubled again.
const IN_TIME: u32 = 16;

#[derive(Debug, Default)]
pub struct Size {
    halvings: u32,
    in_time: u32,
}

impl Size {
    pub fn took_too_long(&mut self) {
        self.halvings = (self.halvings + 1).min(HALVINGS_MAX);
        self.in_time = 0;
    }

    pub fn was_in_time(&mut self) {
        self.in_time += 1;
        if self.in_time >= IN_TIME {
            self.in_time = 0;
            self.halvings = self.halvings.saturating_sub(1);
        }
    }

    /// Of what the settings say; never 0.
    pub fn of(&self, most: usize) -> usize {
        (most >> self.halvings).max(1)
    }

    pub fn is_whole(&self) -> bool {
        self.halvings == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halved_after_each_that_took_too_long_and_whole_again_later() {
        let mut size = Size::default();
        assert_eq!(size.of(20_000), 20_000);
        size.took_too_long();
        size.took_too_long();
        assert_eq!((size.of(20_000), size.is_whole()), (5_000, false));
        for _ in 0..IN_TIME {
            size.was_in_time();
        }
        assert_eq!(size.of(20_000), 10_000);
        for _ in 0..IN_TIME - 1 {
            size.was_in_time();
        }
        size.took_too_long();
        assert_eq!(size.of(20_000), 5_000, "one that took too long counts at once");
        for _ in 0..100 {
            size.took_too_long();
        }
        assert_eq!((size.of(20_000), size.of(3)), (19, 1));
    }
}
