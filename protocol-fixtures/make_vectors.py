#!/usr/bin/env python3
"""Writes vectors/twisted.json: small cases for Banana, Jelly and the login, all made by Twisted.

    make_vectors.py [--check]

`--check` writes nothing and fails when the file would change. README.md tells what the fields mean.
"""

import datetime
import decimal
import json
import pathlib
import struct
import sys
from io import BytesIO

import interpreter

interpreter.with_twisted()

import twisted  # noqa: E402
from twisted.cred.error import UnauthorizedLogin  # noqa: E402
from twisted.spread import banana, flavors, pb  # noqa: E402

import notation  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parent / "vectors" / "twisted.json"
SIZE_LIMIT = banana.SIZE_LIMIT
LARGEST = 2**448 - 1


def encoded(expression, dialect):
    encoder = banana.Banana()
    encoder.setPrefixLimit(64)
    encoder.currentDialect = dialect
    out = BytesIO()
    encoder._encode(expression, out.write)
    return out.getvalue()


def integers():
    boundaries = {
        0,
        1,
        2**31 - 1,
        2**31,
        2**32,
        2**53,
        2**62,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        2**127,
        2**128,
        LARGEST - 1,
        LARGEST,
    }
    for bits in range(7, 71, 7):
        boundaries |= {2**bits - 1, 2**bits, 2**bits + 1}
    return sorted(boundaries | {-number for number in boundaries} | {-(2**31) - 1, -(2**63) - 1})


def floats():
    special = [
        0.0,
        -0.0,
        1.5,
        -2.25,
        0.1,
        1e300,
        -1e-300,
        5e-324,
        2.2250738585072014e-308,
        1.7976931348623157e308,
        float("inf"),
        float("-inf"),
    ]
    return special + [
        struct.unpack("!d", bytes.fromhex(bits))[0]
        for bits in ("7ff8000000000000", "fff8000000000000", "7ff0000000000001")
    ]


def strings():
    words = sorted(banana.Banana.outgoingVocabulary, key=banana.Banana.outgoingVocabulary.get)
    near = (
        [word.swapcase() for word in words[:3]]
        + [word + b" " for word in words[:3]]
        + [word[:-1] for word in words[:3]]
    )
    never = [
        b"unicode",
        b"boolean",
        b"root",
        b"respond",
        b"didNotUnderstand",
        b"set",
        b"frozenset",
        b"datetime",
        b"decimal",
        b"pb",
        b"none",
    ]
    sizes = [b"x" * size for size in (1, 126, 127, 128, 129, 16383, 16384)]
    return [b"", *words, *near, *never, *sizes, "é☃𐍈".encode(), bytes(range(256)), b"\xff\xfe", b'"quoted" \\back']


def lists():
    deep = b"x"
    for _ in range(40):
        deep = [deep]
    return [
        [],
        [[]],
        [[], []],
        [[[]], 0],
        [b""],
        [0] * 127,
        [0] * 128,
        [b"None"] * 130,
        deep,
        [b"pb", b"none"],
        [b"version", 6],
        [b"decref", 1],
        [b"uncache", 2],
        [b"decache", 2],
        [b"message", 1, b"root", b"login", 1, [b"tuple", b"w1"], [b"dictionary"]],
        [b"message", 2**31, 7, b"update", 0, [b"tuple", [b"list"]], [b"dictionary", [[b"unicode", b"k"], -1]]],
        [b"answer", 3, [b"None"]],
        [b"error", 3, [b"unpersistable", b"why"]],
        [b"didNotUnderstand", b"what"],
        [1, [2, [3, [b"a", -4, 0.5]]], b"z", 2**70, -(2**70), [], float("inf")],
    ]


def banana_cases():
    for expression in [*integers(), *floats(), *strings(), *lists()]:
        yield {
            "sexp": notation.expression(expression),
            "none": encoded(expression, b"none").hex(),
            "pb": encoded(expression, b"pb").hex(),
        }


def verdict(data, dialect=b"pb"):
    """What Twisted's decoder says: expressions, how the rest stands, and the error's class."""
    decoder = notation.Decoder(dialect)
    try:
        decoder.dataReceived(data)
    except Exception as error:
        return {"sexps": list(map(notation.expression, decoder.found)), "end": "error", "error": type(error).__name__}
    rest = "incomplete" if decoder.buffer or decoder.listStack else "complete"
    return {"sexps": list(map(notation.expression, decoder.found)), "end": rest}


