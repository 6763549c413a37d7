"""How the fixtures write down what Twisted decoded, so that another decoder can be compared by its text.

Banana (`expression`): byte strings stand in double quotes, escaped as conversation.py tells and the quote as `\\"`,
integers are decimal, floats are `f` and the 16 hexadecimal digits of their IEEE 754 form, lists are in parentheses
with blanks between.

Jelly (`value`), in the same spirit:

    None True False 12 f3ff0000000000000 b"bytes" u"text as escaped UTF-8"
    [list] (tuple) {key: value} set{} frozenset{}     with ", " between; the members of sets in the order of their text
    datetime(Y M D h m s us) date(Y M D) time(h m s us) timedelta(days s us) decimal(digits exponent)
    remote(N) local(N)                                references by their number on the wire
    failure(u"kind" u"value" [u"parent" ...] u"traceback")
    unpersistable()
    <cycle>                                           a container inside itself
"""

import datetime
import decimal
import struct

from twisted.spread import banana, jelly, pb

import conversation


class Decoder(banana.Banana):
    """Twisted's decoder for one direction, from its first byte."""

    def __init__(self, dialect=b"pb"):
        super().__init__(isClient=1)
        self.setPrefixLimit(64)
        # The bytes before the choice of a dialect hold no vocabulary words, so that this reads them too.
        self.currentDialect = dialect
        self.found = []

    def expressionReceived(self, expression):
        self.found.append(expression)


def quoted(data):
    return '"' + conversation.escape(data).replace('"', '\\"') + '"'


def floating(number):
    return "f" + struct.pack("!d", number).hex()


def expression(item):
    if isinstance(item, bytes):
        return quoted(item)
    if isinstance(item, float):
        return floating(item)
    if isinstance(item, int):
        return str(item)
    return "(" + " ".join(map(expression, item)) + ")"


def text(words):
    """Twisted hands on whichever kind of string it received."""
    return "u" + quoted(words.encode() if isinstance(words, str) else words)


def failure(found):
    # Twisted keeps the list of bases where its version puts it.
    parents = getattr(found, "_parents", None) or found.parents
    return f"failure({text(found.type)} {text(found.value)} [{' '.join(map(text, parents))}] {text(found.traceback)})"


def value(item, path=()):
    simple = {None: "None", True: "True", False: "False"}
    if item is None or isinstance(item, bool):
        return simple[item]
    if isinstance(item, bytes):
        return "b" + quoted(item)
    if isinstance(item, str):
        return text(item)
    if isinstance(item, float):
        return floating(item)
    if isinstance(item, int):
        return str(item)
    if isinstance(item, datetime.datetime):
        return f"datetime({item.year} {item.month} {item.day} {item.hour} {item.minute} {item.second} {item.microsecond})"
    if isinstance(item, datetime.date):
        return f"date({item.year} {item.month} {item.day})"
    if isinstance(item, datetime.time):
        return f"time({item.hour} {item.minute} {item.second} {item.microsecond})"
    if isinstance(item, datetime.timedelta):
        return f"timedelta({item.days} {item.seconds} {item.microseconds})"
    if isinstance(item, decimal.Decimal):
        sign, digits, exponent = item.as_tuple()
        return f"decimal({'-' if sign else ''}{''.join(map(str, digits))} {exponent})"
    if isinstance(item, pb.CopiedFailure):
        return failure(item)
    if isinstance(item, pb.RemoteReference):
        return f"remote({item.luid})"
    if isinstance(item, Ours):
        return f"local({item.number})"
    if isinstance(item, jelly.Unpersistable):
        return "unpersistable()"
    return container(item, path)


def container(item, path):
    if id(item) in path:
        return "<cycle>"
    path = (*path, id(item))
    if isinstance(item, dict):
        return "{" + ", ".join(f"{value(k, path)}: {value(v, path)}" for k, v in item.items()) + "}"
    members = [value(member, path) for member in item]
    if isinstance(item, (set, frozenset)):
        return ("set{" if isinstance(item, set) else "frozenset{") + ", ".join(sorted(members)) + "}"
    return ("[" if isinstance(item, list) else "(") + ", ".join(members) + ("]" if isinstance(item, list) else ")")


# A reference that could not be read would otherwise complain about its missing attributes when it is freed.
pb.RemoteReference.doRefCount = 0


class Ours:
    """Stands for an object that was exported earlier under a number."""

    def __init__(self, number):
        self.number = number


class Broker(pb.Broker):
    """Twisted's broker with every number exported, and nothing at the other end."""

    def __init__(self):
        super().__init__()
        self.setPrefixLimit(64)
        self.disconnected = 1

    def localObjectForID(self, luid):
        return Ours(luid)

    def sendDecRef(self, luid):
        pass


def unjellied(sexp, broker=None):
    """What Twisted makes of a jellied value."""
    return (broker or Broker()).unserialize(sexp)
