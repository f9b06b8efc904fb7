"""A second reader of chartlock's storage, written from src/format/format.md alone.

    python3 tests/independent vectors tests/vectors/files
    python3 tests/independent read ARCHIVE --key-file FILE [--json]
    python3 tests/independent read ARCHIVE --passphrase-file FILE --patient ID [--record NAME]
    python3 tests/independent read ARCHIVE --key-file FILE --patient ID --record NAME --extract FILE
"""

import argparse
import json
import sys
from pathlib import Path

import fresh
import vectors
from archive import read_archive
from credential import Credential, KeyFile, Passphrase
from entry import PATIENT, PRACTICE, Subject
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
    command = commands.add_parser("vectors", help="open every vector below a directory")
    command.add_argument("directory", type=Path)
    command.set_defaults(run=check_vectors)
    command = commands.add_parser("fresh", help="check what tests/independent.rs wrote")
    command.add_argument("directories", type=Path, nargs="+")
    command.set_defaults(run=check_fresh)
    command = commands.add_parser("read", help="read the archive of a vault")
    command.add_argument("archive", type=Path)
    credential = command.add_mutually_exclusive_group(required=True)
    credential.add_argument("--key-file", type=Path)
    credential.add_argument("--passphrase-file", type=Path, help="a line end is not part of it")
    subject = command.add_mutually_exclusive_group()
    subject.add_argument("--patient", metavar="ID", help="of this patient only")
    subject.add_argument("--practice", metavar="ID", help="of this part of the practice only")
    command.add_argument("--record", metavar="NAME", help="of this record only")
    command.add_argument("--version", type=int, help="of the record; else the current one")
    command.add_argument("--extract", type=Path, metavar="FILE", help="the record's content")
    command.add_argument("--json", action="store_true", help="for programs")
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
    print("\n".join(wrong + [f"{len(arguments.directories)} archives, {len(wrong)} differences"]))
    return 1 if wrong else 0


def read(arguments: argparse.Namespace) -> int:
    storage = read_archive(arguments.archive.read_bytes())
    if arguments.extract:
        return extract(arguments, storage)
    plain = Walk(storage, credential(arguments)).plain
    subject = asked_subject(arguments)
    if subject:
        narrow(plain, subject, arguments.record)
    print(json.dumps(plain, indent=1, ensure_ascii=False) if arguments.json else readable(plain))
    return 1 if plain["problems"] else 0


def narrow(plain: dict, subject: Subject, record: str | None) -> None:
    """Leaves only what is about a subject, or about one of its records."""
    kind = {PATIENT: "patient", PRACTICE: "practice"}[subject.kind]
    asked = {"kind": kind, "identifier": subject.identifier}
    plain["patients"] = [one for one in plain["patients"] if asked.items() <= one.items()]
    told = {"identifier": subject.identifier}
    if record is not None:
        told["name"] = record
        for patient in plain["patients"]:
            patient["records"] = [one for one in patient["records"] if one["name"] == record]
    entries = plain["journal"]["entries"]
    plain["journal"]["entries"] = [one for one in entries if told.items() <= one.items()]


def extract(arguments: argparse.Namespace, storage: dict[bytes, bytes]) -> int:
    subject = asked_subject(arguments)
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


def asked_subject(arguments: argparse.Namespace) -> Subject | None:
    if arguments.patient is not None:
        return Subject(PATIENT, arguments.patient)
    if arguments.practice is not None:
        return Subject(PRACTICE, arguments.practice)
    return None


if __name__ == "__main__":
    sys.exit(main())
