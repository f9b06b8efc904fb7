"""Sequential field reader: format.md, "Conventions" and "Bodies"."""

from collections.abc import Callable, Container
from typing import TypeVar

from primitives import Refused

T = TypeVar("T")

# A reader must support every extension with this number or a higher one.
CRITICAL = 0x8000
DESTROYED_KEYS = 1


class Fields:
    """Remaining bytes of a value. Every length is checked before it is used."""

    def __init__(self, value: bytes):
        self.value = value
        self.at = 0

    def left(self) -> int:
        return len(self.value) - self.at

    def take(self, length: int) -> bytes:
        if length > self.left():
            raise Refused("Malformed")
        taken = self.value[self.at : self.at + length]
        self.at += length
        return taken

    def rest(self) -> bytes:
        return self.take(self.left())

    def end(self) -> None:
        if self.left():
            raise Refused("Malformed")

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def utf8(self, length: int) -> str:
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("Malformed") from None

    # The methods below apply only to sealed bodies.

    def schema(self) -> None:
        if self.u16() != 1:
            raise Refused("Unsupported")

    def text(self) -> str:
        return self.utf8(self.u64())

    def flag(self) -> bool:
        byte = self.u8()
        if byte > 1:
            raise Refused("Malformed")
        return byte == 1

    def option(self, read: Callable[[], T]) -> T | None:
        return read() if self.flag() else None

    def code(self, known: Container[int]) -> int:
        """Reads an enum's variant, or a state."""
        return listed(self.u32(), known)

    def many(self, read: Callable[[], T]) -> list[T]:
        count = self.u64()
        # Every element has at least one byte.
        if count > self.left():
            raise Refused("Malformed")
        return [read() for _ in range(count)]

    def extensions(
        self,
        has_destroyed: bool = True,
        found: dict[int, bytes] | None = None,
        checks: dict[int, Callable[[bytes], object]] | None = None,
        critical: dict[int, Callable[[bytes], object]] | None = None,
    ) -> list[int]:
        """Returns the numbers of destroyed keys from extension 1. Adds all extensions to `found`, and
        passes those with a number in `checks` to its function. Passes the critical
        extensions that are present to the functions in `critical`."""
        stored = self.many(lambda: (self.u16(), self.take(self.u64())))
        numbers = [number for number, _ in stored]
        destroyed = dict(stored).get(DESTROYED_KEYS, b"") if has_destroyed else b""
        is_ascending = all(one < next for one, next in zip(numbers, numbers[1:]))
        if not is_ascending or len(destroyed) % 4:
            raise Refused("Malformed")
        for number, check in (checks or {}).items():
            check(dict(stored).get(number, b""))
        known = critical or {}
        for number, content in stored:
            if number in known:
                known[number](content)
        if found is not None:
            found.update(stored)
        if any(number >= CRITICAL and number not in known for number in numbers):
            raise Refused("Unsupported")
        starts = range(0, len(destroyed), 4)
        return [int.from_bytes(destroyed[at : at + 4], "little") for at in starts]


def listed(code: int, known: Container[int]) -> int:
    if code not in known:
        raise Refused("Unsupported")
    return code