def odd_bytes():
    """What no sender writes but a receiver has to take or refuse."""
    cases = {
        "absent prefix of an integer": b"\x81",
        "absent prefix of a string": b"\x82",
        "absent prefix of a list": b"\x80",
        "absent prefix of a vocabulary word": b"\x87",
        "leading zero digits": b"\x05\0\0\0\x81",
        "trailing zero digits of a length": b"\x01\0\0\x82a",
        "negative zero": b"\0\x83",
        "negative zero as a long": b"\0\x86",
        "small number as a long": b"\x05\x85",
        "large number as an integer": b"\x7f" * 12 + b"\x81",
        "large negative number as an integer": b"\x7f" * 12 + b"\x83",
        "prefix of a float": b"\x11\x22\x84" + bytes(8),
        "64 digits": b"\x01" * 64 + b"\x81",
        "65 digits": b"\x01" * 65 + b"\x81",
        "64 zero digits": bytes(64) + b"\x81",
        "65 zero digits": bytes(65) + b"\x81",
        "64 zero digits of a list": bytes(64) + b"\x80",
        "64 digits without a type": b"\x01" * 64,
        "65 digits without a type": b"\x01" * 65,
        "65 digits of a float": b"\x01" * 65 + b"\x84" + bytes(8),
        "65 digits of an unknown type": b"\x01" * 65 + b"\x88",
        "length of 64 digits": b"\x01" * 64 + b"\x82",
        "list of 64 digits": b"\x01" * 64 + b"\x80",
        "vocabulary number of 64 digits": b"\x01" * 64 + b"\x87",
        "largest string announced": banana_number(SIZE_LIMIT) + b"\x82",
        "string too long announced": banana_number(SIZE_LIMIT + 1) + b"\x82",
        "largest list announced": banana_number(SIZE_LIMIT) + b"\x80",
        "list too long announced": banana_number(SIZE_LIMIT + 1) + b"\x80",
        "error inside a list": b"\x03\x80\x01\x81" + banana_number(SIZE_LIMIT + 1) + b"\x82",
        "expressions before an error": b"\x01\x81\x01\x80\x02\x81\x90",
        "vocabulary number 0": b"\0\x87",
        "vocabulary number 31": b"\x1f\x87",
        "vocabulary number 32": b"\x20\x87",
        "vocabulary number 159, whose low digit is 31": b"\x1f\x01\x87",
        "vocabulary number 31 with zero digits": b"\x1f\0\0\x87",
        "half a float": b"\x84\0\0\0\0",
        "half a string": b"\x05\x82abc",
        "half a list": b"\x02\x80\x01\x81",
        "only digits": b"\x01\x02",
        "nothing": b"",
        "two expressions": b"\x01\x81\x02\x81",
        "an expression and a half": b"\x01\x81\x02\x80\x01\x81",
    }
    cases.update(
        {f"type byte {byte:02x}": b"\x01" + bytes([byte]) for byte in (*range(0x88, 0x90), 0xA0, 0xC2, 0xFF)}
    )
    return cases


def banana_number(number):
    out = []
    banana.int2b128(number, out.append)
    return b"".join(out)


def decoding_cases():
    for name, data in odd_bytes().items():
        yield {"name": name, "bytes": data.hex(), "dialect": "pb", **verdict(data)}
    for name, data in {"a word": b"\x01\x87", "an unknown word": b"\x20\x87"}.items():
        yield {
            "name": f"{name} without the vocabulary",
            "bytes": data.hex(),
            "dialect": "none",
            **verdict(data, b"none"),
        }


def refused_to_send():
    for name, item in {
        "string of one byte too many": b"x" * (SIZE_LIMIT + 1),
        "list of one element too many": [0] * (SIZE_LIMIT + 1),
        "integer too large": LARGEST + 1,
        "integer too small": -LARGEST - 1,
    }.items():
        try:
            encoded(item, b"pb")
        except banana.BananaError:
            yield name
        else:
            raise AssertionError(f"Twisted sends a {name}")


