"""All processes: PostgreSQL, the stand-ins for the panel and for Wings, nginx, and Holdfast's API and worker. They
listen on loopback and end with this program."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).parent.parent.parent
# The longest time for a process to answer after its start.
START_SECONDS = 60
LEASE_SECONDS = 5


class Unanswered(Exception):
    """No answer arrived."""


class Process:
    """A process that is started again when it was killed."""

    def __init__(self, node, name, command, environment, address):
        self.name, self.command, self.address = name, command, address
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST")}
        self.environment.update(environment)
        self.log = node.work / "logs" / f"{name}.log"
        self.child, self.kills = None, 0

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.kills += 1

    def stop(self):
        if self.child and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(20)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def wait_until_it_answers(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            with socket.socket() as one:
                if one.connect_ex(self.address) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not answer at {self.address}: see {self.log}")


class Node:
    def __init__(self, options, work):
        self.options, self.work = options, work
        (work / "logs").mkdir()
        self.ports = dict(zip(["panel", "panel_control", "wings", "wings_control", "nginx", "node", "api"], free_ports(7)))
        self.processes, self.postgres = {}, None
        self.wings_folder = work / "wings"
        self.lock = threading.Lock()

    def address(self, name):
        return ("127.0.0.1", self.ports[name])

    def url(self, name):
        return f"http://127.0.0.1:{self.ports[name]}"

    def add(self, name, command, environment, answers_at):
        process = Process(self, name, [str(part) for part in command], environment, self.address(answers_at))
        self.processes[name] = process
        process.start()
        return process

    def start_panel_and_wings(self):
        kind = ["--pelican"] if self.options.pelican else []
        at = lambda name: f"127.0.0.1:{self.ports[name]}"
        common = ["--key", self.work / "key.json", *kind]
        self.add("panel", [self.options.stand_in, "panel", *common, "--listen", at("panel"), "--control", at("panel_control"),
                           "--state", self.work / "panel.json"], {}, "panel_control").wait_until_it_answers()
        self.add("wings", [self.options.stand_in, "wings", *common, "--listen", at("wings"), "--control", at("wings_control"),
                           "--panel", self.url("panel"), "--folder", self.wings_folder], {}, "wings_control").wait_until_it_answers()
        # nginx passes through this folder as another user, and sees only whether a file exists.
        for folder in [self.wings_folder, self.wings_folder / "backups"]:
            folder.chmod(0o711)
        self.set_node_url("wings")

    def set_node_url(self, name):
        self.panel("PUT", "/stand-in/nodes/0/url", self.url(name))

    def start_holdfast(self):
        self.start_postgres()
        settings_file = self.work / "wings.yml"
        settings_file.write_text(self.request("wings_control", "GET", "/stand-in/settings", as_text=True))
        data = self.work / "data"
        settings = {
            "database.url": f"postgres://postgres@localhost/postgres?host={self.work}/postgres",
            "database.max_connections": 8,
            "wings.config": settings_file,
            "wings.listen": f"127.0.0.1:{self.ports['node']}",
            "wings.sync_seconds": 5,
            "http.listen": f"127.0.0.1:{self.ports['api']}",
            "http.trusted_proxies": "127.0.0.1",
            "power.driver": "wings",
            "worker.lease_seconds": LEASE_SECONDS,
            # Backups take a few seconds, so that kills meet them.
            "worker.read_limit_bytes_per_second": 2_000_000,
        }
        environment = {f"HOLDFAST__{key.upper().replace('.', '__')}": str(value) for key, value in settings.items()}
        self.holdfast_environment = environment
        self.admin("migrate")
        self.admin("check-config")
        self.add("api", [self.options.binary, "serve", "--data", data], environment, "node").wait_until_it_answers()
        self.add("worker", [self.options.binary, "worker", "--data", data], environment, "api")
        self.start_nginx()
        self.set_node_url("nginx")

    def start_postgres(self):
        log = open(self.work / "logs" / "postgres.log", "ab")
        command = [self.options.with_postgres, self.work / "postgres", "--durable", "--", "sh", "-c", "echo up; exec cat"]
        self.postgres = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        if self.postgres.stdout.readline() != b"up\n":
            raise RuntimeError("PostgreSQL does not start: see logs/postgres.log")

    def start_nginx(self):
        """Starts nginx with the file that is in the repository, except for addresses, TLS and the folder of archives."""
        text = (ROOT / "deploy/nginx/node.conf").read_text()
        for old, new in [
            ("listen 8080 ssl;", f"listen 127.0.0.1:{self.ports['nginx']};"),
            ("listen [::]:8080 ssl;", ""),
            ("ssl_certificate /etc/letsencrypt/live/node.example.com/fullchain.pem;", ""),
            ("ssl_certificate_key /etc/letsencrypt/live/node.example.com/privkey.pem;", ""),
            ("server 127.0.0.1:8081;", f"server 127.0.0.1:{self.ports['wings']};"),
            ("server 127.0.0.1:8082;", f"server 127.0.0.1:{self.ports['node']};"),
            ("/var/lib/pterodactyl/backups", str(self.wings_folder / "backups")),
            ("/var/lib/pelican/backups", str(self.wings_folder / "backups")),
        ]:
            if old not in text:
                raise RuntimeError(f"deploy/nginx/node.conf has no {old!r}")
            text = text.replace(old, new)
        (self.work / "node.conf").write_text(text)
        folder = self.work / "nginx"
        folder.mkdir()
        temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        # As on a real node, nginx is not root.
        user = "user nobody nogroup; " if os.geteuid() == 0 else ""
        (self.work / "nginx.conf").write_text(
            f"{user}daemon off; pid {folder}/pid; error_log {self.work}/logs/nginx-error.log;\nevents {{ }}\n"
            f"http {{ {temporary} access_log {self.work}/logs/nginx-access.log; include {self.work}/node.conf; }}\n")
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        log = self.work / "logs" / "nginx-error.log"
        self.add("nginx", [program, "-e", log, "-c", self.work / "nginx.conf"], {}, "nginx").wait_until_it_answers()

    def stop(self):
        for name in ["nginx", "worker", "api", "wings", "panel"]:
            if name in self.processes:
                self.processes[name].stop()
        if self.postgres:
            self.postgres.stdin.close()
            self.postgres.wait()

    def admin(self, *arguments):
        """Runs a command of Holdfast and returns what it prints."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST")}
        environment.update(self.holdfast_environment)
        command = [self.options.binary, *arguments, "--data", str(self.work / "data")]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        if ended.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {ended.stderr.strip()}")
        return ended.stdout

    def query(self, statement):
        command = [self.options.psql, "-qAtX", "-h", self.work / "postgres", "-U", "postgres", "-d", "postgres", "-c", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()

    def request(self, name, method, path, body=None, as_text=False, timeout=60):
        """Sends a request; returns the JSON of a 2xx answer, or raises [`Unanswered`]."""
        connection = http.client.HTTPConnection(*self.address(name), timeout=timeout)
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        try:
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise Unanswered(f"{method} {path}: {answer.status} {content[:300]}")
        return content if as_text else json.loads(content) if content else None

    def panel(self, method, path, body=None):
        return self.request("panel_control", method, path, body)

    def wings(self, method, path, body=None):
        return self.request("wings_control", method, path, body)

    def download(self, url):
        """Downloads an archive by a link of the panel; returns status and body."""
        parts = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        try:
            connection.request("GET", f"{parts.path}?{parts.query}")
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
