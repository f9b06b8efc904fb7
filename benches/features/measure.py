"""Measures the cost of each feature: crates, time of a clean build, and size of a minimal app.

    python3 benches/features/measure.py [ROW...]

Prints a Markdown table with one row for each combination of features (ROWS below). The script builds in a scratch
directory, in cargo's release profile with symbols stripped.
"""

import datetime
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CRATE = HERE.parent.parent
ROWS = {
    "no features": [],
    "`json`": ["json"],
    "`conformance`": ["conformance"],
    "`aws-lc-rs`": ["aws-lc-rs"],
    "`file` on the system's SQLite": ["file"],
    "`file`, `bundled`": ["file", "bundled"],
    "`postgres`": ["postgres"],
    "`object-store`": ["object-store"],
    "`tokio`": ["tokio"],
    "`tracing`": ["tracing"],
    "`strength`": ["strength"],
    "`pkcs11`": ["pkcs11"],
    "`jiff`": ["jiff"],
    "`chrono`": ["chrono"],
    "`nfc`": ["nfc"],
    "`transit`": ["transit"],
    "`aws-kms`": ["aws-kms"],
    "`cli`": ["cli"],
    "default: `file`, `bundled`, `json`": ["file", "bundled", "json"],
    "default and `aws-lc-rs`": ["file", "bundled", "json", "aws-lc-rs"],
    "`full`": ["full", "file", "bundled", "json", "postgres", "object-store", "tokio", "tracing", "strength", "pkcs11",
               "transit", "aws-kms", "conformance", "jiff", "chrono", "nfc"],
}
FEATURES = ["aws-kms", "aws-lc-rs", "bundled", "chrono", "cli", "conformance", "file", "full", "jiff", "json", "nfc", "object-store", "pkcs11",
            "postgres", "strength", "tokio", "tracing", "transit"]
MANIFEST = """
[package]
name = "app"
version = "0.0.0"
edition = "2024"

[features]
{features}

[dependencies]
chartlock = {{ path = "{crate}", default-features = false }}

[profile.release]
strip = true

[workspace]
"""


def app_in(scratch):
    features = "\n".join(f'{name} = ["chartlock/{name}"]' for name in FEATURES)
    manifest = MANIFEST.format(features=features, crate=CRATE)
    (scratch / "Cargo.toml").write_text(manifest)
    (scratch / "src").mkdir()
    (scratch / "src/main.rs").write_text((HERE / "app.rs").read_text())
    # Use the versions that the crate is tested with.
    (scratch / "Cargo.lock").write_text((CRATE / "Cargo.lock").read_text())
    cargo(scratch, "fetch", "--quiet")


def cargo(scratch, *arguments, target=None):
    environment = {**os.environ, "CARGO_INCREMENTAL": "0", "CARGO_TERM_COLOR": "never"}
    if target:
        environment["CARGO_TARGET_DIR"] = str(target)
    result = subprocess.run(
        ["cargo", *arguments], cwd=scratch, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return result.stdout


def crates(scratch, features, edges):
    tree = cargo(
        scratch, "tree", "--edges", edges, "--prefix", "none", "--format", "{p}", "--features", features
    )
    names = {line.removesuffix(" (*)").removesuffix(" (proc-macro)") for line in tree.splitlines()}
    return len([name for name in names if name and not name.startswith(("app ", "chartlock "))])


def times_so_far():
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), children.ru_utime + children.ru_stime


def measure(scratch, features):
    features = ",".join(features)
    with tempfile.TemporaryDirectory() as target:
        before = times_so_far()
        cargo(scratch, "build", "--quiet", "--release", "--features", features, target=target)
        seconds = [after - start for after, start in zip(times_so_far(), before)]
        binary = pathlib.Path(target, "release/app").stat().st_size
    return [
        crates(scratch, features, "normal,build"),
        crates(scratch, features, "normal,no-proc-macro"),
        *(f"{second:.0f} s" for second in seconds),
        f"{binary / 2**20:.1f} MiB",
    ]


def machine():
    rustc = subprocess.check_output(["rustc", "--version"], text=True).split()[1]
    today = datetime.date.today()
    return f"{today}, Rust {rustc}, {os.cpu_count()} cores ({platform.machine()})"


def main():
    rows = sys.argv[1:] or ROWS
    print(f"{machine()}\n")
    print("| features | crates built | linked into the app | build time | processor time | app size |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        app_in(scratch)
        for row in rows:
            cells = [row, *measure(scratch, ROWS[row])]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
