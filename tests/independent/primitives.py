"""Primitives: format.md, "Primitives", "Derivations", "Padding" and "Failure classes"."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

FORMAT = 1
TAG_LENGTH = 16
AEADS: dict[int, type[AESGCM] | type[ChaCha20Poly1305]] = {1: AESGCM, 2: ChaCha20Poly1305}


class Refused(Exception):
    """Refusal of a value; `failure` is the failure class of format.md."""

    def __init__(self, failure: str):
        super().__init__(failure)
        self.failure = failure


def u16(number: int) -> bytes:
    return number.to_bytes(2, "little")


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def sha256(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()


def equal(one: bytes, other: bytes) -> bool:
    """Compares two byte strings in constant time."""
    return hmac.compare_digest(one, other)


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """Computes X(K, info, L): HKDF-Expand with HMAC-SHA-256."""
    return HKDFExpand(SHA256(), length, info).derive(key)


def key_and_commitment(key: bytes, info: bytes) -> tuple[bytes, bytes]:
    derived = expand(key, info, 64)
    return derived[:32], derived[32:]


def tag16(key: bytes, label: bytes, text: str) -> bytes:
    """Computes the tag of a name, or of an identifier if the label ends with the subject kind."""
    encoded = text.encode()
    return expand(key, label + u64(len(encoded)) + encoded, 32)[:16]


def argon2id(passphrase: bytes, salt: bytes, memory_kib: int, passes: int, lanes: int) -> bytes:
    derivation = Argon2id(
        salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory_kib
    )
    return derivation.derive(passphrase)


def open_sealed(
    suite: int, key: bytes, sealed: bytes, chunk: int = 0, failure: str = "NotAuthentic"
) -> bytes:
    """Computes Open(suite, key, n, c); n is the number of a content stream's chunk, else 0."""
    nonce = bytes(4) + chunk.to_bytes(8, "big")
    try:
        return AEADS[suite](key).decrypt(nonce, sealed, b"")
    except InvalidTag:
        raise Refused(failure) from None


def padme(length: int) -> int:
    if length < 2:
        return length
    e = length.bit_length() - 1
    s = e.bit_length()
    step = 1 << max(e - s, 0)
    return -(-length // step) * step


def has_control(text: str) -> bool:
    """Returns whether the text contains a character of Unicode's category Cc."""
    return any(character < "\x20" or "\x7f" <= character <= "\x9f" for character in text)
