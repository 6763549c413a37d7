"""The other end of echo_server.rs and echo_client.rs, made of Twisted's own Perspective Broker.

    python twisted_peer.py client 127.0.0.1:8787     talks with echo_server
    python twisted_peer.py server 127.0.0.1:8787     talks with echo_client
"""

import datetime
import decimal
import sys

from twisted.cred import checkers, credentials, error, portal
from twisted.internet import defer, endpoints, reactor, task
from twisted.spread import pb
from zope.interface import implementer


class Guest(pb.Avatar):
    def __init__(self, mind):
        self.mind = mind

    def perspective_echo(self, *values):
        print("echo of", repr(values)[:200])
        return self.mind.callRemote("heard", len(values)).addCallback(lambda _: values)


@implementer(portal.IRealm)
class Realm:
    def requestAvatar(self, name, mind, *interfaces):
        return pb.IPerspective, Guest(mind), lambda: None


class Mind(pb.Referenceable):
    def __init__(self):
        self.heard = []

    def remote_heard(self, number):
        self.heard.append(number)


def samples():
    twice = [1, 2]
    return [
        None, True, False, 0, -5, 2**31, -(2**31) - 1, 2**64 - 1, -(2**400), 2.5, float("inf"), b"", b"\x00\xff", b"None",
        "café", "", [], (), {}, [1, (), {"key": None, b"bytes": 2}], {1, 2}, frozenset([3]), [twice, twice],
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.date(2020, 1, 2), datetime.time(3, 4, 5, 6),
        datetime.timedelta(-1, 2, 3), decimal.Decimal("-12.50"), b"x" * 655360, ["y" * 100_000] * 3, list(range(10_000)),
    ]


@defer.inlineCallbacks
def client(reactor, host, port):
    factory = pb.PBClientFactory()
    connection = yield endpoints.TCP4ClientEndpoint(reactor, host, port).connect(factory)

    try:
        yield factory.login(credentials.UsernamePassword(b"guest", b"wrong"), Mind())
        raise AssertionError("a wrong password was accepted")
    except Exception as refusal:
        assert "twisted.cred.error.UnauthorizedLogin" in str(getattr(refusal, "remoteType", refusal)), refusal

    mind = Mind()
    perspective = yield factory.login(credentials.UsernamePassword(b"guest", b"guest"), mind)
    for value in samples():
        (echoed,) = yield perspective.callRemote("echo", value)
        assert echoed == value and type(echoed) is type(value), (value, echoed)
    thing = pb.Referenceable()
    back, = yield perspective.callRemote("echo", thing)
    assert back is thing, back
    assert mind.heard == [1] * (len(samples()) + 1), mind.heard
    try:
        yield perspective.callRemote("no_such_thing", thing)
        raise AssertionError("a method that there is not was called")
    except Exception as failure:
        assert "NoSuchMethod" in str(getattr(failure, "remoteType", failure)), failure
    connection.transport.loseConnection()
    print("all", len(samples()), "values came back")


def server(reactor, host, port):
    guests = portal.Portal(Realm(), [checkers.InMemoryUsernamePasswordDatabaseDontUse(guest=b"guest")])
    return endpoints.TCP4ServerEndpoint(reactor, port, interface=host).listen(pb.PBServerFactory(guests)).addCallback(
        lambda listening: print("listening on", listening.getHost().port, flush=True) or defer.Deferred()
    )


role = {"client": client, "server": server}[sys.argv[1]]
host, _, port = sys.argv[2].rpartition(":")
task.react(role, (host, int(port)))
