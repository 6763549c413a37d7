#!/usr/bin/env python3
"""Fills the corpora from the protocol fixtures: `seeds.py`, then `cargo +nightly fuzz run TARGET`."""

import hashlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
FIXTURES = HERE.parent / "protocol-fixtures"
sys.path.insert(0, str(FIXTURES))

import conversation  # noqa: E402

# Longer inputs are slow and say nothing new.
LONGEST = 4096


def add(target, data):
    directory = HERE / "corpus" / target
    directory.mkdir(parents=True, exist_ok=True)
    if 0 < len(data) <= LONGEST:
        (directory / hashlib.sha1(data).hexdigest()).write_bytes(data)


def main():
    vectors = json.loads((FIXTURES / "vectors" / "twisted.json").read_text())
    for section, field in (("banana", "pb"), ("decoding", "bytes"), ("jelly", "pb"), ("handmade_jelly", "pb")):
        for case in vectors[section]:
            data = bytes.fromhex(case[field])
            add("banana", data)
            if "jelly" in section:
                add("jelly", data)
    for path in sorted((FIXTURES / "conversations").glob("*/*.pbc")):
        for kind, choices in (("C", (0, 16, 254)), ("S", (1, 3, 255))):
            stream = b"".join(data for one, data in conversation.read(path) if one == kind)
            add("banana", stream[:LONGEST])
            add("jelly", stream[:LONGEST])
            for choice in choices:
                # The first byte tells the target what role to play and how to behave.
                add("broker", bytes([choice]) + stream[: LONGEST - 1])


if __name__ == "__main__":
    main()
