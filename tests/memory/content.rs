//! Content derived from a seed: the parent searches for the bytes that the child must wipe.

use std::io::Read;

use zeroize::Zeroizing;

/// Label and length in bytes of each content that the child puts and reads. The label lists the
/// operations that handle the content.
pub(crate) const CONTENTS: [(&str, usize); 8] = [
    ("put, get", 300),
    ("put again, get_version", 60_000),
    ("put_many", 2_000),
    ("put_many, large", 200_000),
    ("put, get, large", 1_300_000),
    ("put_reader, read in order", 5_000_000),
    ("writer, read_at", 2_500_000),
    ("re-encrypted", 3_000),
];
/// Label and length of the content in JSON, which consists of hexadecimal digits.
pub(crate) const JSON: (&str, usize) = ("put_json, get_json", 400);
/// Label and length in bytes of the content that the child copies and does not wipe.
pub(crate) const LEAKED: (&str, usize) = ("copied by the app", 300);

/// A stream of pseudorandom bytes (SplitMix64), determined by a seed and a label.
pub(crate) struct Bytes(u64);

impl Bytes {
    pub(crate) fn new(seed: u64, what: &str) -> Self {
        let start = what.bytes().fold(seed, |state, byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        Self(start)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for place in out.chunks_mut(8) {
            place.copy_from_slice(&self.next().to_le_bytes()[..place.len()]);
        }
    }
}

/// Returns the content of a label as bytes.
pub(crate) fn content(seed: u64, (what, length): (&str, usize)) -> Zeroizing<Vec<u8>> {
    let mut content = Zeroizing::new(vec![0; length]);
    Bytes::new(seed, what).fill(&mut content);
    content
}

/// Returns the content of a label as hexadecimal digits, for a passphrase or for text in JSON.
pub(crate) fn digits(seed: u64, (what, length): (&str, usize)) -> Zeroizing<Vec<u8>> {
    let mut digits = content(seed, (what, length));
    for digit in digits.iter_mut() {
        *digit = b"0123456789abcdef"[usize::from(*digit & 15)];
    }
    digits
}

/// Reader that generates content directly in the caller's buffer, so that the reader keeps no copy.
pub(crate) struct Device {
    bytes: Bytes,
    left: usize,
}

impl Device {
    pub(crate) fn new(seed: u64, (what, length): (&str, usize)) -> Self {
        Self {
            bytes: Bytes::new(seed, what),
            left: length,
        }
    }
}

impl Read for Device {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        // Return whole words of eight bytes, because the content must not depend on the size of the
        // reads.
        let length = match out.len().min(self.left) {
            few @ 0..8 => few,
            many => many - many % 8,
        };
        self.bytes.fill(&mut out[..length]);
        self.left -= length;
        Ok(length)
    }
}
