"""A failing network: passes bytes between a loopback port and a server, and cuts, delays, loses and refuses them on
command."""

import random
import socket
import struct
import threading
import time

PIECE = 64 << 10
BUSY = b"<Error><Code>SlowDown</Code><Message>told to</Message></Error>"


class Proxy:
    """A proxy for `target`: a (host, port), or the path of a socket. Ends with the process."""

    def __init__(self, target, seed):
        self.target = target
        self.random = random.Random(seed)
        self.mode = "pass"
        self.connections = set()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, mode):
        """pass; late: delays every piece; refuse: accepts no connection; busy: answers new connections with 503;
        lose: drops bytes; fragile: resets each connection after some bytes."""
        self.mode = mode
        if mode in ("refuse", "busy", "fragile"):
            self.cut()

    def cut(self):
        """Resets every connection."""
        with self.lock:
            connections, self.connections = self.connections, set()
        for one in connections:
            reset(one)

    def heal(self):
        # Lost bytes stay lost, so this connection must not continue with a gap.
        if self.mode == "lose":
            self.mode = "pass"
            self.cut()
        self.mode = "pass"

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            if self.mode == "refuse":
                reset(client)
            elif self.mode == "busy":
                threading.Thread(target=refuse, args=(client,), daemon=True).start()
            else:
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            if isinstance(self.target, str):
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
            else:
                server = socket.create_connection(self.target, timeout=10)
                server.settimeout(None)
        except OSError:
            return reset(client)
        with self.lock:
            self.connections |= {client, server}
        # Both directions share the byte budget of a fragile connection.
        left = [self.random.randrange(2_000, 3_000_000)]
        back = threading.Thread(target=self.pump, args=(server, client, left), daemon=True)
        back.start()
        self.pump(client, server, left)
        back.join()
        with self.lock:
            self.connections -= {client, server}
        client.close()
        server.close()

    def pump(self, source, sink, left):
        try:
            while piece := source.recv(PIECE):
                if self.mode == "late":
                    time.sleep(self.random.uniform(0.02, 0.3))
                if self.mode == "lose":
                    continue
                if self.mode == "fragile":
                    left[0] -= len(piece)
                    if left[0] < 0:
                        break
                sink.sendall(piece)
            else:
                sink.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        reset(source)
        reset(sink)


def reset(connection):
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    try:
        connection.close()
    except OSError:
        pass


def refuse(client):
    """Answers one request with 503. Reads the rest of the request, so that the sender sees the answer."""
    try:
        client.settimeout(5)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(PIECE)
            if not piece:
                return
            head += piece
        client.sendall(
            b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Type: application/xml\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(BUSY), BUSY)
        )
        client.shutdown(socket.SHUT_WR)
        while client.recv(PIECE):
            pass
    except OSError:
        pass
    finally:
        client.close()
