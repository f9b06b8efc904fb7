//! Common trait of the rivals' streams, and the rounds that measure them.

use std::hint::black_box;

use anyhow::{Result, ensure};

use crate::measure::{Contender, Stopwatch};

/// A rival that seals and opens content of any length.
pub(super) trait Stream {
    fn name(&self) -> String;

    fn seal(&self, content: &[u8]) -> Result<Vec<u8>>;

    /// Opens sealed bytes and passes the content to `then`, in pieces of any size.
    fn open(&self, sealed: Vec<u8>, then: &mut dyn FnMut(&[u8])) -> Result<()>;
}

pub(super) fn sealing<'a>(stream: &'a dyn Stream, content: &'a [u8]) -> Contender<'a> {
    Contender::new(stream.name(), move || {
        let start = Stopwatch::start();
        let sealed = stream.seal(black_box(content))?;
        let time = start.elapsed();
        drop(sealed);
        Ok(time)
    })
}

pub(super) fn opening<'a>(stream: &'a dyn Stream, content: &'a [u8]) -> Result<Contender<'a>> {
    let sealed = stream.seal(content)?;
    let mut same = Same::new(content);
    stream.open(sealed.clone(), &mut |piece| same.compare(piece))?;
    ensure!(same.is_all(), "{} returned other content", stream.name());
    Ok(Contender::new(stream.name(), move || {
        let sealed = sealed.clone();
        let start = Stopwatch::start();
        stream.open(sealed, &mut |piece| {
            black_box(piece);
        })?;
        Ok(start.elapsed())
    }))
}

/// Checker that compares pieces of content, in order, with the expected content.
pub(super) struct Same<'a> {
    left: &'a [u8],
    differs: bool,
}

impl<'a> Same<'a> {
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self {
            left: content,
            differs: false,
        }
    }

    pub(super) fn compare(&mut self, piece: &[u8]) {
        match self.left.strip_prefix(piece) {
            Some(left) => self.left = left,
            None => self.differs = true,
        }
    }

    pub(super) fn is_all(&self) -> bool {
        self.left.is_empty() && !self.differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checker_rejects_missing_reordered_and_extra_pieces() {
        let is_all = |pieces: &[&[u8]]| {
            let mut same = Same::new(b"abcd");
            pieces.iter().for_each(|piece| same.compare(piece));
            same.is_all()
        };
        assert!(is_all(&[b"ab", b"cd"]));
        assert!(!is_all(&[b"ab"]));
        assert!(!is_all(&[b"cd", b"ab"]));
        assert!(!is_all(&[b"abcd", b"e"]));
    }
}
