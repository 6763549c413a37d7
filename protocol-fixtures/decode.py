#!/usr/bin/env python3
"""What Twisted makes of the recorded bytes: writes FILE.sexp beside each FILE.pbc.

    python decode.py FILE.pbc...        (with the Python of the environment master-4.3.0)

One line for each top-level expression, in the order in which their last bytes arrived: `C` or `S`, a blank, and the
expression. Byte strings stand in double quotes with `\\"`, `\\\\` and `\\xNN` as escapes, integers are decimal, floats are
`f` and the 16 hexadecimal digits of their IEEE 754 form, lists are in parentheses. Vocabulary words are shown as the
strings they stand for.
"""

import struct
import sys

from twisted.spread import banana

import conversation


class Decoder(banana.Banana):
    """Twisted's decoder for one direction, from its first byte."""

    def __init__(self):
        super().__init__(isClient=1)
        self.setPrefixLimit(64)
        # The bytes before the choice of a dialect hold no vocabulary words, so that this reads them too.
        self.currentDialect = b"pb"
        self.found = []

    def expressionReceived(self, expression):
        self.found.append(expression)


def show(value):
    if isinstance(value, bytes):
        return '"' + conversation.escape(value).replace('"', '\\"') + '"'
    if isinstance(value, float):
        return "f" + struct.pack("!d", value).hex()
    if isinstance(value, int):
        return str(value)
    return "(" + " ".join(map(show, value)) + ")"


def decode(path):
    sides = {"C": Decoder(), "S": Decoder()}
    for kind, data in conversation.read(path):
        if kind in sides:
            side = sides[kind]
            side.dataReceived(data)
            for expression in side.found:
                yield f"{kind} {show(expression)}\n"
            side.found.clear()


def main():
    for path in sys.argv[1:]:
        with open(path.removesuffix(".pbc") + ".sexp", "w", newline="\n") as out:
            out.writelines(decode(path))


if __name__ == "__main__":
    main()
