"""Credentials that open a slot: format.md, "Slots" and "Key file"."""

import re
from dataclasses import dataclass

from fields import Fields
from primitives import Refused, argon2id, expand, sha256

KEY_FILE_START = b"chartlock key file "
KEY_FILE_MAX = 1024


@dataclass(frozen=True)
class Passphrase:
    passphrase: bytes
    kind = 1

    def secret(self, parameters: bytes) -> bytes | None:
        if len(parameters) != 44:
            return None
        fields = Fields(parameters)
        memory, passes, lanes, salt = fields.u32(), fields.u32(), fields.u32(), fields.take(32)
        within = 8_192 <= memory <= 1_048_576 and 1 <= passes <= 16 and 1 <= lanes <= 16
        if not within or memory * passes > 4_194_304:
            return None
        return argon2id(self.passphrase, salt, memory, passes, lanes)


@dataclass(frozen=True)
class KeyFile:
    text: bytes
    kind = 2

    def secret(self, parameters: bytes) -> bytes | None:
        return None if parameters else self.read()

    def read(self) -> bytes:
        if len(self.text) > KEY_FILE_MAX:
            raise Refused("BadKeyFile")
        text = self.text.removeprefix(b"\xef\xbb\xbf")
        first = re.split(rb"[ \t]*\r?(?:\n|\Z)", text, maxsplit=1)[0]
        if re.fullmatch(KEY_FILE_START + rb"(?!1\Z)[1-9][0-9]*", first):
            raise Refused("Unsupported")
        end = rb"[ \t]*\r?"
        secret, check = rb"([0-9a-fA-F]{64})", rb"([0-9a-fA-F]{8})"
        lines = [KEY_FILE_START + b"1", secret, check]
        whole = rb"\n".join(line + end for line in lines) + rb"(?:\n" + end + rb")?\n?"
        found = re.fullmatch(whole, text)
        if found is None:
            raise Refused("BadKeyFile")
        secret, check = (bytes.fromhex(group.decode()) for group in found.groups())
        if sha256(secret)[:4] != check:
            raise Refused("BadKeyFile")
        return secret


@dataclass(frozen=True)
class Both:
    """Two factors, in their order."""

    first: "Credential"
    second: "Credential"
    kind = 4

    def secret(self, parameters: bytes) -> bytes | None:
        fields = Fields(parameters)
        secrets = []
        try:
            stored = [(fields.u16(), fields.take(fields.u16())) for _ in range(2)]
            fields.end()
        except Refused:
            return None
        for factor, (kind, own) in zip((self.first, self.second), stored):
            if kind != factor.kind:
                return None
            secrets.append(factor.secret(own))
        if None in secrets:
            return None
        return expand(secrets[0], b"cl1/both" + secrets[1], 32)


@dataclass(frozen=True)
class Shared:
    """A set of shares: its parameters, and the secret that the shares determine."""

    parameters: bytes
    recovered: bytes
    kind = 3

    def secret(self, parameters: bytes) -> bytes | None:
        return self.recovered if parameters == self.parameters else None


@dataclass(frozen=True)
class Device:
    """Test double of a device, a service or an app, which knows the secret of one slot."""

    kind: int
    parameters: bytes
    known: bytes

    def secret(self, parameters: bytes) -> bytes | None:
        return self.known if parameters == self.parameters else None


def device(value: bytes) -> Device:
    return Device(int.from_bytes(value[:2], "little"), value[34:], value[2:34])


Credential = Passphrase | KeyFile | Both | Shared | Device
