"""Fails if a crate in the normal dependency tree requires a newer Rust than this crate states.

Clippy's `incompatible_msrv` lint checks our own code; this script checks the dependencies.
"""

import json
import subprocess
import sys


def version(text):
    parts = [int(part) for part in text.split(".")]
    return tuple(parts + [0] * (3 - len(parts)))


def main():
    command = ["cargo", "metadata", "--locked", "--features", "full,cli,aws-lc-rs", "--format-version", "1"]
    metadata = json.loads(subprocess.check_output(command))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    stated = version(packages[root]["rust_version"])
    seen, waiting = set(), [root]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        for dependency in nodes[current]["deps"]:
            kinds = {kind["kind"] for kind in dependency["dep_kinds"]}
            if kinds & {None, "build"}:
                waiting.append(dependency["pkg"])
    newer = [
        f'{packages[id]["name"]} {packages[id]["version"]} requires {packages[id]["rust_version"]}'
        for id in sorted(seen)
        if packages[id]["rust_version"] and version(packages[id]["rust_version"]) > stated
    ]
    print(f"{len(seen)} crates, Rust {packages[root]['rust_version']}")
    for line in newer:
        print(line)
    sys.exit(1 if newer else 0)


main()
