//! Where pages stand in storage: `j` writer16 sequence-u64, big-endian.

use crate::journal::page::PageId;

/// What the keys of all pages begin with.
pub const PAGES: &[u8] = b"j";

/// A writer's id: the time at which it began (48 bits of milliseconds since 1970, big-endian) and 10
/// random bytes. So chains stand in the order in which they began.
pub type WriterId = [u8; 16];

/// What the keys of all pages of a writer begin with: 17 bytes.
pub fn chain(writer: &WriterId) -> Vec<u8> {
    [PAGES, writer].concat()
}

/// Where a page stands.
pub(super) fn page(id: &PageId) -> Vec<u8> {
    [PAGES, &id.writer[..], &id.sequence.to_be_bytes()].concat()
}

/// The page that stands under a key.
pub fn page_of(key: &[u8]) -> Option<PageId> {
    let (writer, sequence) = key.strip_prefix(PAGES)?.split_first_chunk()?;
    Some(PageId {
        writer: *writer,
        sequence: u64::from_be_bytes(sequence.try_into().ok()?),
    })
}

/// A key behind all pages of a writer, but before any other's.
pub(super) fn behind(writer: &WriterId) -> Vec<u8> {
    [&chain(writer)[..], &[u8::MAX; 9]].concat()
}
