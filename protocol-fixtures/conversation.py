"""The text form of a recorded conversation (`*.pbc`).

Lines, in the order in which a proxy between the two saw the bytes:

    # remark
    C BYTES       the connecting side (worker or client) sent these
    S BYTES       the listening side (master) sent these
    c, s          that side closed its direction

BYTES: printable ASCII stands for itself, except the backslash, which is `\\\\`; every other byte is `\\xNN`.
"""

import re

_PLAIN = frozenset(range(0x20, 0x7F)) - {0x5C}


def escape(data):
    return "".join(chr(b) if b in _PLAIN else "\\\\" if b == 0x5C else f"\\x{b:02x}" for b in data)


def unescape(text):
    return re.sub(rb"\\(\\|x(..))", lambda m: b"\\" if m[1] == b"\\" else bytes([int(m[2], 16)]), text.encode("ascii"))


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
