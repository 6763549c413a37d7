#!/usr/bin/env python3
"""What Twisted makes of the recorded bytes: writes FILE.sexp beside each FILE.pbc.

    decode.py FILE.pbc...

One line for each top-level expression, in the order in which their last bytes arrived: `C` or `S`, a blank, and the
expression in the form that notation.py tells. Vocabulary words are shown as the strings they stand for.
"""

import sys

import interpreter

interpreter.with_twisted()

import conversation  # noqa: E402
import notation  # noqa: E402


def decode(path):
    sides = {"C": notation.Decoder(), "S": notation.Decoder()}
    for kind, data in conversation.read(path):
        if kind in sides:
            side = sides[kind]
            side.dataReceived(data)
            for expression in side.found:
                yield f"{kind} {notation.expression(expression)}\n"
            side.found.clear()


def main():
    for path in sys.argv[1:]:
        with open(path.removesuffix(".pbc") + ".sexp", "w", newline="\n") as out:
            out.writelines(decode(path))


if __name__ == "__main__":
    main()
