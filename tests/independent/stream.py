"""Content stream reader: format.md, "Content stream"."""

from entry import Chart
from header import Steps
from primitives import TAG_LENGTH, Refused, expand, open_sealed, padme
from record import Version

CHUNK = 65_536
SEGMENT = 16 * CHUNK
MOST_SEGMENTS = 2**32 - 1


def read_stream(
    storage: dict[bytes, bytes], chart: Chart, version: Version
) -> tuple[bytes, Steps]:
    """Returns the content of a segmented record."""
    assert version.stream is not None
    suite, meta = version.head.suite, version.meta
    info = b"cl1/strm" + chart.id + version.stream + bytes([1, suite, 0, 0])
    chunk_key = expand(meta.stream_key, info, 32)
    prefix = b"s" + chart.id + version.stream
    padded = padme(meta.stream_length)
    segments = -(-padded // SEGMENT)
    if segments > MOST_SEGMENTS:
        raise Refused("TooLarge")
    content = bytearray()
    for index in range(segments):
        segment = storage.get(prefix + index.to_bytes(4, "big"))
        if segment is None:
            raise Refused("SegmentMissing")
        beyond = prefix + segments.to_bytes(4, "big")
        if index + 1 == segments and beyond in storage:
            raise Refused("NotAuthentic")
        plain_length = min(SEGMENT, padded - index * SEGMENT)
        chunks = -(-plain_length // CHUNK)
        if len(segment) != plain_length + chunks * TAG_LENGTH:
            raise Refused("NotAuthentic")
        for place in range(chunks):
            start = place * (CHUNK + TAG_LENGTH)
            sealed = segment[start : start + CHUNK + TAG_LENGTH]
            content += open_sealed(suite, chunk_key, sealed, chunk=16 * index + place)
        if any(content[meta.stream_length :]):
            raise Refused("Malformed")
    steps = [("stream key", meta.stream_key), ("chunk key", chunk_key)]
    return bytes(content[: meta.stream_length]), steps
