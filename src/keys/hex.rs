//! Hexadecimal encoding and decoding in constant time. No branch and no table index depends on a digit,
//! so timing reveals nothing about the secret in a key file.

/// Encodes each byte as two lower-case digits.
pub(super) fn encode(bytes: &[u8], digits: &mut [[u8; 2]]) {
    for (byte, pair) in bytes.iter().zip(digits) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
}

/// Decodes each pair of digits, of either case, to one byte. Returns `false` if a character is not a
/// digit or the lengths differ.
pub(crate) fn decode(digits: &[[u8; 2]], bytes: &mut [u8]) -> bool {
    let mut wrong = 0;
    for ([high, low], byte) in digits.iter().zip(bytes.iter_mut()) {
        let value = (nibble(*high) << 4) | nibble(*low);
        wrong |= value >> 8;
        *byte = (value & 0xff) as u8;
    }
    wrong == 0 && digits.len() == bytes.len()
}

fn digit(nibble: u8) -> u8 {
    let nibble = i16::from(nibble);
    // `letter` has all bits set for a nibble from 10 on, else none. The code of 'a' is 39 above the
    // code of the character after '9'.
    let letter = (9 - nibble) >> 8;
    (nibble + 0x30 + (letter & 39)) as u8
}

/// Returns the value of a digit, or -1.
fn nibble(digit: u8) -> i16 {
    let digit = i16::from(digit);
    let within = |first: i16, last: i16| ((first - 1 - digit) & (digit - last - 1)) >> 8;
    -1 + (within(0x30, 0x39) & (digit - 0x30 + 1))
        + (within(0x41, 0x46) & (digit - 0x41 + 11))
        + (within(0x61, 0x66) & (digit - 0x61 + 11))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encode_and_decode_of_every_byte_round_trip() {
        for byte in 0..=u8::MAX {
            let mut digits = [[0; 2]];
            encode(&[byte], &mut digits);
            assert_eq!(digits.as_flattened(), format!("{byte:02x}").as_bytes());
            let mut back = [0];
            assert!(decode(&digits, &mut back));
            digits.as_flattened_mut().make_ascii_uppercase();
            assert!(decode(&digits, &mut back));
            assert_eq!(back, [byte]);
        }
    }

    #[test]
    fn decode_of_non_digit_at_either_position_returns_false() {
        for character in (0..=u8::MAX).filter(|byte| !byte.is_ascii_hexdigit()) {
            for digits in [[character, b'0'], [b'f', character], [character; 2]] {
                assert!(!decode(&[digits], &mut [0]), "{digits:?}");
            }
        }
    }
}
