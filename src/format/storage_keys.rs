//! Storage keys: the key under which each object is stored.

use crate::crypto::{ChartId, PatientTag, RecordTag, StreamId};
use crate::format::envelope::Address;

/// The vault header.
pub(crate) const HEADER: &[u8] = b"v";
/// The prefix of patient entries.
pub(crate) const ENTRIES: &[u8] = b"p";

/// The classes of objects that hang on a chart, in the order in which an erasure removes them.
pub(crate) const CHART_CLASSES: [u8; 4] = *b"wsrh";

/// `p` ptag16
pub(crate) fn entry(tag: &PatientTag) -> Vec<u8> {
    [ENTRIES, tag].concat()
}

/// The ptag of an entry's key.
pub(crate) fn entry_tag(key: &[u8]) -> Option<PatientTag> {
    key.strip_prefix(ENTRIES)?.try_into().ok()
}

/// A class and a chart: 17 bytes.
pub(crate) fn chart(class: u8, chart: &ChartId) -> Vec<u8> {
    [&[class], &chart[..]].concat()
}

/// `r` chart16 rtag16
pub(crate) fn current(address: &Address) -> Vec<u8> {
    [b"r", &address.chart[..], &address.record].concat()
}

/// `h` chart16 rtag16: what all earlier versions of a record begin with.
pub(crate) fn earlier_versions(address: &Address) -> Vec<u8> {
    [b"h", &address.chart[..], &address.record].concat()
}

/// `h` chart16 rtag16 version-u64, big-endian, so that versions come in order.
pub(crate) fn earlier(address: &Address, version: u64) -> Vec<u8> {
    [&earlier_versions(address)[..], &version.to_be_bytes()].concat()
}

/// The record tag and, for an earlier version, the version in the key of a record.
pub(crate) fn record_of(key: &[u8]) -> Option<(RecordTag, Option<u64>)> {
    let (_, key) = key.split_at_checked(17)?;
    let (tag, version) = key.split_first_chunk()?;
    match version {
        [] => Some((*tag, None)),
        version => Some((*tag, Some(u64::from_be_bytes(version.try_into().ok()?)))),
    }
}

/// `s` chart16 stream16: what all segments of a stream begin with.
pub(crate) fn segments(chart: &ChartId, stream: &StreamId) -> Vec<u8> {
    [b"s", &chart[..], stream].concat()
}

/// `s` chart16 stream16 index-u32
pub(crate) fn segment(chart: &ChartId, stream: &StreamId, index: u32) -> Vec<u8> {
    [&segments(chart, stream)[..], &index.to_be_bytes()].concat()
}

/// The chart in the key of an object that hangs on one.
pub(crate) fn chart_of(key: &[u8]) -> Option<ChartId> {
    key.get(1..)?.first_chunk().copied()
}

/// The stream in the key of a segment or an intent.
pub(crate) fn stream_of(key: &[u8]) -> Option<StreamId> {
    key.get(17..)?.first_chunk().copied()
}

/// The index in the key of a segment.
pub(crate) fn index_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(33..)?.try_into().ok()?))
}

/// A key behind all that begin with `prefix`, but before any other; to go on behind them.
pub(crate) fn behind(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[u8::MAX; 20]].concat()
}

/// `w` chart16 stream16
pub(crate) fn intent(chart: &ChartId, stream: &StreamId) -> Vec<u8> {
    [b"w", &chart[..], stream].concat()
}

/// What the keys of all pages begin with.
pub const JOURNAL_PAGES: &[u8] = b"j";

/// A writer's id: the time at which it began (48 bits of milliseconds since 1970, big-endian) and 10
/// random bytes. So chains stand in the order in which they began.
pub type WriterId = [u8; 16];

/// Which page of whose chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId {
    /// Whose chain.
    pub writer: WriterId,
    /// The place in it, 0 and up.
    pub sequence: u64,
}

/// What the keys of all pages of a writer begin with: 17 bytes.
pub fn journal_chain(writer: &WriterId) -> Vec<u8> {
    [JOURNAL_PAGES, writer].concat()
}

/// Where a page stands.
pub fn journal_page(id: &PageId) -> Vec<u8> {
    [JOURNAL_PAGES, &id.writer[..], &id.sequence.to_be_bytes()].concat()
}

/// The page that stands under a key.
pub fn journal_page_of(key: &[u8]) -> Option<PageId> {
    let (writer, sequence) = key.strip_prefix(JOURNAL_PAGES)?.split_first_chunk()?;
    Some(PageId {
        writer: *writer,
        sequence: u64::from_be_bytes(sequence.try_into().ok()?),
    })
}

/// A key behind all pages of a writer, but before any other's.
pub fn behind_journal_chain(writer: &WriterId) -> Vec<u8> {
    [&journal_chain(writer)[..], &[u8::MAX; 9]].concat()
}
