//! Symbols of a share's text: Crockford's base 32, in constant time. No branch and no table index depends
//! on a symbol.

/// The symbols of the values 0 to 31, without I, L, O and U.
const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters that readers take for a symbol, with the value of that symbol.
const LOOK_ALIKES: [(u8, u8); 4] = [(b'O', 0), (b'I', 1), (b'L', 1), (b'U', 27)];
/// The result for a character that is no symbol.
pub(super) const NO_SYMBOL: u8 = 0xff;

/// Returns the symbol of a value below 32.
pub(super) fn symbol(value: u8) -> u8 {
    (0..).zip(SYMBOLS).fold(0, |found, (number, symbol)| {
        found | (mask(number, value) & symbol)
    })
}

/// Returns the value of a symbol of either case or of a character that looks alike, or [`NO_SYMBOL`].
pub(super) fn value(character: u8) -> u8 {
    let character = character.to_ascii_uppercase();
    (SYMBOLS.iter().copied().zip(0..))
        .chain(LOOK_ALIKES)
        .fold(NO_SYMBOL, |found, (symbol, number)| {
            found ^ (mask(symbol, character) & (NO_SYMBOL ^ number))
        })
}

/// Appends bytes as values of 5 bits, the highest bits first; zeros fill the last value.
pub(super) fn pack(bytes: &[u8], values: &mut Vec<u8>) {
    let (mut window, mut bits) = (0_u16, 0);
    for byte in bytes {
        window = (window << 8) | u16::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            values.push(((window >> bits) & 31) as u8);
        }
    }
    if bits > 0 {
        values.push(((window << (5 - bits)) & 31) as u8);
    }
}

/// Fills `bytes` from the values that [`pack`] made of them. Returns `false` for another number of values,
/// or if the last value is not filled with zeros.
pub(super) fn unpack(values: &[u8], bytes: &mut [u8]) -> bool {
    let is_whole = values.len() == (bytes.len() * 8).div_ceil(5);
    let (mut window, mut bits) = (0_u16, 0);
    let mut values = values.iter();
    for byte in bytes {
        while bits < 8 {
            window = (window << 5) | u16::from(*values.next().unwrap_or(&0));
            bits += 5;
        }
        bits -= 8;
        *byte = ((window >> bits) & 0xff) as u8;
    }
    is_whole && window & ((1 << bits) - 1) == 0
}

/// Returns 0xff for equal bytes, else 0.
fn mask(left: u8, right: u8) -> u8 {
    (u16::from(left ^ right).wrapping_sub(1) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_and_value_round_trip_in_both_cases() {
        for number in 0..32 {
            let symbol = symbol(number);
            assert_eq!(value(symbol), number);
            assert_eq!(value(symbol.to_ascii_lowercase()), number);
        }
    }

    #[test]
    fn value_of_every_other_byte_is_no_symbol() {
        let symbols = SYMBOLS.iter().chain(b"OILU");
        let known: Vec<u8> = symbols
            .flat_map(|symbol| [*symbol, symbol.to_ascii_lowercase()])
            .collect();
        for byte in 0..=u8::MAX {
            assert_eq!(value(byte) != NO_SYMBOL, known.contains(&byte), "{byte}");
        }
        assert_eq!([b'o', b'I', b'l', b'U'].map(value), [0, 1, 1, value(b'V')]);
    }

    #[test]
    fn pack_and_unpack_of_any_length_round_trip() {
        let bytes: Vec<u8> = (0..32_u8).map(|n| n.wrapping_mul(73) ^ 0xa5).collect();
        for length in 0..=32 {
            let bytes = bytes.get(..length).unwrap_or_default();
            let mut values = Vec::new();
            pack(bytes, &mut values);
            assert!(values.iter().all(|value| *value < 32));
            let mut back = vec![0; length];
            assert!(unpack(&values, &mut back));
            assert_eq!(back, bytes);
            values.push(0);
            assert!(!unpack(&values, &mut back));
        }
        assert!(!unpack(&[31, 31], &mut [0]));
    }
}
