#!/usr/bin/env python3
"""Writes what Buildbot's Interpolate makes of many texts, for our own parser to be held against.

    make_interpolate_vectors.py [FILE]

Run it with a Python that has the Buildbot master of the version that is to be matched. FILE defaults to
`protocol-fixtures/vectors/interpolate.json`. Each entry has the text and either `result` or, where Buildbot takes the
text and cannot render it, `render_error`, or, where it refuses the text, `parse_error`.
"""

import itertools
import json
import pathlib
import sys

import buildbot
from buildbot.config import ConfigErrors
from buildbot.process.properties import Interpolate, Properties

FILE = pathlib.Path(__file__).resolve().parents[2] / "protocol-fixtures" / "vectors" / "interpolate.json"

PROPERTIES = {
    "text": "value",
    "words": "two words",
    "empty": "",
    "zero": 0,
    "one": 1,
    "negative": -42,
    "big": 123456789012345678,
    "float": 1.5,
    "whole_float": 3.0,
    "zero_float": 0.0,
    "tiny": 1e-05,
    "small": 0.0001,
    "huge": 1e16,
    "large": 1234567890123456.0,
    "third": 0.1,
    "googol": 1e100,
    "yes": True,
    "no": False,
    "none": None,
    "list": ["a", 1, None, True, 2.5, ["nested"], {"k": "v"}],
    "empty_list": [],
    "dict": {"a": 1, "b": "two", "c": [None]},
    "empty_dict": {},
    "quotes": ["it's", 'a "word"', "it's a \"word\"", "back\\slash", "tab\tnewline\nreturn\r", "\u0000\u001f\u007f"],
    "unicode": ["gänger", "\u00a0", "\u200b", "\u2028", "日本", "\U0001f600", "e\u0301", "\ue000", "\u0378", "\u00ad"],
    "accent": "gänger 日本",
    "with.dot": "dotted",
    "with-dash": "dashed",
    "percent": "100% (sure)",
}
SOURCES = [
    {"codebase": "", "branch": "main", "revision": None, "repository": "https://example.org/r.git", "project": ""},
    {"codebase": "lib", "branch": None, "revision": "abc123", "repository": "r2", "project": "p2"},
]
WORKER = {"admin": "someone", "numcpus": 8, "empty": "", "none": None}
SECRETS = {"token": "s3cret", "blank": ""}

FORMS = ["", ":-", ":-default", ":~default", ":+present", ":?|yes|no", ":#?|yes|no", ":?:yes:no", ":#?:yes:no"]

