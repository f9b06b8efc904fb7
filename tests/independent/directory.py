"""Reader of a `FileStorage` directory: directory.md, with Python's own SQLite."""

import re
import sqlite3
import struct
import zlib
from pathlib import Path
from urllib.parse import quote

from primitives import Refused, sha256

MAGIC = b"chartlock storage 2\n"
ANY_LAYOUT = b"chartlock storage "
MARKER_LENGTH, FIELDS_AT, FIELD_LENGTH = 68, 36, 16
DATABASE_MAGIC = b"SQLite format 3\0"
APPLICATION, LAYOUT, PAGE_LENGTH, PADDING_LENGTH = 0x434C4B44, 2, 8192, 8157
LONGEST_KEY, LONGEST_VALUE = 64, 2_097_152


def read_directory(directory: Path) -> dict[bytes, bytes]:
    """Returns the objects of a storage, in ascending order of their keys."""
    storage_id, acknowledged = read_marker(directory)
    database = directory / "vault.db"
    if not database.is_file() or not database.read_bytes().startswith(DATABASE_MAGIC):
        raise Refused("Damaged")
    try:
        connection = connect(directory)
        try:
            check_origin(connection, database, storage_id, acknowledged)
            check_structure(connection)
            return read_objects(connection, directory / "segments")
        finally:
            connection.close()
    except (sqlite3.Error, OverflowError, UnicodeError):
        # Python decodes a text as UTF-8; damage can make one of bytes.
        raise Refused("Damaged") from None


def read_marker(directory: Path) -> tuple[bytes, int]:
    """Returns the storage id and the number of the newest acknowledged commit."""
    path = directory / "marker"
    if not path.is_file():
        raise Refused("Damaged")
    marker = path.read_bytes()
    if not marker.startswith(MAGIC):
        is_other = marker.startswith(ANY_LAYOUT)
        raise Refused("Layout" if is_other else "Damaged")
    if len(marker) != MARKER_LENGTH:
        raise Refused("Damaged")
    starts = range(FIELDS_AT, MARKER_LENGTH, FIELD_LENGTH)
    fields = (marker[at : at + FIELD_LENGTH] for at in starts)
    numbers = [
        int.from_bytes(field[:8], "little")
        for field in fields
        if sha256(field[:8])[:8] == field[8:]
    ]
    if not numbers:
        raise Refused("Damaged")
    return marker[len(MAGIC) : FIELDS_AT], max(numbers)


def has_log(directory: Path) -> bool:
    log = directory / "vault.db-wal"
    return log.is_file() and log.stat().st_size > 0


def connect(directory: Path) -> sqlite3.Connection:
    """Opens the database read-only; without a log, as a file that nobody changes."""
    option = "mode=ro" if has_log(directory) else "immutable=1"
    path = quote(str((directory / "vault.db").absolute()))
    return sqlite3.connect(f"file:{path}?{option}", uri=True)


def one(connection: sqlite3.Connection, sql: str) -> tuple:
    rows = connection.execute(sql).fetchall()
    if len(rows) != 1:
        raise Refused("Damaged")
    return rows[0]


def check_origin(
    connection: sqlite3.Connection, database: Path, storage_id: bytes, acknowledged: int
) -> None:
    """Checks that the database belongs to the marker and contains every acknowledged commit."""
    (application,), (version,) = (
        one(connection, f"pragma {name}") for name in ("application_id", "user_version")
    )
    if (application, version) != (APPLICATION, struct.unpack(">i", storage_id[:4])[0]):
        raise Refused("Foreign")
    row = one(connection, "select id, layout, revisions, copied from storage")
    found_id, layout, revisions, copied = row
    if layout != LAYOUT:
        raise Refused("Layout")
    if found_id != storage_id:
        raise Refused("Foreign")
    if revisions < acknowledged or revisions >= 2**62 or not 0 <= copied <= revisions:
        raise Refused("Damaged")
    (page_length,), (pages,) = (
        one(connection, f"pragma {name}") for name in ("page_size", "page_count")
    )
    if page_length != PAGE_LENGTH:
        raise Refused("Damaged")
    if not has_log(database.parent) and database.stat().st_size < pages * PAGE_LENGTH:
        raise Refused("Damaged")


def check_structure(connection: sqlite3.Connection) -> None:
    """Checks the pages and indexes, the counts of the segment files, and the second header."""
    if one(connection, "pragma integrity_check(1)") != ("ok",):
        raise Refused("Damaged")
    listed = connection.execute("select id, objects from segment").fetchall()
    counted = connection.execute(
        "select segment, count(*) from object where segment is not null group by segment"
    ).fetchall()
    headers = connection.execute("select padding, value from object where key = x'76'").fetchall()
    copies = connection.execute("select padding, value from header_copy").fetchall()
    sums = connection.execute("select value_sum, value from header_copy").fetchall()
    if any(zlib.crc32(header) != value_sum for value_sum, header in sums):
        raise Refused("Damaged")
    if sorted(listed) != sorted(counted) or headers != copies:
        raise Refused("Damaged")


def key_sum(key: bytes) -> int:
    return zlib.crc32(key)


def read_objects(connection: sqlite3.Connection, segments: Path) -> dict[bytes, bytes]:
    objects: dict[bytes, bytes] = {}
    rows = connection.execute(
        "select key, key_sum, segment, start, length, padding, value from object order by key"
    )
    for key, stored_sum, segment, start, length, padding, value in rows:
        if not 1 <= len(key) <= LONGEST_KEY or key_sum(key) != stored_sum:
            raise Refused("Damaged")
        is_padded = key == b"v" or key.startswith(b"p")
        if padding != bytes(PADDING_LENGTH if is_padded else 0):
            raise Refused("Damaged")
        if segment is not None:
            if value or start is None or length is None:
                raise Refused("Damaged")
            value = read_segment(segments, segment, start, length)
        if len(value) > LONGEST_VALUE:
            raise Refused("Damaged")
        objects[key] = value
    return objects


def read_segment(segments: Path, number: int, start: int, length: int) -> bytes:
    name = f"{number:016x}"
    path = segments / name
    if not re.fullmatch("[0-7][0-9a-f]{15}", name) or not path.is_file() or min(start, length) < 0:
        raise Refused("Damaged")
    value = path.read_bytes()[start : start + length]
    if len(value) != length:
        raise Refused("Damaged")
    return value
