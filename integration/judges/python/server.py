"""pip pusher, Pusher's Python server library, as judge (T233)."""

import json

from pusher.errors import PusherBadAuth, PusherBadRequest

from connect import client, joined
from judge import check, done, equal, hook_for, server, unique

pusher = server()
ann, bo = client("ann"), client("bo")


def trigger():
    equal(pusher.trigger(unique("a"), "e", {}), {}, "answer")
    equal(pusher.trigger([unique("a"), unique("b")], "e", "text"), {}, "answer")


def batch():
    equal(pusher.trigger_batch([{"channel": unique("a"), "name": "e", "data": {"n": n}} for n in range(10)]), {}, "answer")


def channels_info():
    room = unique("presence-list")
    joined(ann, room)
    got = pusher.channels_info("presence-list", ["user_count"])
    equal(got["channels"][room], {"user_count": 1}, "channel in the list")


def channel_info():
    room = unique("presence-one")
    joined(ann, room)
    joined(bo, room)
    got = pusher.channel_info(room, ["user_count", "subscription_count"])
    equal((got["occupied"], got["user_count"], got["subscription_count"]), (True, 2, 2), "channel")
    equal(pusher.channel_info(unique("nobody"))["occupied"], False, "occupied")


def users_info():
    room = unique("presence-users")
    joined(ann, room)
    equal(pusher.users_info(room), {"users": [{"id": "ann"}]}, "users")


def send_to_user():
    pusher.send_to_user(unique("nobody"), "e", {"n": 1})
    pusher.terminate_user_connections(unique("nobody"))


def errors():
    try:
        server(secret="wrong").trigger("c", "e", {})
    except PusherBadAuth:
        pass
    else:
        raise AssertionError("a wrong secret is accepted")
    try:
        pusher.users_info(unique("public"))
    except PusherBadRequest:
        pass
    else:
        raise AssertionError("users of a public channel are listed")


def webhooks():
    room = unique("presence-hook")
    joined(ann, room)
    for name in ("channel_occupied", "member_added"):
        event, request = hook_for(lambda e: e["name"] == name and e["channel"] == room, name)
        body = pusher.validate_webhook(request["key"], request["signature"], request["body"])
        if body is None:
            raise AssertionError(f"the library does not accept {request['body']}")
        assert event in body["events"], body
        assert pusher.validate_webhook(request["key"], request["signature"], request["body"] + " ") is None


def client_event():
    room = unique("presence-typing")
    channel = joined(ann, room)
    channel.trigger("client-typing", {"who": "ann"})
    event, request = hook_for(lambda e: e["name"] == "client_event" and e["channel"] == room, "client_event")
    assert pusher.validate_webhook(request["key"], request["signature"], request["body"]), request
    equal(json.loads(event["data"]), {"who": "ann"}, "data")
    equal((event["event"], event["user_id"], event["socket_id"]), ("client-typing", "ann", ann.connection.socket_id), "event")


check("T233 trigger", trigger)
check("T233 trigger_batch", batch)
check("T233 channels_info", channels_info)
check("T233 channel_info", channel_info)
check("T233 users_info", users_info)
check("T233 send_to_user and terminate_user_connections", send_to_user)
check("T233 errors", errors)
check("T233 webhooks are valid", webhooks)
check("T233 webhook of a client event is valid", client_event)
ann.disconnect(timeout=1)
bo.disconnect(timeout=1)
done()
