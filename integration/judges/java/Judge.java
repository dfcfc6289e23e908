import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.pusher.client.Pusher;
import com.pusher.client.PusherOptions;
import com.pusher.client.channel.PresenceChannel;
import com.pusher.client.channel.PresenceChannelEventListener;
import com.pusher.client.channel.PrivateChannel;
import com.pusher.client.channel.PrivateEncryptedChannelEventListener;
import com.pusher.client.channel.PusherEvent;
import com.pusher.client.channel.User;
import com.pusher.client.connection.ConnectionEventListener;
import com.pusher.client.connection.ConnectionState;
import com.pusher.client.connection.ConnectionStateChange;
import com.pusher.rest.data.Event;
import com.pusher.rest.data.PresenceUser;
import com.pusher.rest.data.Result;
import com.pusher.rest.data.Validity;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** Pusher's Java libraries, client (T229) and server, as judges. */
public class Judge {
    static final String HOST = System.getenv("JUDGE_HOST") + ":" + System.getenv("JUDGE_PORT");
    static final String APP_ID = System.getenv("JUDGE_APP_ID");
    static final String KEY = System.getenv("JUDGE_KEY");
    static final String SECRET = System.getenv("JUDGE_SECRET");
    static final String RUN = ProcessHandle.current().pid() + "-" + Long.toString(System.currentTimeMillis(), 36);
    static final Gson GSON = new Gson();

    static final com.pusher.rest.Pusher server = server(SECRET);

    interface Check {
        void run() throws Exception;
    }

    /** Runs one check and prints its line. The rig goes on after a failed one. */
    static void check(String id, Check check) {
        String detail = "";
        try {
            check.run();
        } catch (Exception | AssertionError e) {
            java.io.StringWriter text = new java.io.StringWriter();
            e.printStackTrace(new java.io.PrintWriter(text));
            detail = text.toString();
        }
        report(id, detail);
    }

    static void report(String id, String detail) {
        System.out.println(GSON.toJson(Map.of("id", id, "ok", detail.isEmpty(), "detail", detail)));
    }

    static void equal(Object got, Object want, String what) {
        if (!got.equals(want)) {
            throw new AssertionError(what + " = " + got + ", want " + want);
        }
    }

    static String unique(String name) {
        return name + "-" + RUN;
    }

    /** The server library, as a customer would set it up. */
    static com.pusher.rest.Pusher server(String secret) {
        byte[] master = new byte[32];
        java.util.Arrays.fill(master, (byte) 7);
        com.pusher.rest.Pusher pusher =
            new com.pusher.rest.Pusher(APP_ID, KEY, secret, Base64.getEncoder().encodeToString(master));
        pusher.setHost(HOST);
        pusher.setEncrypted(false);
        return pusher;
    }

    /** Notes everything that a channel or connection calls back with, in order. */
    static class Notes implements PresenceChannelEventListener, PrivateEncryptedChannelEventListener, ConnectionEventListener {
        private final LinkedBlockingQueue<String> notes = new LinkedBlockingQueue<>();

        /** Waits for a note that begins so, skipping others, and returns its rest. */
        String await(String beginning) throws InterruptedException {
            List<String> skipped = new ArrayList<>();
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(8);
            for (long left; (left = end - System.nanoTime()) > 0; ) {
                String note = notes.poll(left, TimeUnit.NANOSECONDS);
                if (note != null && note.startsWith(beginning)) {
                    return note.substring(beginning.length()).strip();
                }
                if (note != null) {
                    skipped.add(note);
                }
            }
            throw new AssertionError("no \"" + beginning + "\" within 8 s, only " + skipped);
        }

        boolean isEmpty() {
            return notes.isEmpty();
        }

        public void onSubscriptionSucceeded(String channel) {
            notes.add("subscribed");
        }

        public void onEvent(PusherEvent e) {
            notes.add("event " + e.getEventName() + " " + e.getUserId() + " " + e.getData());
        }

