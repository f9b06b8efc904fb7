//! Storage keys of all objects.
//!
//! A storage key consists of a class letter and fields of fixed length. `format.md` lists all
//! storage keys.

use crate::crypto::{ChartId, Digest, PatientTag, RecordTag, StreamId};
use crate::format::codec::fields;
use crate::format::envelope::{Address, VERSION_MAX};

/// Key of the vault header.
pub(crate) const HEADER: &[u8] = b"v";
/// Key prefix of patient entries.
pub(crate) const ENTRIES: &[u8] = b"p";

/// Classes of the objects that belong to a chart, in the order in which an erasure deletes them.
pub(crate) const CHART_CLASSES: [u8; 4] = *b"wsrh";

/// Returns the key of a patient entry: `p` and the patient tag, 17 bytes.
pub(crate) fn entry(tag: &PatientTag) -> Vec<u8> {
    [ENTRIES, tag].concat()
}

/// Returns the patient tag in the key of a patient entry.
pub(crate) fn entry_tag(key: &[u8]) -> Option<PatientTag> {
    key.strip_prefix(ENTRIES)?.try_into().ok()
}

/// Returns the key prefix of one class of a chart's objects: the class letter and the chart id, 17
/// bytes.
pub(crate) fn chart(class: u8, chart: &ChartId) -> Vec<u8> {
    [&[class], &chart[..]].concat()
}

/// Returns the key of a record's current version: `r`, the chart id and the record tag.
pub(crate) fn current(address: &Address) -> [u8; 33] {
    let mut key = [b'r'; 33];
    let fields = address.chart.iter().chain(&address.record);
    for (byte, field) in key.iter_mut().skip(1).zip(fields) {
        *byte = *field;
    }
    key
}

/// Returns the key prefix of a record's earlier versions: `h`, the chart id and the record tag, 33
/// bytes.
pub(crate) fn earlier_versions(address: &Address) -> Vec<u8> {
    [b"h", &address.chart[..], &address.record].concat()
}

/// Returns the key of an earlier version: the prefix of [`earlier_versions`] and the version
/// number. The number is big-endian, so that a scan returns versions in ascending order.
pub(crate) fn earlier(address: &Address, version: u64) -> Vec<u8> {
    let version = version.to_be_bytes();
    [b"h", &address.chart[..], &address.record, &version].concat()
}

/// Returns the record tag in the key of a version and, for an earlier version, its number.
pub(crate) fn record_of(key: &[u8]) -> Option<(RecordTag, Option<u64>)> {
    let (_, key) = key.split_at_checked(17)?;
    let (tag, version) = key.split_first_chunk()?;
    match version {
        [] => Some((*tag, None)),
        version => Some((*tag, Some(u64::from_be_bytes(version.try_into().ok()?)))),
    }
}

/// Returns the number in the key of an earlier version; `None` for any other key, and for a number
/// that no version has.
pub(crate) fn earlier_version_of(key: &[u8]) -> Option<u64> {
    let (_, version) = record_of(key)?;
    version.filter(|version| (1..=VERSION_MAX).contains(version))
}

/// Returns the key prefix of a stream's segments: `s`, the chart id and the stream id, 33 bytes.
pub(crate) fn segments(chart: &ChartId, stream: &StreamId) -> Vec<u8> {
    [b"s", &chart[..], stream].concat()
}

/// Returns the key of a segment: the prefix of [`segments`] and the index as a big-endian u32.
pub(crate) fn segment(chart: &ChartId, stream: &StreamId, index: u32) -> Vec<u8> {
    [b"s", &chart[..], stream, &index.to_be_bytes()].concat()
}

/// Returns the chart id in the key of a chart's object.
pub(crate) fn chart_of(key: &[u8]) -> Option<ChartId> {
    key.get(1..)?.first_chunk().copied()
}

/// Returns the key of a chart's object without the class letter and the chart id.
pub(crate) fn rest_of_chart(key: &[u8]) -> &[u8] {
    key.get(17..).unwrap_or_default()
}

/// Returns the stream id in the key of a segment or of an upload intent.
pub(crate) fn stream_of(key: &[u8]) -> Option<StreamId> {
    key.get(17..)?.first_chunk().copied()
}

/// Returns the index in the key of a segment.
pub(crate) fn index_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(33..)?.try_into().ok()?))
}

