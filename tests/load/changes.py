#!/usr/bin/env python3
"""Reports changes over Perspective Broker, as `buildbot sendchange` does, all on one connection.

Each names another repository, so that no build request can be collapsed into another.

    python changes.py --port PORT --branch BRANCH --count N    (with the Python of the environment master-4.3.0)
"""

import argparse
import sys

from twisted.cred import credentials
from twisted.internet import defer, reactor
from twisted.spread import pb


@defer.inlineCallbacks
def send(arguments):
    factory = pb.PBClientFactory()
    reactor.connectTCP(arguments.host, arguments.port, factory)
    perspective = yield factory.login(credentials.UsernamePassword(b"change", arguments.password.encode()))
    for number in range(arguments.count):
        yield perspective.callRemote(
            "addChange",
            {
                "project": "",
                "repository": f"repository-{number}",
                "who": "load",
                "files": ["f"],
                "comments": f"change {number}",
                "branch": arguments.branch,
                "revision": str(number),
                "category": None,
                "when": None,
                "properties": {},
                "revlink": "",
                "src": None,
            },
        )
    factory.disconnect()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--password", default="changepw")
    parser.add_argument("--branch", required=True)
    parser.add_argument("--count", type=int, default=1)
    arguments = parser.parse_args()
    failures = []
    sending = send(arguments)
    sending.addErrback(failures.append)
    sending.addBoth(lambda _: reactor.callLater(0.1, reactor.stop))
    reactor.run()
    if failures:
        sys.exit(failures[0].getErrorMessage())


if __name__ == "__main__":
    main()
