"""Pysher connections, for the rigs that need a client."""

import threading

import pysher

from judge import HOST, KEY, PORT, SECRET, until


def client(user="ann"):
    """A connected client."""
    c = pysher.Pusher(
        KEY, custom_host=HOST, port=PORT, secure=False, secret=SECRET,
        user_data={"user_id": user, "user_info": {"name": user}}, daemon=True,
    )
    up = threading.Event()
    c.connection.bind("pusher:connection_established", lambda _: up.set())
    c.succeeded = watch_subscriptions(c)
    c.connect()
    if not up.wait(8):
        raise AssertionError("no connection within 8 s")
    return c


def watch_subscriptions(c):
    """The names of channels whose subscription succeeded. A channel can only be
    bound once it is subscribed to, when the answer may be there already."""
    succeeded = set()
    handle = c.connection.event_handler

    def note(event, data, channel):
        handle(event, data, channel)
        if event == "pusher_internal:subscription_succeeded":
            succeeded.add(channel)

    c.connection.event_handler = note
    return succeeded


def joined(c, name):
    """A subscribed channel."""
    channel = c.subscribe(name)
    until(lambda: name in c.succeeded, f"{name} subscribed")
    return channel
