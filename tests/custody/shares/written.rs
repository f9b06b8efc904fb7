//! Second writer of the text form of shares, written from format.md. It shares no code with the crate.

const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The fields of a share, also those that no release writes.
#[derive(Clone, Copy)]
pub struct Written {
    pub version: u8,
    pub threshold: u8,
    pub count: u8,
    pub index: u8,
    pub id: [u8; 5],
    pub bytes: [u8; 32],
    /// The last four bits of the bytes' symbols, which are zero.
    pub padding: u8,
}

impl Default for Written {
    fn default() -> Self {
        Self {
            version: 1,
            threshold: 2,
            count: 3,
            index: 1,
            id: [0xc4, 0xa7, 0x10, 0x0c, 0x5e],
            bytes: std::array::from_fn(|n| n as u8),
            padding: 0,
        }
    }
}

impl Written {
    /// Returns the characters of the share, with right check characters.
    pub fn code(&self) -> String {
        let head = [self.version, self.threshold, self.count, self.index];
        let mut values = [&head[..], &bits(&self.id), &bits(&self.bytes)].concat();
        *values.last_mut().unwrap() |= self.padding;
        with_check(values)
    }
}

/// Appends the check values, and returns the symbols.
pub fn with_check(mut values: Vec<u8>) -> String {
    let prefix = "chartlock-share".bytes();
    let mut word: Vec<u8> = prefix.clone().map(|byte| byte >> 5).collect();
    word.push(0);
    word.extend(prefix.map(|byte| byte & 31));
    word.extend(&values);
    word.extend([0; 6]);
    let check = polymod(&word) ^ 0x2bc8_30a3;
    values.extend((0..6).map(|n| (check >> (5 * (5 - n)) & 31) as u8));
    let symbols = values.iter().map(|value| SYMBOLS[usize::from(*value)]);
    symbols.map(char::from).collect()
}

/// The function of the reference implementation of BIP 173.
fn polymod(values: &[u8]) -> u32 {
    let generator = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let mut sum = 1_u32;
    for value in values {
        let top = sum >> 25;
        sum = ((sum & 0x01ff_ffff) << 5) ^ u32::from(*value);
        for (bit, term) in generator.iter().enumerate() {
            if (top >> bit) & 1 == 1 {
                sum ^= term;
            }
        }
    }
    sum
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let values = bits.chunks(5).map(|chunk| {
        let value = chunk.iter().fold(0, |value, bit| value << 1 | bit);
        value << (5 - chunk.len())
    });
    values.collect()
}
