"""Record decoder: format.md, "Record value" and "Meta"."""

from dataclasses import dataclass, field

from entry import Chart
from fields import CRITICAL, Fields
from header import Steps
from keyring import by_number
from primitives import (
    AEADS, FORMAT, TAG_LENGTH, Refused, equal, expand, has_control, key_and_commitment,
    open_sealed, sha256, tag16,
)

INLINE, SEGMENTED, RETRACTION = 1, 2, 3
CURRENT, EARLIER = b"r", b"h"
LONGEST_CONTENT = 1_048_576
LAST_VERSION = 2**63 - 1
HONEYTOKEN, ORIGINAL_TIME, ORIGINAL_AUTHOR = 2, 6, 7
EXPUNGED_UP_TO = 0x8001
CONTENT_TYPES = [
    "application/fhir+json", "application/fhir+xml", "application/fhir+ndjson",
    "application/dicom", "application/dicom+json", "application/hl7-cda+xml",
    "x-application/hl7-v2+er7", "application/json", "application/xml", "application/pdf",
    "application/octet-stream", "text/plain", "text/csv", "text/html", "text/xml", "text/vcf",
    "image/jpeg", "image/png", "audio/mpeg", "video/mp4",
]


@dataclass(frozen=True)
class Place:
    """Storage key of a record value. Only a key under `h` contains a version."""

    chart: Chart
    rtag: bytes
    prefix: bytes
    version: int | None = None


@dataclass(frozen=True)
class Head:
    suite: int
    kind: int
    version: int
    body_key: bytes
    steps: Steps


@dataclass(frozen=True)
class Meta:
    written_at: int
    content_type: str | None
    name: str
    labels: list[str]
    extensions: dict[int, bytes]
    stream_key: bytes = field(default=b"", repr=False)
    stream_length: int = 0

    @property
    def expunged_up_to(self) -> int:
        """The number of the last expunged version, or 0."""
        return int.from_bytes(self.extensions.get(EXPUNGED_UP_TO, b""), "little")


@dataclass(frozen=True)
class Version:
    head: Head
    meta: Meta
    content: bytes
    stream: bytes | None
    digest: bytes
    steps: Steps

    @property
    def is_marker(self) -> bool:
        last = self.meta.expunged_up_to
        return self.head.kind == RETRACTION and last == self.head.version - 1 > 0


def record_tag(patient_name_key: bytes, name: str) -> bytes:
    return tag16(patient_name_key, b"cl1/rtag", name)


def open_head(value: bytes, place: Place) -> Head:
    """Runs checks 1 to 8, up to the commitment."""
    if len(value) < 96:
        raise Refused("Malformed")
    if value[0] != FORMAT:
        raise Refused("Unsupported")
    version = int.from_bytes(value[8:16], "little")
    if not 1 <= version <= LAST_VERSION:
        raise Refused("Malformed")
    suite, kind, wrap = value[1:4]
    if wrap != 1 or suite not in AEADS or kind not in (INLINE, SEGMENTED, RETRACTION):
        raise Refused("Unsupported")
    if place.version is not None and version != place.version:
        raise Refused("NotAuthentic")
    number, commitment, wrapped = value[4:8], value[16:48], value[48:96]
    patient_key = by_number(place.chart.keys, int.from_bytes(number, "little"))
    if patient_key is None:
        raise Refused("UnknownPatientKey")
    info = b"cl1/wrap" + place.prefix + bytes(3) + number + commitment
    wrap_key = expand(patient_key, info, 32)
    data_key = open_sealed(suite, wrap_key, wrapped)
    context = place.chart.id + place.rtag + value[8:16] + bytes([FORMAT, suite, kind, 0])
    body_key, derived = key_and_commitment(data_key, b"cl1/body" + context)
    if not equal(derived, commitment):
        raise Refused("NotAuthentic")
    steps = [
        ("patient key", patient_key),
        ("wrap key", wrap_key),
        ("data key", data_key),
        ("body key", body_key),
        ("body commitment", derived),
    ]
    return Head(suite, kind, version, body_key, steps)


