#!/usr/bin/env python3
"""Finds phrases that the style guide bans: `.ci/phrases.py [FILE...]`.

Looks at Rust, Markdown, Python and TOML files that git tracks, test data aside. Identifiers count: `_` and camel
case are split into words, and comment lines are joined, so that a phrase is found across a line break. A line that
must keep a phrase says why: `// phrase: why`.
"""

import pathlib
import re
import subprocess
import sys

PHRASES = (
    "told|heed|whoever|stood|lies|tells of|hears of|comes to|hangs on|of before|at hand|for itself|takes note"
    "|looked at|apart(?! from)|stands(?! for)"
)
BANNED = re.compile(rf"(?<![A-Za-z])({PHRASES})(?![A-Za-z])", re.I)
EXCEPT = re.compile(r"^(tests/data|tests/vectors/files|fuzz/corpus|src/storage/file|\.ci/phrases\.py)")
MARKED = re.compile(r"(?<![A-Za-z])phrase: \S")


def tracked():
    names = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if name.endswith((".rs", ".md", ".py", ".toml")) and not EXCEPT.match(name)]


def words(line):
    line = re.sub(r"^\s*(///?|//!|#+)\s?", "", line)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", line.replace("_", " "))


def found(text):
    """(line number, line) of each banned phrase."""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if MARKED.search(line):
            continue
        following = lines[number] if number < len(lines) else ""
        own = words(line).rstrip()
        joined = own + " " + words(following).lstrip() if following.strip() else own
        if any(match.start() < len(own) for match in BANNED.finditer(joined)):
            yield number, line


def main():
    count = 0
    for name in sys.argv[1:] or tracked():
        for number, line in found(pathlib.Path(name).read_text()):
            count += 1
            print(f"{name}:{number}: {line.strip()}")
    if count:
        sys.exit(f"{count} lines with a banned phrase")


main()
