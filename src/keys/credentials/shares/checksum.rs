//! Checksum of a share's text: the six check values of Bech32m (BIP 350), in constant time.
//!
//! The values of a share and its check values are a codeword of a BCH code over GF(32) with minimum distance 5 up
//! to 89 values (BIP 173). So up to four wrong values are always detected, and so is a transposition of two
//! adjacent values. A single wrong value is also located. The tests check distance 5 for the length of a share by
//! comparing all errors of one and two values.

/// The number of check values.
pub(super) const LENGTH: usize = 6;
/// The maximum number of values, check values included, with distance 5.
pub(super) const VALUES_MAX: usize = 89;
/// The human-readable part of Bech32m, which binds the checksum to its purpose.
const PREFIX: &[u8] = b"chartlock-share";
/// The coefficients of the generator polynomial of Bech32, times 1, x, x², x³ and x⁴.
const GENERATOR: [u32; 5] = [
    0x3b6a_57b2,
    0x2650_8e6d,
    0x1ea1_19fa,
    0x3d42_33dd,
    0x2a14_62b3,
];
/// The remainder of every valid word.
const VALID: u32 = 0x2bc8_30a3;

/// Returns the check values for the values of a text.
pub(super) fn checksum(values: &[u8]) -> [u8; LENGTH] {
    let remainder = [0; LENGTH].into_iter().fold(remainder(values), step) ^ VALID;
    [25, 20, 15, 10, 5, 0].map(|shift| (remainder >> shift & 31) as u8)
}

/// Returns `true` if the last six values are the check values of the values before them.
pub(super) fn is_valid(values: &[u8]) -> bool {
    remainder(values) == VALID
}

/// Returns the index of the only wrong value, if the change of a single value makes the word valid.
///
/// The remainder of a wrong word depends only on the error, not on the values, so neither the result
/// nor the time reveals a value.
pub(super) fn wrong_value(values: &[u8]) -> Option<usize> {
    let error = remainder(values) ^ VALID;
    (1..32).find_map(|difference| {
        let mut remainder = difference;
        (0..values.len()).rev().find(|_| {
            let is_here = remainder == error;
            remainder = step(remainder, 0);
            is_here
        })
    })
}

fn remainder(values: &[u8]) -> u32 {
    let high = PREFIX.iter().map(|character| character >> 5);
    let low = PREFIX.iter().map(|character| character & 31);
    let values = values.iter().copied();
    high.chain([0]).chain(low).chain(values).fold(1, step)
}

/// Appends a value to the word and reduces it by the generator polynomial.
fn step(remainder: u32, value: u8) -> u32 {
    let highest = remainder >> 25;
    let appended = (remainder & 0x01ff_ffff) << 5 ^ u32::from(value);
    (0..).zip(GENERATOR).fold(appended, |sum, (bit, term)| {
        sum ^ (term & (highest >> bit & 1).wrapping_neg())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of values of a share.
    const SHARE: usize = 70;

    /// Returns the remainder of an error, which alone decides how the error changes the remainder of a word.
    fn syndrome(place: usize, difference: u32) -> u32 {
        (0..SHARE - 1 - place).fold(difference, |remainder, _| step(remainder, 0))
    }

    #[test]
    fn errors_of_up_to_two_values_have_distinct_remainders() {
        // If two of these errors had the same remainder, a word with up to four errors could be valid.
        let single: Vec<Vec<u32>> = (0..SHARE)
            .map(|place| {
                (1..32)
                    .map(|difference| syndrome(place, difference))
                    .collect()
            })
            .collect();
        let mut all = vec![0];
        all.extend(single.iter().flatten());
        for (place, first) in single.iter().enumerate() {
            for second in single.iter().skip(place + 1).flatten() {
                all.extend(first.iter().map(|first| first ^ second));
            }
        }
        let count = all.len();
        assert_eq!(count, 1 + SHARE * 31 + SHARE * (SHARE - 1) / 2 * 31 * 31);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn wrong_value_locates_every_single_error() {
        let mut word: Vec<u8> = (0..64).map(|n| (n ^ 5) % 32).collect();
        word.extend(checksum(&word));
        assert!(is_valid(&word));
        for place in 0..SHARE {
            for difference in 1..32 {
                let mut wrong = word.clone();
                wrong
                    .iter_mut()
                    .skip(place)
                    .take(1)
                    .for_each(|value| *value ^= difference);
                assert!(!is_valid(&wrong));
                assert_eq!(wrong_value(&wrong), Some(place));
            }
        }
    }
}
