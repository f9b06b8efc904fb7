"""Shares of a secret: format.md, "Shares"."""

import re

from credential import Shared
from primitives import Refused

SYMBOLS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LOOK_ALIKES = str.maketrans("OILUoilu", "011V011V")
REMOVED = re.compile(r"[\s\->\u00ad\u200b-\u200f\u2010-\u2015\u2060\ufeff]")
GENERATORS = 0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3
VALID = 0x2BC830A3
PREFIX = b"chartlock-share"
LONGEST_TEXT, LONGEST_CODE, LENGTH, GROUPS, GROUP = 1024, 89, 70, 14, 5
MOST = 16

Share = tuple[int, int, int, bytes, bytes]


def read_share(text: str) -> Share:
    """Returns threshold, number of shares, number of this share, set id and bytes."""
    if len(text.encode()) > LONGEST_TEXT:
        raise Refused("NotAShare")
    code = ungrouped(REMOVED.sub("", text.rsplit(":", 1)[-1]))
    values = [SYMBOLS.find(symbol) for symbol in code.translate(LOOK_ALIKES).upper()]
    is_valid = -1 not in values and polymod(expanded_prefix() + values) == VALID
    if len(values) > LONGEST_CODE:
        raise Refused("NotAShare")
    if is_valid and values and values[0] > 1:
        raise Refused("Unsupported")
    if len(values) != LENGTH:
        raise Refused("NotAShare")
    if not is_valid:
        raise Refused("Mistyped")
    version, threshold, count, number = values[:4]
    if version != 1 or not 2 <= threshold <= count <= MOST or not 1 <= number <= count:
        raise Refused("NotAShare")
    return threshold, count, number, to_bytes(values[4:12], 5), to_bytes(values[12:64], 32)


def ungrouped(code: str) -> str:
    if "." not in code:
        return code
    first, *parts = code.split(".")
    if first != "1":
        raise Refused("NotAShare")
    groups = []
    for number, part in enumerate(parts, 2):
        if number <= len(parts):
            if not part.endswith(str(number)):
                raise Refused("Mistyped")
            part = part.removesuffix(str(number))
        if len(part) != GROUP:
            raise Refused("Mistyped")
        groups.append(part)
    return "".join(groups)


def expanded_prefix() -> list[int]:
    return [code >> 5 for code in PREFIX] + [0] + [code & 31 for code in PREFIX]


def polymod(values: list[int]) -> int:
    remainder = 1
    for value in values:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(GENERATORS):
            remainder ^= generator if top >> bit & 1 else 0
    return remainder


def to_bytes(values: list[int], length: int) -> bytes:
    bits = "".join(f"{value:05b}" for value in values)
    if "1" in bits[8 * length :]:
        raise Refused("NotAShare")
    return bytes(int(bits[8 * at : 8 * at + 8], 2) for at in range(length))


def combine(texts: list[str]) -> Shared:
    """Recovers the secret from shares of one set, as many as the threshold or more."""
    shares = [read_share(text) for text in texts]
    sets = {(share[3], share[0], share[1]) for share in shares}
    if len(sets) != 1:
        raise Refused("OtherSet")
    [(set_id, threshold, count)] = sets
    points = {number: data for _, _, number, _, data in shares}
    if len(points) < threshold:
        raise Refused("TooFew")
    points = dict(list(points.items())[:threshold])
    secret = bytes(value_at_zero({x: data[at] for x, data in points.items()}) for at in range(32))
    return Shared(set_id + bytes([threshold, count]), secret)


def value_at_zero(points: dict[int, int]) -> int:
    value = 0
    for x, y in points.items():
        for other in points:
            if other != x:
                y = multiply(y, multiply(other, inverse(x ^ other)))
        value ^= y
    return value


def multiply(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def inverse(a: int) -> int:
    return next(b for b in range(1, 256) if multiply(a, b) == 1)
