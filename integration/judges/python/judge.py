"""What the rigs share: reporting a check as one JSON line, waiting with a
bound, and where the gateway is."""

import json
import os
import time
import traceback
import urllib.request

import pusher

HOST = os.environ["JUDGE_HOST"]
PORT = int(os.environ["JUDGE_PORT"])
APP_ID = os.environ["JUDGE_APP_ID"]
KEY = os.environ["JUDGE_KEY"]
SECRET = os.environ["JUDGE_SECRET"]
RUN = f"{os.getpid()}-{int(time.time() * 1000):x}"


def server(secret=SECRET, **more):
    """Pusher's own server library, as a customer would set it up."""
    return pusher.Pusher(app_id=APP_ID, key=KEY, secret=secret, host=HOST, port=PORT, ssl=False, **more)


def unique(name):
    """A name that no other rig uses."""
    return f"{name}-{RUN}"


def until(condition, what, seconds=8):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def equal(got, want, what):
    if got != want:
        raise AssertionError(f"{what} = {got!r}, want {want!r}")


def report(check_id, ok, detail=""):
    print(json.dumps({"id": check_id, "ok": ok, "detail": detail}), flush=True)


def check(check_id, run):
    """Run one check and print its line. Rigs go on after a failed one."""
    try:
        run()
    except Exception:  # whatever the SDK raises is its verdict
        report(check_id, False, traceback.format_exc())
    else:
        report(check_id, True)


def done():
    """End the rig at once: Pysher's threads may wait for a socket that is closed."""
    report("done", True)
    os._exit(0)


def hook_for(test, what):
    """Wait for a webhook event that passes a test; return it and its request."""

    def find():
        with urllib.request.urlopen(os.environ["JUDGE_WEBHOOKS"]) as answer:
            for request in json.load(answer):
                for event in json.loads(request["body"])["events"]:
                    if test(event):
                        return event, request
        return None

    return until(find, f"webhook {what}", 12)
