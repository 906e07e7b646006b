"""Programs that listen to events: a receiver of webhooks and a client of event streams. Each must learn of every event,
whatever the faults."""

import base64
import hmac
import http.client
import http.server
import json
import threading
import time


class Receiver:
    """A webhook receiver, which records the events that it accepts and checks their signatures."""

    def __init__(self, world):
        self.world = world
        self.secret = None  # known once the webhook is created
        self.mode = "accept"
        self.accepted = set()  # the UUIDs of events
        handler = type("Handler", (Delivery,), {"receiver": self})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def is_signed(self, headers, body):
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        signature = base64.b64encode(hmac.digest(key, text, "sha256")).decode()
        return hmac.compare_digest(headers["webhook-signature"], f"v1,{signature}")


class Delivery(http.server.BaseHTTPRequestHandler):
    """One request of a worker to the receiver."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver, mode = self.receiver, self.receiver.mode
        if not receiver.is_signed(self.headers, body):
            receiver.world.record_defect("a webhook has a wrong signature")
        if mode == "hang":
            time.sleep(15)  # longer than the sender waits
            return
        if mode == "fail":
            self.send_error(500)
            return
        receiver.accepted.add(json.loads(body)["id"])
        if mode == "forget":
            return  # the event has arrived, but the sender gets no answer
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Stream:
    """A client of the event stream of one server, which reconnects with `Last-Event-ID`."""

    def __init__(self, world, server, rng):
        self.world, self.server, self.rng = world, server, rng
        self.seen = set()  # the UUIDs of events
        self.last_id, self.next_id = None, None
        self.is_ready = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while not self.world.ended.is_set():
            try:
                self.listen()
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(self.rng.uniform(0.1, 0.5))

    def listen(self):
        host = self.rng.choice(sorted(self.world.apis.values()))
        # A comment arrives every 15 s.
        connection = http.client.HTTPConnection(host, timeout=40)
        headers = {"Authorization": f"Bearer {self.world.tokens[0]}"}
        if self.last_id:
            headers["Last-Event-ID"] = self.last_id
        try:
            connection.request("GET", f"/api/client/servers/{self.server}/backups/events", headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                return
            while line := answer.readline():
                self.take(line.decode().rstrip("\n"))
        finally:
            connection.close()

    def take(self, line):
        """Reads a line: the number of the next event, or its data. Its number counts once its data is here."""
        name, _, value = line.partition(": ")
        if name == "id":
            self.next_id = value
        elif name == "data":
            event = json.loads(value)
            if event["event"] == "backup.progress":
                return
            self.last_id = self.next_id
            if event["event"] == "stream.ready":
                self.is_ready.set()
                if event["missed"]:
                    self.world.record_defect(f"the stream of server {self.server} says that events were missed")
            else:
                self.seen.add(event["id"])