        public void onUsersInformationReceived(String channel, Set<User> users) {
            TreeSet<String> ids = new TreeSet<>();
            users.forEach(u -> ids.add(u.getId()));
            notes.add("users " + ids);
        }

        public void userSubscribed(String channel, User user) {
            notes.add("joined " + user.getId() + " " + user.getInfo());
        }

        public void userUnsubscribed(String channel, User user) {
            notes.add("left " + user.getId());
        }

        public void onAuthenticationFailure(String message, Exception e) {
            notes.add("failure " + message + " " + e);
        }

        public void onDecryptionFailure(String event, String reason) {
            notes.add("failure " + event + " " + reason);
        }

        public void onError(String message, Exception e) {
            notes.add("failure " + message + " " + e);
        }

        public void onConnectionStateChange(ConnectionStateChange change) {
            notes.add("state " + change.getCurrentState());
        }

        public void onError(String message, String code, Exception e) {
            notes.add("error " + code + " " + message);
        }
    }

    static Pusher client(String user) throws InterruptedException {
        PusherOptions options = new PusherOptions().setHost(System.getenv("JUDGE_HOST"))
            .setWsPort(Integer.parseInt(System.getenv("JUDGE_PORT"))).setUseTLS(false)
            .setChannelAuthorizer((channel, socket) -> channel.startsWith("presence-")
                ? server.authenticate(socket, channel, new PresenceUser(user, Map.of("name", user)))
                : server.authenticate(socket, channel));
        Pusher pusher = new Pusher(KEY, options);
        Notes notes = new Notes();
        pusher.connect(notes, ConnectionState.ALL);
        notes.await("state CONNECTED");
        return pusher;
    }

    static Result ok(Result result) {
        equal(result.getStatus(), Result.Status.SUCCESS, "status of " + result.getMessage());
        return result;
    }

    static JsonObject json(Result result) {
        return JsonParser.parseString(ok(result).getMessage()).getAsJsonObject();
    }

    static void clientChecks(Pusher ann, Pusher bo) {
        check("T229 public channel, event with its data", () -> {
            String name = unique("java-public");
            Notes notes = new Notes();
            ann.subscribe(name, notes, "update");
            notes.await("subscribed");
            ok(server.trigger(name, "update", Map.of("text", "é☃")));
            equal(notes.await("event update null"), "{\"text\":\"é☃\"}", "data");
        });
        check("T229 private channel, client event", () -> {
            String name = unique("private-java");
            Notes mine = new Notes();
            Notes theirs = new Notes();
            PrivateChannel channel = ann.subscribePrivate(name, mine, "client-typing");
            bo.subscribePrivate(name, theirs, "client-typing");
            mine.await("subscribed");
            theirs.await("subscribed");
            channel.trigger("client-typing", "{\"who\":\"ann\"}");
            equal(theirs.await("event client-typing"), "null {\"who\":\"ann\"}", "data");
            if (!mine.isEmpty()) {
                throw new AssertionError("the sender was called back: " + mine.notes);
            }
        });
        check("T229 presence channel: users, join, client event, leave", () -> {
            String name = unique("presence-java");
            Notes mine = new Notes();
            Notes theirs = new Notes();
            ann.subscribePresence(name, mine, "client-typing");
            equal(mine.await("users"), "[ann]", "users");
            PresenceChannel channel = bo.subscribePresence(name, theirs);
            equal(theirs.await("users"), "[ann, bo]", "users of the second");
            equal(channel.getMe().getId(), "bo", "me");
            equal(mine.await("joined"), "bo {\"name\":\"bo\"}", "joined");
            theirs.await("subscribed");
            channel.trigger("client-typing", "{}");
            equal(mine.await("event client-typing"), "bo {}", "sender and data");
            bo.unsubscribe(name);
            equal(mine.await("left"), "bo", "left");
        });
        check("T229 encrypted channel", () -> {
            String name = unique("private-encrypted-java");
            Notes notes = new Notes();
            ann.subscribePrivateEncrypted(name, notes, "secret");
            notes.await("subscribed");
            ok(server.trigger(name, "secret", Map.of("pin", 1)));
            equal(notes.await("event secret null"), "{\"pin\":1}", "data");
        });
        check("T229 a key that does not exist", () -> {
            Notes notes = new Notes();
            new Pusher("ffffffffffffffffffff", new PusherOptions().setHost(System.getenv("JUDGE_HOST"))
                .setWsPort(Integer.parseInt(System.getenv("JUDGE_PORT"))).setUseTLS(false)).connect(notes, ConnectionState.ALL);
            notes.await("state DISCONNECTED");
        });
    }

