#!/usr/bin/env python3
"""Finds phrases that the style guide bans: `.ci/phrases.py [FILE...]`.

`.ci/phrases.py --sample SEED` prints 60 comments, docs and test names for a reader to judge, the same for each seed.

Looks at Rust, Markdown, Python and TOML files that git tracks, test data aside. Identifiers count: `_` and camel
case are split into words, and comment lines are joined, so that a phrase is found across a line break. A line that
must keep a phrase says why: `// phrase: why`.
"""

import pathlib
import random
import re
import subprocess
import sys

PHRASES = (
    "told|heed|whoever|stood|lies|tells of|hears of|comes to|hangs on|of before|at hand|for itself|takes note"
    "|looked at|apart(?! from)|stands(?! for)"
)
BANNED = re.compile(rf"(?<![A-Za-z])({PHRASES})(?![A-Za-z])", re.I)
EXCEPT = re.compile(r"^(tests/data|tests/vectors/files|fuzz/corpus|\.ci/phrases\.py)")
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


def passages():
    """Comment blocks and test names, each with its place."""
    for name in tracked():
        if not name.endswith(".rs"):
            continue
        block, start, in_code = [], 0, False
        lines = pathlib.Path(name).read_text().split("\n")
        for number, line in enumerate(lines, 1):
            comment = re.match(r"\s*(?:///|//!|//)\s?(.*)", line)
            if comment and comment.group(1).startswith("```"):
                in_code = not in_code
            elif comment and not in_code:
                start = start or number
                block.append(comment.group(1).strip())
            elif not comment:
                in_code = False
                if block:
                    yield f"{name}:{start}", " ".join(block)
                block, start = [], 0
            if name.startswith("tests/") and line.strip() == "#[test]":
                following = next((one for one in lines[number:] if one.lstrip().startswith("fn ")), "")
                yield f"{name}:{number}", following.strip().split("(")[0]


def sample(seed):
    chosen = random.Random(seed).sample(sorted(passages()), 60)
    for number, (place, text) in enumerate(chosen, 1):
        print(f"{number}. {place}\n   {text}\n")


def main():
    if sys.argv[1:2] == ["--sample"]:
        return sample(int(sys.argv[2]))
    count = 0
    for name in sys.argv[1:] or tracked():
        for number, line in found(pathlib.Path(name).read_text()):
            count += 1
            print(f"{name}:{number}: {line.strip()}")
    if count:
        sys.exit(f"{count} lines with a banned phrase")


main()