TEXTS = [
    # Around the forms.
    "%(prop:text)s", "a %(prop:text)s b %(prop:one)s c", "100%% of %(prop:text)s", "%%(prop:text)s %(prop:one)s",
    "%(prop:text)s%%", "%(prop:missing)s", "%(prop:missing:-)s|", "%(prop:missing:-50%%)s", "%(prop:text:-50%%)s",
    "%(prop:missing:-a:b:c)s", "%(prop:missing:~a:-b)s", "%(prop:missing:-(in parentheses))s",
    "%(prop:missing:- spaced )s", "%(prop:missing:-é日)s", "%(prop:text)s\n%(prop:one)s\n",
    # Defaults in defaults.
    "%(prop:missing:-%(prop:text)s)s", "%(prop:missing:-%(prop:missing:-%(prop:one)s)s)s",
    "%(prop:empty:~%(prop:none:~%(prop:text)s)s)s", "%(prop:missing:-x%(src::branch)sy)s",
    "%(prop:text:+%(prop:one)s-%(prop:yes)s)s", "%(prop:text:?|%(prop:one)s|%(prop:yes)s)s",
    "%(prop:missing:?|%(prop:one)s|%(prop:yes)s)s", "%(prop:one:#?|%(prop:list:#?|a|b)s|c)s",
    "%(prop:zero:#?:a:%(prop:missing:-b)s)s", "%(prop:missing:?|a|50%%)s", "%(prop:text:?|50%%|a)s",
    # Ternaries and their delimiters.
    "%(prop:text:?|a|)s.", "%(prop:missing:?|a|)s.", "%(prop:text:?||b)s.", "%(prop:text:?|||)s.",
    "%(prop:text:?|a|b|c)s", "%(prop:missing:?|a|b|c)s", "%(prop:text:?éaéb)s", "%(prop:missing:?éaéb)s",
    "%(prop:text:?xaxb)s", "%(prop:text:? a b)s", "%(prop:text:?|(a|b)|c)s", "%(prop:missing:?|(a|b)|c)s",
    "%(prop:text:#?-a-b)s", "%(prop:no:#?-a-b)s", "%(prop:text:?%a%b)s",
    # Sources.
    "%(src::branch)s", "%(src::revision)s", "%(src::repository)s", "%(src::project)s", "%(src::codebase)s",
    "%(src:lib:branch)s", "%(src:lib:revision)s", "%(src:lib:codebase)s", "%(src:other:branch)s",
    "%(src::nothing)s", "%(src::revision:-HEAD)s", "%(src::revision:~HEAD)s", "%(src::branch:~HEAD)s",
    "%(src::revision:?|yes|no)s", "%(src::revision:#?|yes|no)s", "%(src::branch:+b)s", "%(src:other:branch:-none)s",
    "%(src::nothing:-none)s",
    # Workers.
    "%(worker:admin)s", "%(worker:numcpus)s", "%(worker:none)s", "%(worker:missing)s", "%(worker:missing:-1)s",
    "%(worker:empty:~e)s", "%(worker:numcpus:?|many|one)s", "-j%(worker:numcpus:-1)s",
    # Secrets.
    "%(secret:token)s", "%(secret:blank)s", "%(secret:missing)s", "%(secret:missing:-d)s", "%(secret:blank:-d)s",
    "%(secret:blank:~d)s", "%(secret:token:+yes)s", "%(secret:missing:+yes)s", "%(secret:missing:?|yes|no)s",
    "%(secret:missing:#?|yes|no)s", "%(secret:blank:#?|yes|no)s", "%(secret:token:#?|yes|no)s",
    # Conversions.
    "%(prop:text)10s|", "%(prop:text)-10s|", "%(prop:text)010s|", "%(prop:text).3s|", "%(prop:text)10.3s|",
    "%(prop:text)-10.3s|", "%(prop:text).s|", "%(prop:text).0s|", "%(prop:text)2s|", "%(prop:accent)12s|",
    "%(prop:accent).3s|", "%(prop:one)5s|", "%(prop:text)+s|", "%(prop:text) s|", "%(prop:text)#s|",
    "%(prop:text)ls|", "%(prop:text)hs|", "%(prop:text)- 0+#10s|", "%(prop:none)5s|", "%(prop:missing)5s|",
    "%(prop:text)r", "%(prop:one)r", "%(prop:none)r", "%(prop:missing)r", "%(prop:accent)r", "%(prop:accent)a",
    "%(prop:list)r", "%(prop:quotes)a", "%(prop:unicode)a", "%(prop:unicode)r", "%(prop:text)10r|",
    "%(prop:text).3r|", "%(prop:percent)s",
    # Refused.
    "%(prop:text)", "%(prop:text", "%(prop:text)z", "%(prop:text)10", "%(prop:text).", "%(text)s", "%(foo:text)s",
    "%(prop:a b)s", "%(prop:a/b)s", "%(prop:text:)s", "%(prop:text:default)s", "%(prop:text:=x)s", "%(prop:text:#)s",
    "%(prop:text:?)s", "%(prop:text:?|a)s", "%(prop:text:?|abc)s", "%(prop:text:?(a(b)s", "%(src:branch)s",
    "%(src:a b:branch)s", "%(src::a b)s", "%(prop:missing:-50%)s", "%(prop:text)s 50%", "%(prop:text)s 50% off",
    "%(prop:missing:-%(foo)s)s", "%(prop:text)d", "%(prop:one)d", "%(prop:one)05d", "%(prop:float)f", "%(prop:one)x",
    "%(prop:one)c", "%(prop:text)*s", "%(prop:text)e",
]
for name, form in itertools.product(PROPERTIES, FORMS):
    TEXTS.append(f"%(prop:{name}{form})s")


class SecretsService:
    """Answers as SecretManager does, from a dictionary."""

    def get(self, name):
        return Secret(SECRETS[name]) if name in SECRETS else None


class Secret:
    def __init__(self, value):
        self.value = value


class Build:
    """As much of a build as rendering asks for."""

    def __init__(self):
        self.properties = properties(PROPERTIES)
        self.properties.build = self
        self.sources = SOURCES
        self.master = type("Master", (), {"namedServices": {"secrets": SecretsService()}})()
        self.info = properties(WORKER)

    def getProperties(self):
        return self.properties

    def getBuild(self):
        return self

    def getWorkerInfo(self):
        return self.info

    def getAllSourceStamps(self):
        return [type("Stamp", (), {"asDict": lambda self, source=source: source})() for source in self.sources]

    def allChanges(self):
        return []

    def allFiles(self):
        return []


def properties(values):
    made = Properties()
    made.update(values, "test")
    return made


def outcome(text, build):
    try:
        template = Interpolate(text)
    except ConfigErrors as error:
        return {"parse_error": "; ".join(error.errors)}
    except Exception as error:  # Some texts are refused by whatever happens to break first.
        return {"parse_error": repr(error)}
    results = []
    build.properties.render(template).addBoth(results.append)
    [result] = results
    if isinstance(result, str):
        return {"result": result}
    return {"render_error": repr(result.value)}


def main():
    file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    build = Build()
    vectors = [{"text": text} | outcome(text, build) for text in dict.fromkeys(TEXTS)]
    document = {
        "made_by": "tests/python/make_interpolate_vectors.py",
        "buildbot": buildbot.version,
        "properties": PROPERTIES,
        "sources": SOURCES,
        "worker": WORKER,
        "secrets": SECRETS,
        "vectors": vectors,
    }
    head = json.dumps({key: value for key, value in document.items() if key != "vectors"}, indent=2)
    lines = ",\n".join(f"    {json.dumps(vector)}" for vector in vectors)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'{head[:-2]},\n  "vectors": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
    print(f"{file}: {len(vectors)} vectors")


if __name__ == "__main__":
    main()