def open_version(value: bytes, place: Place, name: str | None) -> Version:
    """Runs all checks. Without a given name, the sealed name must have the tag in the storage key."""
    head = open_head(value, place)
    body_at = 112 if head.kind == SEGMENTED else 96
    if len(value) < body_at + TAG_LENGTH:
        raise Refused("Malformed")
    body = open_sealed(head.suite, head.body_key, value[body_at:])
    meta, content = decode_body(body, head)
    if name is None:
        name_matches = equal(record_tag(place.chart.name_key, meta.name), place.rtag)
    else:
        name_matches = meta.name == name
    if not name_matches:
        raise Refused("NotAuthentic")
    digest = sha256(value[96:])
    steps = head.steps + [("body", body[:4096]), ("digest", digest)]
    stream = value[96:112] if head.kind == SEGMENTED else None
    return Version(head, meta, content, stream, digest, steps)


def decode_body(body: bytes, head: Head) -> tuple[Meta, bytes]:
    fields = Fields(body)
    meta = decode_meta(fields.take(fields.u16()), head)
    length = fields.u32()
    if length > LONGEST_CONTENT or (head.kind != INLINE and length > 0):
        raise Refused("Malformed")
    content = fields.take(length)
    if any(fields.rest()):
        raise Refused("Malformed")
    return meta, content


def decode_meta(encoded: bytes, head: Head) -> Meta:
    fields = Fields(encoded)
    if fields.u8() != 1:
        raise Refused("Unsupported")
    written_at = fields.i64()
    content_type = read_content_type(fields)
    name = bounded_text(fields, fields.u16(), 1_024)
    labels = read_labels(fields)
    extensions = read_extensions(fields, head.version)
    stream_key, stream_length = b"", 0
    if head.kind == SEGMENTED:
        stream_key, stream_length = fields.take(32), fields.u64()
    fields.end()
    return Meta(written_at, content_type, name, labels, extensions, stream_key, stream_length)


def read_content_type(fields: Fields) -> str | None:
    code = fields.u8()
    if code > len(CONTENT_TYPES):
        raise Refused("Unsupported")
    if code > 0:
        return CONTENT_TYPES[code - 1]
    spelled = fields.take(fields.u8())
    if not all(0x20 <= byte <= 0x7E for byte in spelled):
        raise Refused("Malformed")
    return spelled.decode("ascii") or None


def read_labels(fields: Fields) -> list[str]:
    count = fields.u8()
    if count > 32:
        raise Refused("Malformed")
    labels = [bounded_text(fields, fields.u8(), 255) for _ in range(count)]
    encoded = [label.encode() for label in labels]
    if any(one >= next for one, next in zip(encoded, encoded[1:])):
        raise Refused("Malformed")
    return labels


def read_extensions(fields: Fields, version: int) -> dict[int, bytes]:
    extensions: dict[int, bytes] = {}
    last = -1
    for _ in range(fields.u8()):
        number, content = fields.u16(), fields.take(fields.u16())
        if number <= last:
            raise Refused("Malformed")
        check_extension(number, content, version)
        extensions[number] = content
        last = number
    return extensions


def check_extension(number: int, content: bytes, version: int) -> None:
    if number == EXPUNGED_UP_TO:
        if len(content) != 8 or not 1 <= int.from_bytes(content, "little") < version:
            raise Refused("Malformed")
    elif number >= CRITICAL:
        raise Refused("Unsupported")
    elif number == ORIGINAL_TIME and len(content) != 8:
        raise Refused("Malformed")
    elif number == ORIGINAL_AUTHOR:
        bounded_text(Fields(content), len(content), 255)


def bounded_text(fields: Fields, length: int, longest: int) -> str:
    text = fields.utf8(length)
    if not 1 <= length <= longest or has_control(text):
        raise Refused("Malformed")
    return text
