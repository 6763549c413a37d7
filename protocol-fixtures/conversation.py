"""The text form of a recorded conversation (`*.pbc`).

Lines, in the order in which a proxy between the two saw the bytes:

    # remark
    C BYTES       the connecting side (worker or client) sent these
    S BYTES       the listening side (master) sent these
    c, s          that side closed its direction

BYTES: printable ASCII stands for itself, except the backslash, which is `\\\\`; every other byte is `\\xNN`. Sixteen and
more of the same byte are `\\*NNxCOUNT;`, the count in decimal.
"""

import re

_PLAIN = frozenset(range(0x20, 0x7F)) - {0x5C}


def escape(data):
    return "".join(run(match[0]) for match in re.finditer(rb"(.)\1{15,}|.", data, re.DOTALL))


def run(same):
    if len(same) > 1:
        return f"\\*{same[0]:02x}x{len(same)};"
    return chr(same[0]) if same[0] in _PLAIN else "\\\\" if same == b"\\" else f"\\x{same[0]:02x}"


def unescape(text):
    return re.sub(rb"\\(\\|x(..)|\*(..)x(\d+);)", meant, text.encode("ascii"))


def meant(match):
    if match[1] == b"\\":
        return b"\\"
    return bytes([int(match[2] or match[3], 16)]) * int(match[4] or 1)


def write(path, remarks, events):
    """`events`: (kind, bytes or None); neighbours of one kind are joined."""
    joined = []
    for kind, data in events:
        if data and joined and joined[-1][0] == kind:
            joined[-1][1].append(data)
        else:
            joined.append((kind, [data or b""]))
    with open(path, "w", newline="\n") as out:
        out.writelines(f"# {remark}\n" for remark in remarks)
        for kind, parts in joined:
            out.write(f"{kind} {escape(b''.join(parts))}\n" if kind in "CS" else f"{kind}\n")


def read(path):
    """Gives (kind, bytes) pairs."""
    with open(path) as source:
        for line in source:
            line = line.rstrip("\n")
            if line and not line.startswith("#"):
                yield line[0], unescape(line[2:])
