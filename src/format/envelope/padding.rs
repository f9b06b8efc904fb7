//! The padding rule for record bodies and content streams. Padding leaves fewer distinct lengths,
//! so that stored sizes reveal less about the content.

/// Length in bytes below which bodies are padded to a multiple of 64; longer bodies are padded to
/// their Padmé length.
const SMALL: usize = 2048;

/// Returns the padded length of a record body of `length` bytes.
pub fn padded(length: usize) -> usize {
    if length < SMALL {
        length.next_multiple_of(64)
    } else {
        // A body is at most slightly longer than 1 MiB, so the cast to `usize` loses no bits.
        padme(length as u64) as usize
    }
}

/// Returns the Padmé length (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
/// Communication with PURBs", PoPETs 2019, algorithm 1).
///
/// The result is at most 12 % greater than `length`, and leaks O(log log length) bits. A length too
/// close to 2^64 to be rounded up is returned unchanged.
pub fn padme(length: u64) -> u64 {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let kept_bits = exponent.checked_ilog2().unwrap_or(0) + 1;
    let mask = (1_u64 << exponent.saturating_sub(kept_bits)) - 1;
    length.checked_add(mask).map_or(length, |sum| sum & !mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padme_of_known_lengths_matches_the_paper() {
        for (length, expected) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (8, 8),
            (9, 10),
            (100, 104),
            (1000, 1024),
            (1_000_000, 1_015_808),
        ] {
            assert_eq!(padme(length), expected, "of {length}");
        }
        assert_eq!(padme(u64::MAX), u64::MAX);
    }

    #[test]
    fn padding_of_long_bodies_adds_at_most_12_percent() {
        for length in (2048..3_000_000).step_by(97) {
            let padded = padded(length);
            assert!(padded >= length && (padded - length) * 100 <= length * 12);
        }
        assert_eq!(
            (padded(0), padded(1), padded(64), padded(2047)),
            (0, 64, 64, 2048)
        );
    }
}