def size_cases():
    """`head`, then `fill` repeated `times`."""
    for name, head, fill, times in (
        ("largest string", banana_number(SIZE_LIMIT) + b"\x82", b"x", SIZE_LIMIT),
        ("largest list", banana_number(SIZE_LIMIT) + b"\x80", b"\x01\x81", SIZE_LIMIT),
        ("largest list of empty lists", banana_number(SIZE_LIMIT) + b"\x80", b"\x80", SIZE_LIMIT),
        ("largest string in a list", b"\x01\x80" + banana_number(SIZE_LIMIT) + b"\x82", b"\0", SIZE_LIMIT),
        ("string of one byte too many", banana_number(SIZE_LIMIT + 1) + b"\x82", b"x", SIZE_LIMIT + 1),
        ("list of one element too many", banana_number(SIZE_LIMIT + 1) + b"\x80", b"\x01\x81", SIZE_LIMIT + 1),
        ("a thousand lists deep", b"", b"\x01\x80", 1000),
        ("ten thousand lists deep", b"", b"\x01\x80", 10000),
    ):
        decoder = notation.Decoder()
        try:
            decoder.dataReceived(head + fill * times)
            accepted = True
        except banana.BananaError:
            accepted = False
        yield {"name": name, "head": head.hex(), "fill": fill.hex(), "times": times, "accepted": accepted}


class Mine(flavors.Referenceable):
    pass


def raised(error):
    try:
        raise error
    except Exception:
        return pb.CopyableFailure()


def python_values():
    shared, pair = ["x"], ("a", 1)
    cyclic = [1]
    cyclic.append(cyclic)
    knot = {"name": "knot"}
    knot["self"] = knot
    twins = [[], []]
    twins[0].append(twins[1])
    twins[1].append(twins[0])
    mine = Mine()
    return [
        ("None", None),
        ("True", True),
        ("False", False),
        ("zero", 0),
        ("negative", -7),
        ("large", 2**80),
        ("float", 0.5),
        ("nan", float("nan")),
        ("bytes", b"b"),
        ("empty bytes", b""),
        ("bytes that are a word", b"None"),
        ("bytes that are not UTF-8", b"\xff\x00"),
        ("text", "é☃"),
        ("empty text", ""),
        ("text that is a word", "list"),
        ("text with controls", "a\0b\r\n\x1b[0m"),
        ("list", [1, "a", b"b"]),
        ("empty list", []),
        ("tuple", (1, None)),
        ("empty tuple", ()),
        ("nested", [[(1,), []], ({},)]),
        ("dictionary", {"a": 1, b"b": [2]}),
        ("empty dictionary", {}),
        ("keys of all kinds", {1: 2, 0.5: True, None: (), ("t", 1): "v", "": ""}),
        ("same text as text and bytes", {"k": 1, b"k": 2}),
        ("set", {1}),
        ("set of three", {3, 1, 2}),
        ("empty set", set()),
        ("frozenset", frozenset({(1, 2)})),
        (
            "command",
            {
                "command": ["make", ("obfuscated", "secret", "XXXX")],
                "env": {"A": None},
                "timeout": 1200,
                "usePTY": False,
            },
        ),
        ("list twice", [shared, shared]),
        ("list three times", [shared, [shared], {"k": shared}]),
        ("tuple twice", (pair, pair)),
        ("empty tuple twice", [(), ()]),
        ("two shared lists", [shared, pair, shared, pair]),
        ("list in itself", cyclic),
        ("dictionary in itself", knot),
        ("two lists in each other", twins),
        ("datetime", datetime.datetime(2020, 1, 2, 3, 4, 5, 6)),
        ("datetime without microseconds", datetime.datetime(1, 1, 1)),
        ("date", datetime.date(2020, 12, 31)),
        ("time", datetime.time(23, 59, 59, 999999)),
        ("timedelta", datetime.timedelta(1, 2, 3)),
        ("negative timedelta", datetime.timedelta(seconds=-1)),
        ("decimal", decimal.Decimal("-12.50")),
        ("large decimal", decimal.Decimal("1234567890123456789012345E+10")),
        ("decimal zero", decimal.Decimal("0")),
        ("reference", mine),
        ("reference twice", [mine, mine]),
        ("failure", raised(ValueError("bad é"))),
        ("failure of a login", raised(UnauthorizedLogin())),
        ("failure without a message", raised(KeyError())),
        ("failure of no such method", raised(flavors.NoSuchMethod("No such method: remote_x"))),
    ]


def jelly_cases():
    for name, item in python_values():
        broker = notation.Broker()
        sexp = broker.serialize(item)
        # What arrives after a journey over the wire, not what was sent: a tuple is a list there.
        decoder = notation.Decoder()
        data = encoded(sexp, b"pb")
        decoder.dataReceived(data)
        (arrived,) = decoder.found
        yield {
            "name": name,
            "sexp": notation.expression(sexp),
            "pb": data.hex(),
            "value": notation.value(notation.unjellied(arrived)),
        }


