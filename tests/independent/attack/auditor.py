"""Moves of an auditor, who has the journal keys and can write the storage, but has no authority key."""

from collections.abc import Iterator

from attack.pages import Sealer, after, empty, linked, new_chain, open_raw
from attack.target import Move, Target
from journal import BY_AUDITOR, BY_VAULT, PageId

INVENTED = bytes([7]) * 32
# What follows from a page that no longer counts: pages that only it proves, and objects that only it names.
LOST_PAGE = {
    "journal": {"unproven", "replaced"},
    "unattested": {"unexpected"},
    "unattested_entries": {"unexpected"},
}
FORGED = {"journal": {"forged"}}


def auditors_sealer(target: Target, is_vault: bool) -> Sealer:
    """Returns the keys of an auditor; in the name of a vault, with an invented authority key."""
    number, key = next(iter(target.auditors_keys.items()))
    authority = (target.keyring.authority_keys[0].number, INVENTED) if is_vault else None
    return Sealer(target.header.suite, target.header.vault, number, key, authority)


def claims(target: Target) -> dict[str, bytes]:
    """Returns bodies that the vault wrote: an erasure, an expunge, a put, and one without entries."""
    wanted = {"erasure": 11, "expunge": 13, "put": 5, "header": 44}
    bodies = {}
    for name, operation in wanted.items():
        page = next(target.pages_with(operation))
        value = target.value(page)
        bodies[name], _ = open_raw(value, target.header.vault, target.auditors_keys, page)
    began = max(page.began for page in target.journal.pages.values())
    return bodies | {"nothing": empty(bytes(32), began)}


def moves(target: Target) -> Iterator[Move]:
    yield from forged_pages(target)
    yield from pages_of_auditor(target)
    yield from resealed(target)
    yield from moved_pages(target)


def places(target: Target) -> dict[str, tuple[PageId, bytes]]:
    """Returns new places for a page, each with the digest of the page before."""
    chains = target.chains()
    last = chains[-1][-1]
    began = int.from_bytes(last.writer[:6], "big")
    return {
        "in a new chain": (new_chain(began + 1, 1), bytes(32)),
        "in an old chain": (new_chain(1, 2), bytes(32)),
        "after the newest page": (after(last), target.digest(last)),
    }


def forged_pages(target: Target) -> Iterator[Move]:
    sealer = auditors_sealer(target, is_vault=True)
    for claim, body in claims(target).items():
        for name, (page, previous) in places(target).items():
            value = sealer.seal(page, linked(body, previous))
            yield Move(f"forged {claim} {name}", target.with_page(page, value), FORGED)


def pages_of_auditor(target: Target) -> Iterator[Move]:
    """Pages under the auditor's own kind. Only one that claims nothing, in a chain of its own, is allowed."""
    sealer = auditors_sealer(target, is_vault=False)
    for claim, body in claims(target).items():
        for name, (page, previous) in places(target).items():
            value = sealer.seal(page, linked(body, previous))
            is_allowed = claim == "nothing" and page.sequence == 0
            must = {} if is_allowed else FORGED
            yield Move(f"auditor's {claim} {name}", target.with_page(page, value), must)


def resealed(target: Target) -> Iterator[Move]:
    """Inner pages that are sealed again, with the vault's authority tail or with an invented one."""
    vault = target.header.vault
    for chain in target.chains():
        if len(chain) < 3:
            continue
        page = chain[1]
        number = int.from_bytes(target.value(page)[4:8], "little")
        key = target.auditors_keys[number]
        body, tail = open_raw(target.value(page), vault, target.auditors_keys, page)
        plain = Sealer(target.header.suite, vault, number, key, None)
        invented = Sealer(target.header.suite, vault, number, key, (1, INVENTED))
        values = {
            "with its tail": plain.seal(page, body + tail, BY_VAULT),
            "with an invented tail": invented.seal(page, body),
            "as an auditor's": plain.seal(page, body, BY_AUDITOR),
        }
        for name, value in values.items():
            yield Move(f"page sealed again {name}", target.with_page(page, value), FORGED, LOST_PAGE)


def moved_pages(target: Target) -> Iterator[Move]:
    """Pages at other places, and pages with the other kind in their head. No key is needed for these."""
    chains = target.chains()
    last, page = chains[-1][-1], chains[0][1]
    altered = {"journal": {"altered"}}
    for name, (place, _) in places(target).items():
        moved = target.with_page(place, target.value(page))
        yield Move(f"page copied {name}", moved, altered)
    over = target.with_page(page, target.value(last))
    yield Move("page copied over another", over, altered, LOST_PAGE)
    value = target.value(page)
    relabelled = value[:2] + bytes([BY_AUDITOR]) + value[3:]
    yield Move("page relabelled", target.with_page(page, relabelled), altered, LOST_PAGE)