/// Returns a key from which a scan skips all keys that begin with `prefix`.
pub(crate) fn behind(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[u8::MAX; 20]].concat()
}

/// Returns the key of an upload intent: `w`, the chart id and the stream id, 33 bytes.
pub(crate) fn intent(chart: &ChartId, stream: &StreamId) -> Vec<u8> {
    [b"w", &chart[..], stream].concat()
}

/// Key prefix of journal pages.
pub const JOURNAL_PAGES: &[u8] = b"j";

/// Key of the object of covered chain heads.
pub(crate) const COVERAGE: &[u8] = b"a";

/// The id of a journal writer: the time at which the writer began its chain, and 10 random bytes.
/// The time is a big-endian 48-bit number of milliseconds since 1970, so that a scan returns chains
/// in the order of their beginning. The first bit marks an undated chain, and the first two bits together mark a
/// chain of page summaries.
pub type WriterId = [u8; 16];

/// The id of a journal page: the writer of its chain, and its position in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageId {
    /// Writer of the chain.
    pub writer: WriterId,
    /// Position of the page in the chain, from 0.
    pub sequence: u64,
}

/// A chain head: the last page of a chain at the time of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// The last page.
    pub page: PageId,
    /// SHA-256 of that page's value.
    pub digest: Digest,
}

fields! { PageId { writer sequence } }
fields! { ChainHead { page digest } }

/// First bit of the id of a writer whose chain is undated: its entries can have any time.
pub(crate) const UNDATED: i64 = 1 << 47;
/// First two bits of the id of a writer whose chain contains summaries of archived pages.
pub(crate) const SUMMARIES: i64 = UNDATED + (1 << 46);

/// Returns the first 6 bytes of a writer id as a number, which contains the start of the chain and the
/// mark of an undated chain.
pub(crate) fn chain_start(writer: &WriterId) -> i64 {
    let [a, b, c, d, e, f, ..] = *writer;
    i64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// Returns the time at which a chain began, which its writer id contains.
pub(crate) fn chain_began(writer: &WriterId) -> i64 {
    match chain_start(writer) {
        marked @ UNDATED.. => marked & (SUMMARIES - UNDATED - 1),
        start => start,
    }
}

/// Returns `true` for a chain whose entries can have any time, such as a chain of summaries.
pub(crate) fn is_undated(writer: &WriterId) -> bool {
    chain_start(writer) >= UNDATED
}

/// Returns `true` for a chain that contains summaries of archived pages.
pub(crate) fn is_of_summaries(writer: &WriterId) -> bool {
    chain_start(writer) >= SUMMARIES
}

/// Returns the number that [`chain_start`] reads from the id of a marked chain that begins at `time`.
pub(crate) fn marked_start(mark: i64, time: i64) -> i64 {
    mark + time.clamp(0, SUMMARIES - UNDATED - 1)
}

/// Returns the first 6 bytes of the id of a writer whose chain begins at `time`. For a marked chain,
/// `time` contains the mark.
pub(crate) fn chain_time(time: i64) -> [u8; 6] {
    let [_, _, time @ ..] = time.clamp(0, 2 * UNDATED - 1).to_be_bytes();
    time
}

/// Returns the key prefix of one writer's pages: `j` and the writer id, 17 bytes.
pub fn journal_chain(writer: &WriterId) -> Vec<u8> {
    [JOURNAL_PAGES, writer].concat()
}

/// Returns the key of a journal page: the prefix of [`journal_chain`] and the sequence number as a
/// big-endian u64.
pub fn journal_page(id: &PageId) -> Vec<u8> {
    [JOURNAL_PAGES, &id.writer[..], &id.sequence.to_be_bytes()].concat()
}

/// Returns the page id in the key of a journal page; `None` for any other key.
pub fn journal_page_of(key: &[u8]) -> Option<PageId> {
    let (writer, sequence) = key.strip_prefix(JOURNAL_PAGES)?.split_first_chunk()?;
    Some(PageId {
        writer: *writer,
        sequence: u64::from_be_bytes(sequence.try_into().ok()?),
    })
}

/// Returns a key from which a scan skips all pages of a writer.
pub fn behind_journal_chain(writer: &WriterId) -> Vec<u8> {
    [&journal_chain(writer)[..], &[u8::MAX; 9]].concat()
}