def handmade_jelly():
    """Forms that no Python value makes, or that are wrong."""
    return {
        "local object": [b"local", 3],
        "local object in a list": [b"list", [b"local", 3], [b"remote", 3]],
        "failure with keys in bytes": failure_of(
            [
                b"dictionary",
                [b"type", b"exceptions.KeyError"],
                [b"value", b"'x'"],
                [b"parents", [b"list", b"exceptions.KeyError", b"exceptions.LookupError"]],
                [b"traceback", b"Traceback unavailable\n"],
                [b"frames", [b"list"]],
                [b"stack", [b"list"]],
                [b"tb", [b"None"]],
            ]
        ),
        "smallest failure": failure_of(
            [
                b"dictionary",
                [u("type"), b"a.B"],
                [u("value"), u("v")],
                [u("parents"), [b"list", u("a.B")]],
                [u("traceback"), u("t")],
            ]
        ),
        "dereference before its reference": [b"list", [b"dereference", 1], [b"reference", 1, [b"list", 5]]],
        "dereference of nothing": [b"list", [b"dereference", 9]],
        "reference with a large number": [b"list", [b"reference", 1000, [b"tuple"]], [b"dereference", 1000]],
        "same reference number twice": [b"list", [b"reference", 1, [b"list"]], [b"reference", 1, [b"list"]]],
        "unpersistable": [b"unpersistable", b"why"],
        "text that is not UTF-8": [b"unicode", b"\xff"],
        "text without content": [b"unicode"],
        "text of a number": [b"unicode", 5],
        "boolean of another word": [b"boolean", b"maybe"],
        "boolean without content": [b"boolean"],
        "empty expression": [],
        "number as a type": [5, 6],
        "list as a type": [[b"list"], 1],
        "unknown type": [b"bogus", 1],
        "class that is not known": [b"os.system", [b"dictionary"]],
        "module": [b"module", b"os"],
        "class": [b"class", b"os.path"],
        "function": [b"function", b"os.system"],
        "instance": [b"instance", [b"class", b"a.B"], [b"dictionary"]],
        "dictionary with a lone key": [b"dictionary", [b"a"]],
        "dictionary with a triple": [b"dictionary", [b"a", 1, 2]],
        "dictionary with a string for a pair": [b"dictionary", b"ab"],
        "dictionary with a list as key": [b"dictionary", [[b"list"], 1]],
        "dictionary with a key twice": [b"dictionary", [b"a", 1], [b"a", 2]],
        "None with content": [b"None", 1],
        "remote without a number": [b"remote"],
        "datetime of letters": [b"datetime", b"a b c"],
        "date out of range": [b"date", b"2020 13 1"],
        "set with a list": [b"set", [b"list"]],
        "cache": [b"cache", 1, [b"None"]],
        "cached": [b"cached", 1],
    }


def u(text):
    return [b"unicode", text.encode()]


def failure_of(state):
    return [b"twisted.spread.pb.CopyableFailure", state]


def handmade_cases():
    for name, sexp in handmade_jelly().items():
        case = {"name": name, "sexp": notation.expression(sexp), "pb": encoded(sexp, b"pb").hex()}
        try:
            yield {**case, "value": notation.value(notation.unjellied(sexp))}
        except Exception as error:
            yield {**case, "error": type(error).__name__}


def login_cases():
    for password, challenge in [
        (b"sekrit", bytes(range(16))),
        ("pässw☃rd".encode(), b"\xff" * 16),
        (b"", b""),
        (b"x" * 1000, b"c" * 100),
        (b"\0\xff", b"\0"),
        (b"None", b"None"),
    ]:
        yield {
            "password": password.hex(),
            "challenge": challenge.hex(),
            "response": pb.respond(challenge, password).hex(),
        }


def document():
    return {
        "made_by": f"Twisted {twisted.__version__}, Python {'.'.join(map(str, sys.version_info[:2]))}",
        "size_limit": SIZE_LIMIT,
        "prefix_limit": banana._PREFIX_LIMIT,
        "version": pb.Broker.version,
        "vocabulary": {word.decode(): number for word, number in banana.Banana.outgoingVocabulary.items()},
        "banana": list(banana_cases()),
        "decoding": list(decoding_cases()),
        "sizes": list(size_cases()),
        "refused_to_send": list(refused_to_send()),
        "jelly": list(jelly_cases()),
        "handmade_jelly": list(handmade_cases()),
        "login": list(login_cases()),
    }


def main():
    text = json.dumps(document(), indent=1, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        if OUT.read_text() != text:
            sys.exit(f"{OUT.name} is not what this Twisted makes; run make_vectors.py and look at the difference")
        return
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(text)


if __name__ == "__main__":
    main()
