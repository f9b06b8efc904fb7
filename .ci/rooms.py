#!/usr/bin/env python3
"""Measures the structure of src: lines for each room, imports that point up, sizes of files and functions.

A room is a directory below src, or a file directly in src.

    .ci/rooms.py                  the work tree
    .ci/rooms.py REVISION         an earlier revision; each file counts in the room that it has moved to since
    .ci/rooms.py --check          fails if a limit is exceeded
"""

import collections
import pathlib
import re
import subprocess
import sys

# From the top down; rooms in one row do not import each other.
ROWS = [
    ["bin"], ["lib"], ["guides"], ["asynchronous"], ["session"], ["audit", "verify"], ["lifecycle", "rotation"], ["records"], ["vault"], ["access"],
    ["journal"], ["keys"], ["storage"], ["group_commit"], ["format"], ["crypto"], ["secret", "id", "telemetry"], ["error"],
]
LIMITS = {"biggest room, % of src": 25, "function, p90 lines": 25, "biggest function": 60, "biggest file": 400,
          "imports that point up": 0, "basenames used twice in a room": 0}
USE = re.compile(r"^[ ]*(?:pub(?:\([^)]*\))? )?use ([^;]*);", re.M)
PATH = re.compile(r"(?<![\w:$])((?:crate|super)(?:::\w+)+)")
FUNCTION = re.compile(r"( *)(?:pub(?:\([^)]*\))? )?(?:const )?fn (\w+)")


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


def work_tree():
    return {str(path.relative_to("src")): path.read_text() for path in pathlib.Path("src").rglob("*.rs")}


def at(revision):
    names = git("ls-tree", "-r", "--name-only", revision, "src").splitlines()
    return {name[4:]: git("show", f"{revision}:{name}") for name in names if name.endswith(".rs")}


def moves_since(revision):
    """Maps each old path to its path in the work tree, as git detects renames."""
    found = {}
    for line in git("diff", "-M30%", "--diff-filter=R", "--name-status", revision, "--", "src").splitlines():
        _, old, new = line.split("\t")
        found[old.removeprefix("src/")] = new.removeprefix("src/")
    return found


def module(path):
    parts = path.removesuffix(".rs").split("/")
    return tuple(parts[:-1] if parts[-1] == "mod" else parts)


def room(path):
    return path.split("/")[0].removesuffix(".rs")


def flatten(tree, prefix=()):
    """Returns every path of a `use` tree."""
    tree = tree.strip()
    group = re.match(r"^((?:\w+::)*)\{(.*)\}$", tree, re.S)
    if not group:
        return [prefix + tuple(tree.split(" as ")[0].strip().split("::"))]
    prefix += tuple(part for part in group.group(1).split("::") if part)
    parts, depth = [""], 0
    for char in group.group(2):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [path for part in parts if part.strip() for path in flatten(part, prefix)]


def absolute(path, own):
    if path[0] == "crate":
        return path[1:]
    own = own[:]
    while path and path[0] == "super":
        own, path = own[:-1], path[1:]
    return own + path


def imports(sources):
    """Yields (file, file of the imported module) for each import inside the crate, following re-exports."""
    modules = {module(path): path for path in sources}
    named, exported = [], {}
    for path, text in sources.items():
        own = module(path)
        code = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("//"))
        paths = [one for use in USE.findall(code) for one in flatten(use)]
        paths += [tuple(one.split("::")) for one in PATH.findall(USE.sub("", code))]
        for one in paths:
            if one[0] in ("crate", "super"):
                target = absolute(one, own)
            elif own + one[:1] in modules:
                target = own + one
            else:
                continue
            exported.setdefault(own + (one[-1],), target)
            named.append((path, target))
    for path, target in named:
        for _ in range(8):
            longest = next((target[:size] for size in range(len(target), 0, -1) if target[:size] in modules), None)
            if longest is None or len(target) == len(longest):
                break
            follow = exported.get(longest + (target[len(longest)],))
            if follow is None or follow[:len(longest) + 1] == longest + (target[len(longest)],):
                break
            target = follow + target[len(longest) + 1:]
        home = next((modules[target[:size]] for size in range(len(target), 0, -1) if target[:size] in modules), None)
        if home and home != path:
            yield path, home


def functions(text):
    lines = text.split("\n")
    for start, line in enumerate(lines):
        match = FUNCTION.match(line)
        if match is None or line.rstrip().endswith((";", "}")):
            continue
        end = start
        while end < len(lines) and lines[end] != match.group(1) + "}" and not (
                end > start and lines[end].endswith(";") and not lines[end].startswith(match.group(1) + " ")):
            end += 1
        yield end - start + 1, match.group(2)


def main():
    arguments = [one for one in sys.argv[1:] if one != "--check"]
    sources = at(arguments[0]) if arguments else work_tree()
    moved = moves_since(arguments[0]) if arguments else {}
    now = lambda path: moved.get(path, path)
    rank = {name: place for place, row in enumerate(ROWS) for name in row}

    lines = collections.Counter()
    for path, text in sources.items():
        lines[room(path)] += text.count("\n")
    total = sum(lines.values())
    for name, count in lines.most_common():
        print(f"{name:14} {count:6} {100 * count / total:5.1f} %")

    upward = sorted({
        f"{path} -> {home}" for path, home in imports(sources)
        if room(now(path)) != room(now(home)) and room(path) != "lib"
        and rank.get(room(now(home)), 99) <= rank.get(room(now(path)), 99)
    })
    print("\n".join(upward))

    sizes = sorted((size, path, name) for path, text in sources.items() for size, name in functions(text))
    basenames = collections.Counter((room(path), path.split("/")[-1]) for path in sources if path[-6:] != "mod.rs")
    biggest = max(sources, key=lambda path: sources[path].count("\n"))
    measured = {
        "biggest room, % of src": round(100 * max(lines.values()) / total, 1),
        "function, p90 lines": sizes[len(sizes) * 9 // 10][0],
        "biggest function": sizes[-1][0],
        "biggest file": sources[biggest].count("\n"),
        "imports that point up": len(upward),
        "basenames used twice in a room": sum(count > 1 for count in basenames.values()),
    }
    for what, value in measured.items():
        print(f"{what:32} {value:6}   limit {LIMITS[what]}")
    print(f"{total} lines in {len(sources)} files; {len(sizes)} functions; biggest: {sizes[-1][1]} {sizes[-1][2]}, {biggest}")
    if "--check" in sys.argv and any(value > LIMITS[what] for what, value in measured.items()):
        sys.exit("a limit is exceeded")


main()
