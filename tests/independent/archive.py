"""Archive reader: format.md, "Archive"."""

from primitives import Refused, sha256

MAGIC = bytes.fromhex("89434C410D0A1A0A")
CHECKSUM_LENGTH = 32
LONGEST_KEY = 64
LONGEST_VALUE = 2_097_152


def read_archive(archive: bytes) -> dict[bytes, bytes]:
    """Returns the objects of a storage, in ascending order of their keys."""
    if len(archive) < len(MAGIC) + CHECKSUM_LENGTH or not archive.startswith(MAGIC):
        raise Refused("NotAnArchive")
    body, checksum = archive[:-CHECKSUM_LENGTH], archive[-CHECKSUM_LENGTH:]
    objects: dict[bytes, bytes] = {}
    at = len(MAGIC)

    def take(length: int) -> bytes:
        nonlocal at
        if length > len(body) - at:
            raise Refused("Truncated")
        at += length
        return body[at - length : at]

    last = b""
    while at < len(body):
        key_length = int.from_bytes(take(2), "little")
        if not 1 <= key_length <= LONGEST_KEY:
            raise Refused("Malformed")
        key = take(key_length)
        if key <= last:
            raise Refused("Malformed")
        value_length = int.from_bytes(take(8), "little")
        if value_length > LONGEST_VALUE:
            raise Refused("Malformed")
        objects[key] = take(value_length)
        last = key
    if sha256(body) != checksum:
        raise Refused("Digest")
    return objects
