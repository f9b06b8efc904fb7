"""Moves of a former insider, who kept the journal and authority keys from before their rotation."""

from collections.abc import Iterator

from attack.auditor import LOST_PAGE, claims, places
from attack.pages import Sealer, after, linked, open_raw
from attack.target import Move, Target
from primitives import u32

LATE = {"journal": {"late"}}


def former_keys(target: Target) -> list[Sealer]:
    """Returns the sealers under closed keys, newest first."""
    former = list(target.keys.keys.items())[1:]
    authority = target.keyring.authority_keys[1:]
    pairs = zip(former, authority)
    return [
        Sealer(target.header.suite, target.header.vault, number, key, (signing.number, signing.key))
        for (number, key), signing in pairs
    ]


def moves(target: Target) -> Iterator[Move]:
    for age, sealer in enumerate(former_keys(target)):
        for claim, body in claims(target).items():
            for name, (page, previous) in places(target).items():
                value = sealer.seal(page, linked(body, previous))
                yield Move(f"{claim} under keys {age} {name}", target.with_page(page, value), LATE)
        yield from extended_chains(target, sealer, age)
        yield from rewritten_pages(target, sealer, age)


def of_keys(target: Target, sealer: Sealer) -> list[list]:
    """Returns the chains that the vault sealed under these keys."""
    is_of = lambda page: target.value(page)[4:8] == u32(sealer.number)
    return [chain for chain in target.chains() if is_of(chain[0])]


def extended_chains(target: Target, sealer: Sealer, age: int) -> Iterator[Move]:
    """Pages behind the last page that the closing names."""
    for chain in of_keys(target, sealer):
        page = after(chain[-1])
        body = linked(claims(target)["erasure"], target.digest(chain[-1]))
        value = sealer.seal(page, body)
        yield Move(f"chain under keys {age} goes on", target.with_page(page, value), LATE)


def rewritten_pages(target: Target, sealer: Sealer, age: int) -> Iterator[Move]:
    """The last page of a chain, sealed again with the right tag. The closing names the digest of the page
    that the vault wrote, so nothing proves the pages before it."""
    for chain in of_keys(target, sealer):
        page = chain[-1]
        body, _ = open_raw(target.value(page), target.header.vault, target.keys.keys, page)
        storage = target.with_page(page, sealer.seal(page, body))
        must = {"journal": {"unproven", "replaced"}}
        yield Move(f"page under keys {age} written again", storage, must, LOST_PAGE)
