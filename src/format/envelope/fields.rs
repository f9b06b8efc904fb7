//! Reader of fixed-layout fields from untrusted bytes.

use crate::error::{Error, Result};

/// A reader of the remaining bytes. A read past the end returns [`Error::Malformed`].
pub(super) struct FieldReader<'a>(&'a [u8]);

impl<'a> FieldReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array().map(|&[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().copied().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().copied().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().copied().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64> {
        self.array().copied().map(i64::from_le_bytes)
    }

    pub(super) fn text(&mut self, length: usize) -> Result<&'a str> {
        str::from_utf8(self.bytes(length)?).map_err(|_| Error::Malformed)
    }

    pub(super) fn end(self) -> Result<()> {
        self.0.is_empty().then_some(()).ok_or(Error::Malformed)
    }
}
