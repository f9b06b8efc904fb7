"""A second reader of chartlock's storage, written from src/envelope/format.md alone.

    python3 tests/independent vectors tests/vectors/files
"""

import argparse
import sys
from pathlib import Path

import vectors


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/independent", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("vectors", help="open every vector below a directory")
    command.add_argument("directory", type=Path)
    command.set_defaults(run=check_vectors)
    arguments = parser.parse_args()
    return arguments.run(arguments)


def check_vectors(arguments: argparse.Namespace) -> int:
    count, wrong = vectors.check_all(arguments.directory)
    print("\n".join(wrong + [f"{count} vectors, {len(wrong)} differences"]))
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main())
