#!/usr/bin/env python3
"""Tells what Twisted makes of bytes, for tests that compare another decoder with it.

    python twisted_oracle.py            (with the Python of the environment master-4.3.0)

Reads cases from standard input: a length of four bytes (big-endian), then that many bytes. Answers each with the same
framing, in UTF-8 text of one line per fact:

    S EXPRESSION      a top-level Banana expression, in the notation of protocol-fixtures/notation.py
    V VALUE           what the expression above is as Jelly
    E CLASS           the expression above is no Jelly; the class of the exception
    end complete      all bytes made expressions; `incomplete` when some wait for more; `error CLASS` when they cannot be

Ends at the end of its input.
"""

import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "protocol-fixtures"))

import notation  # noqa: E402


def facts(data):
    decoder = notation.Decoder()
    try:
        decoder.dataReceived(data)
        end = "incomplete" if decoder.buffer or decoder.listStack else "complete"
    except Exception as error:
        end = f"error {type(error).__name__}"
    for expression in decoder.found:
        yield f"S {notation.expression(expression)}"
        try:
            yield f"V {notation.value(notation.unjellied(expression))}"
        except Exception as error:
            yield f"E {type(error).__name__}"
    yield f"end {end}"


def main():
    source, out = sys.stdin.buffer, sys.stdout.buffer
    # Mutated lists nest deeper than Python usually allows.
    sys.setrecursionlimit(10000)
    while header := source.read(4):
        data = source.read(struct.unpack("!I", header)[0])
        answer = "\n".join(facts(data)).encode()
        out.write(struct.pack("!I", len(answer)) + answer)
        out.flush()


if __name__ == "__main__":
    main()
