//! Chance for looks at mirrors.

/// Chance for one look: drawn once, so that what follows from it is a plain function.
#[derive(Debug, Clone)]
pub struct Chance([u8; 8]);

impl Chance {
    /// Draws it.
    pub fn draw() -> Self {
        let mut raw = [0; 8];
        // Without chance the same packages are compared; nothing else depends on it.
        let _ = getrandom::fill(&mut raw);
        Self(raw)
    }

    /// A number, one of its own for each `nth`.
    pub fn number(&self, nth: u32) -> u64 {
        // splitmix64
        let seed = u64::from_le_bytes(self.0);
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(nth) + 1));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `count`; 0 when that is 0.
    pub fn below(&self, count: usize) -> usize {
        let count = u64::try_from(count.max(1)).unwrap_or(1);
        usize::try_from(self.number(u32::MAX) % count).unwrap_or(0)
    }

    /// Seconds until the next look, give or take a tenth.
    pub fn pause(&self, probe_secs: u64, soon: bool) -> i64 {
        let secs = if soon { probe_secs / 4 } else { probe_secs }.max(1);
        let tenth = secs / 10;
        let secs = secs - tenth + self.number(u32::MAX - 1) % (2 * tenth + 1);
        i64::try_from(secs).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_spread_out_and_a_first_failure_is_looked_at_again_soon() {
        for seed in 0..100_u64 {
            let chance = Chance(seed.wrapping_mul(0x1234_5678_9abc_def1).to_le_bytes());
            assert!((810..=990).contains(&chance.pause(900, false)));
            assert!((203..=247).contains(&chance.pause(900, true)));
            assert!(chance.below(3) < 3);
            assert_eq!(chance.pause(1, true), 1);
        }
    }
}
