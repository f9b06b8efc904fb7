//! Choices, taken off the front of an input. When it is used up, they are zeros.

pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// A byte, if there is one left.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// A number of up to eight bytes, little-endian; the first byte says how many.
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
