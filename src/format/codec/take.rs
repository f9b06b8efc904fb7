//! Bounds-checked reads of fixed-layout fields.

use crate::error::{Error, Result};

/// Takes the next `N` bytes off the front of `rest`.
pub(crate) fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N]> {
    let (bytes, after) = rest.split_first_chunk().ok_or(Error::Malformed)?;
    *rest = after;
    Ok(bytes)
}

/// Takes the next `length` bytes off the front of `rest`; refuses a length above `max`.
pub(crate) fn take_slice<'a>(rest: &mut &'a [u8], length: usize, max: usize) -> Result<&'a [u8]> {
    if length > max {
        return Err(Error::Malformed);
    }
    let (bytes, after) = rest.split_at_checked(length).ok_or(Error::Malformed)?;
    *rest = after;
    Ok(bytes)
}
