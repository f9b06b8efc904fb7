"""Attacks on a fresh vault, with the independent reader as the attacker.

Each move of an attacker changes some objects of the vault, and states what the library's verification
must report. `tests/independent/main.rs` applies the changes and compares.

    python3 tests/independent attack target/tmp/independent/*
"""

import json
from pathlib import Path

from archive import read_archive
from attack import auditor, insider, storage_writer
from attack.target import Target
from credential import KeyFile


def write_moves(directory: Path) -> int:
    """Writes the moves on one fresh vault into `attacks.json`, and returns their number."""
    target = Target(
        read_archive((directory / "vault.clarchive").read_bytes()),
        read_archive((directory / "earlier.clarchive").read_bytes()),
        KeyFile((directory / "key file").read_bytes()),
        KeyFile((directory / "auditor").read_bytes()),
    )
    moves = [
        move.plain(target.storage)
        for attacker in (auditor, insider, storage_writer)
        for move in attacker.moves(target)
    ]
    (directory / "attacks.json").write_text(json.dumps(moves))
    return len(moves)
