"""Pysher, a Python client library, as judge."""

import json

from connect import client, joined
from judge import check, done, equal, server, unique, until


def collect(channel, event):
    got = []
    channel.bind(event, got.append)
    return got


def public():
    name = unique("py-public")
    got = collect(joined(ann, name), "update")
    server().trigger(name, "update", {"text": "é☃", "n": [1, 2.5, None]})
    until(lambda: got, "an event")
    equal(json.loads(got[0]), {"text": "é☃", "n": [1, 2.5, None]}, "data")


def in_order():
    name = unique("py-many")
    got = collect(joined(ann, name), "n")
    for n in range(20):
        server().trigger(name, "n", n)
    until(lambda: len(got) == 20, "20 events")
    equal([json.loads(g) for g in got], list(range(20)), "order")


def private():
    name = unique("private-py")
    mine, theirs = joined(ann, name), joined(bo, name)
    own, got = collect(mine, "client-typing"), collect(theirs, "client-typing")
    mine.trigger("client-typing", {"who": "ann"})
    until(lambda: got, "a client event")
    equal(json.loads(got[0]), {"who": "ann"}, "data")
    equal(own, [], "client events to their sender")


def presence():
    name = unique("presence-py")
    added = collect(joined(ann, name), "pusher_internal:member_added")
    removed = collect(ann.channel(name), "pusher_internal:member_removed")
    joined(bo, name)
    until(lambda: added, "member added")
    equal(json.loads(added[0]), {"user_id": "bo", "user_info": {"name": "bo"}}, "member added")
    equal([u["id"] for u in server().users_info(name)["users"]], ["ann", "bo"], "users")
    bo.unsubscribe(name)
    until(lambda: removed, "member removed")
    equal(json.loads(removed[0]), {"user_id": "bo"}, "member removed")


ann, bo = client("ann"), client("bo")
check("public channel, event with its data", public)
check("events in order", in_order)
check("private channel, client event", private)
check("presence, members come and go", presence)
ann.disconnect(timeout=1)
bo.disconnect(timeout=1)
done()
