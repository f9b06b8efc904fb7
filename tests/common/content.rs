//! Record contents, derived from a record's name and a seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// The names of a patient's records. The four names of [`batch`] are always written together.
pub(crate) const NAMES: [&str; 9] = ["a", "b", "c", "large", "m0", "m1", "m2", "m3", "huge"];

/// The name of a record that is put and expunged repeatedly.
pub(crate) const MISFILED: &str = "misfiled";

/// Returns the names of the records that one call writes together.
pub(crate) fn batch() -> &'static [&'static str] {
    &NAMES[4..8]
}

/// Returns content that fits into the record itself, into one segment, or into several segments.
pub(crate) fn content(seed: u64, name: &str) -> Vec<u8> {
    let mut random = Random(seed);
    let length = match name {
        // Make some contents longer than the part that an upload sends in one commit.
        "huge" if random.below(4) == 0 => (9 << 20) + random.below(2 << 20),
        "huge" => (1 << 20) + random.below(3 << 20),
        "large" => 65_537 + random.below(200_000),
        _ => random.below(3_000),
    };
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

/// Reads the environment variable `CHARTLOCK_SEED`, with which a campaign can be repeated.
pub(crate) fn seed() -> Option<u64> {
    let seed = std::env::var("CHARTLOCK_SEED").ok()?;
    Some(seed.parse().unwrap())
}

/// The SplitMix64 generator; the tests need no cryptographic randomness.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Creates a generator from the seed in [`seed`], or else from the clock, and prints the seed.
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = seed().unwrap_or(since.as_nanos() as u64);
        println!("CHARTLOCK_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