    static void serverChecks(Pusher ann) {
        check("trigger to one channel and to several", () -> {
            ok(server.trigger(unique("a"), "e", Map.of()));
            ok(server.trigger(List.of(unique("a"), unique("b")), "e", Map.of()));
        });
        check("batch", () -> ok(server.trigger(List.of(new Event(unique("a"), "e", 1), new Event(unique("b"), "e", "text")))));
        check("channels, one channel, users", () -> {
            String name = unique("presence-java-get");
            Notes notes = new Notes();
            ann.subscribePresence(name, notes);
            notes.await("subscribed");
            JsonObject all = json(server.get("/channels", Map.of("filter_by_prefix", "presence-java-get", "info", "user_count")));
            equal(all.getAsJsonObject("channels").getAsJsonObject(name).get("user_count").getAsInt(), 1, "user_count");
            equal(json(server.get("/channels/" + name)).get("occupied").getAsBoolean(), true, "occupied");
            equal(json(server.get("/channels/" + name + "/users")).getAsJsonArray("users").toString(), "[{\"id\":\"ann\"}]", "users");
        });
        check("errors reach the caller", () -> {
            equal(server("wrong").trigger("c", "e", 1).getStatus(), Result.Status.AUTHENTICATION_ERROR, "status of a wrong secret");
            Result users = server.get("/channels/" + unique("public") + "/users");
            equal(users.getStatus(), Result.Status.CLIENT_ERROR, "status of the users of a public channel");
        });
        check("webhooks are valid", () -> {
            String name = unique("presence-java-hook");
            Notes notes = new Notes();
            PresenceChannel channel = ann.subscribePresence(name, notes);
            notes.await("subscribed");
            channel.trigger("client-typing", "{\"who\":\"ann\"}");
            for (String event : List.of("channel_occupied", "member_added", "client_event")) {
                JsonObject request = hookFor(e -> e.get("name").getAsString().equals(event) && e.get("channel").getAsString().equals(name));
                String key = request.get("key").getAsString();
                String signature = request.get("signature").getAsString();
                String body = request.get("body").getAsString();
                equal(server.validateWebhookSignature(key, signature, body), Validity.VALID, event);
                equal(server.validateWebhookSignature(key, signature, body + " "), Validity.INVALID, event + " with a byte more");
            }
        });
    }

    /** Waits for a webhook event that passes a test, and returns its request. */
    static JsonObject hookFor(Predicate<JsonObject> test) throws Exception {
        HttpRequest get = HttpRequest.newBuilder(URI.create(System.getenv("JUDGE_WEBHOOKS"))).build();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(12);
        while (System.nanoTime() < end) {
            String received = HttpClient.newHttpClient().send(get, HttpResponse.BodyHandlers.ofString()).body();
            for (JsonElement request : JsonParser.parseString(received).getAsJsonArray()) {
                String body = request.getAsJsonObject().get("body").getAsString();
                for (JsonElement event : JsonParser.parseString(body).getAsJsonObject().getAsJsonArray("events")) {
                    if (test.test(event.getAsJsonObject())) {
                        return request.getAsJsonObject();
                    }
                }
            }
            Thread.sleep(50);
        }
        throw new AssertionError("no such webhook within 12 s");
    }

    public static void main(String[] args) throws Exception {
        Pusher ann = client("ann");
        Pusher bo = client("bo");
        clientChecks(ann, bo);
        serverChecks(ann);
        report("done", "");
        System.exit(0);
    }
}
