"""Independent reader of chartlock's storage, written from the two pages in src/format alone.

    python3 tests/independent vectors tests/vectors/files
    python3 tests/independent attack target/tmp/independent/*
    python3 tests/independent read STORAGE --key-file FILE [--json]
    python3 tests/independent read STORAGE --passphrase-file FILE --patient ID [--record NAME]
    python3 tests/independent read STORAGE --key-file FILE --patient ID --record NAME --extract FILE

STORAGE is an archive, or the directory of a `FileStorage` that no program has open.
"""

import argparse
import json
import sys
from pathlib import Path

import attack
import fresh
import vectors
from archive import read_archive
from credential import Credential, KeyFile, Passphrase
from directory import read_directory
from entry import ORGANIZATION, PATIENT, Subject
from primitives import Refused
from summary import Walk, readable
from vault import content_of, find_entry, live_chart, open_vault, read_record


def main() -> int:
    arguments = parser().parse_args()
    try:
        return arguments.run(arguments)
    except Refused as refused:
        print(f"refused: {refused.failure}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tests/independent",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("vectors", help="check every vector below a directory")
    command.add_argument("directory", type=Path)
    command.set_defaults(run=check_vectors)
    command = commands.add_parser("fresh", help="check vaults from tests/independent/main.rs")
    command.add_argument("directories", type=Path, nargs="+")
    command.set_defaults(run=check_fresh)
    command = commands.add_parser("attack", help="write attacks on vaults from tests/independent/main.rs")
    command.add_argument("directories", type=Path, nargs="+")
    command.set_defaults(run=write_attacks)
    command = commands.add_parser("read", help="read a vault from an archive or a directory")
    command.add_argument("storage", type=Path)
    credential = command.add_mutually_exclusive_group(required=True)
    credential.add_argument("--key-file", type=Path)
    credential.add_argument("--passphrase-file", type=Path, help="a line end is not part of it")
    subject = command.add_mutually_exclusive_group()
    subject.add_argument("--patient", metavar="ID", help="print only this patient")
    subject.add_argument("--practice", metavar="ID", help="print only this organization")
    command.add_argument("--record", metavar="NAME", help="print only this record")
    command.add_argument("--version", type=int, help="default: the current one")
    command.add_argument("--extract", type=Path, metavar="FILE", help="write the content to FILE")
    command.add_argument("--json", action="store_true", help="print JSON, for programs")
    command.set_defaults(run=read)
    return parser


def check_vectors(arguments: argparse.Namespace) -> int:
    count, wrong = vectors.check_all(arguments.directory)
    print("\n".join(wrong + [f"{count} vectors, {len(wrong)} differences"]))
    return 1 if wrong or not count else 0


def check_fresh(arguments: argparse.Namespace) -> int:
    wrong = [
        f"{directory.name}: {what}"
        for directory in arguments.directories
        for what in fresh.check(directory)
    ]
    print("\n".join(wrong + [f"{len(arguments.directories)} vaults, {len(wrong)} differences"]))
    return 1 if wrong else 0


def write_attacks(arguments: argparse.Namespace) -> int:
    count = sum(attack.write_moves(directory) for directory in arguments.directories)
    print(f"{len(arguments.directories)} vaults, {count} attacks")
    return 0 if count else 1


def read(arguments: argparse.Namespace) -> int:
    path = arguments.storage
    storage = read_directory(path) if path.is_dir() else read_archive(path.read_bytes())
    if arguments.extract:
        return extract(arguments, storage)
    plain = Walk(storage, credential(arguments)).plain
    subject = requested_subject(arguments)
    if subject:
        narrow(plain, subject, arguments.record)
    print(json.dumps(plain, indent=1, ensure_ascii=False) if arguments.json else readable(plain))
    return 1 if plain["problems"] else 0


def narrow(plain: dict, subject: Subject, record: str | None) -> None:
    """Removes everything that is not about the subject, or about one of its records."""
    kind = {PATIENT: "patient", ORGANIZATION: "practice"}[subject.kind]
    wanted_fields = {"kind": kind, "identifier": subject.identifier}
    plain["patients"] = [
        patient for patient in plain["patients"] if wanted_fields.items() <= patient.items()
    ]
    wanted = {"identifier": subject.identifier}
    if record is not None:
        wanted["name"] = record
        for patient in plain["patients"]:
            records = patient["records"]
            patient["records"] = [found for found in records if found["name"] == record]
    entries = plain["journal"]["entries"]
    plain["journal"]["entries"] = [entry for entry in entries if wanted.items() <= entry.items()]


def extract(arguments: argparse.Namespace, storage: dict[bytes, bytes]) -> int:
    subject = requested_subject(arguments)
    if subject is None or arguments.record is None:
        parser().error("--extract needs a subject and a record")
    vault = open_vault(storage, credential(arguments))
    found = find_entry(vault, subject)
    content = None
    if found:
        chart = live_chart(found[0])
        version, _ = read_record(vault, chart, arguments.record, arguments.version)
        if version:
            content, _ = content_of(vault, chart, version)
    if content is None:
        print("there is no such record", file=sys.stderr)
        return 1
    arguments.extract.write_bytes(content)
    return 0


def credential(arguments: argparse.Namespace) -> Credential:
    if arguments.key_file:
        return KeyFile(arguments.key_file.read_bytes())
    return Passphrase(arguments.passphrase_file.read_bytes().rstrip(b"\r\n"))


def requested_subject(arguments: argparse.Namespace) -> Subject | None:
    if arguments.patient is not None:
        return Subject(PATIENT, arguments.patient)
    if arguments.practice is not None:
        return Subject(ORGANIZATION, arguments.practice)
    return None


if __name__ == "__main__":
    sys.exit(main())
