//! Tables of the database, and the classes of keys that are stored in a special way.
//!
//! `format/directory.md` describes the same tables. A change here needs a change there, and in
//! `tests/independent/directory.py`.

/// `application_id` of the database file: "CLKD".
pub(super) const APPLICATION_ID: i32 = 0x434c_4b44;

/// Layout of the directory that this release writes and reads.
pub(super) const LAYOUT: i64 = 2;

pub(super) const PAGE_BYTES: usize = 8192;

/// Size from which a value is stored in a segment file, in bytes.
pub(super) const SEGMENT_VALUE_BYTES: usize = 256 << 10;

/// Number of zeros before a value that a commit must be able to destroy, in bytes.
///
/// SQLite keeps the first `PAGE_BYTES - 35` bytes of a row, or fewer, in a page of the tree and the
/// rest in overflow pages (SQLite file format, section 1.6). Rows of the tree are copied when pages
/// are rebalanced, and such copies outlive `secure_delete`. Overflow pages are never copied. The
/// zeros fill the part in the tree, so that the whole value is in overflow pages.
pub(super) const PADDING_BYTES: usize = PAGE_BYTES - 35;

/// Storage key of the vault header.
pub(super) const HEADER_KEY: &[u8] = b"v";

/// Statements that create the tables. The caller sets the pragmas first, because some have no effect
/// later.
pub(super) const CREATE: &str = "
    create table storage (
        id blob not null,
        layout integer not null,
        revisions integer not null,
        copied integer not null
    ) strict;
    create table object (
        revision integer primary key,
        key blob not null,
        key_sum integer not null,
        segment integer,
        start integer,
        length integer,
        padding blob not null,
        value blob not null
    ) strict;
    create unique index object_by_key on object (key, key_sum);
    create index object_by_segment on object (segment) where segment is not null;
    create table segment (
        id integer primary key,
        objects integer not null
    ) strict;
    create table header_copy (
        id integer primary key check (id = 1),
        value_sum integer not null,
        padding blob not null,
        value blob not null
    ) strict;
";

/// Columns that `ObjectRow::read` reads, in this order.
pub(super) const COLUMNS: &str = "revision, key, key_sum, segment, start, length";

/// Returns `true` if a destroying put of this key can purge the former value from the database.
pub(super) fn is_destroyable(key: &[u8]) -> bool {
    key == HEADER_KEY || key.first() == Some(&b'p')
}

/// Returns the checksum of the vault header: CRC-32, as in zlib.
pub(super) fn header_sum(header: &[u8]) -> i64 {
    crc32fast::hash(header).into()
}

/// Returns the checksum that the key index stores beside each key: CRC-32, as in zlib.
///
/// SQLite has no page checksums, so a changed byte in the index could make a lookup miss an
/// existing key. The checksum reveals the changed key.
pub(super) fn key_sum(key: &[u8]) -> i64 {
    crc32fast::hash(key).into()
}
