//! Reader of choices from the front of an input. Missing bytes read as zeros.

pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Returns the next byte, or `None` at the end of the input.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// Reads a little-endian number of up to eight bytes, whose length is in the byte before the
    /// number.
    pub fn number(&mut self) -> u64 {
        let count = usize::from(self.byte()).min(8);
        (0..count).fold(0, |number, place| {
            number | u64::from(self.byte()) << (8 * place)
        })
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
