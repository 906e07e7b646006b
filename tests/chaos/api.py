"""A client of the API that distinguishes answers from missing answers."""

import http.client
import json
import time

# Longer than any fault lasts: after an earlier timeout, the result of a request would be unknown.
TIMEOUT = 130


class Unknown(Exception):
    """No answer arrived, so the request may have been carried out or not."""


class Api:
    def __init__(self, world, server, rng):
        self.world, self.rng = world, rng
        self.path = f"/api/client/servers/{server}/backups"
        self.token = world.tokens[0]

    def send(self, method, path="", body=None, url=None):
        """Sends one request to one of the APIs; returns status and JSON."""
        host = self.rng.choice(sorted(self.world.apis.values()))
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(host, timeout=TIMEOUT)
        try:
            connection.request(method, self.path + path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        except ConnectionRefusedError:
            return 0, None  # no connection, so nothing was done
        except (OSError, http.client.HTTPException) as error:
            raise Unknown(str(error)) from error
        finally:
            connection.close()
        if answer.status >= 500:
            self.check_failure(method, path, answer, content)
        return answer.status, json.loads(content) if content else None

    def check_failure(self, method, path, answer, content):
        """Checks an error of the service: it must say that it is unavailable, and when to retry."""
        where = f"{method} {path or '/'}"
        if answer.status == 500:
            self.world.record_defect(f"{where} was answered with 500: {content[:200]!r}")
        if answer.status == 503 and not (answer.headers.get("Retry-After") or "").isdigit():
            self.world.record_defect(f"{where} was answered with 503 without Retry-After")
        try:
            json.loads(content)["errors"][0]["detail"]
        except (ValueError, KeyError, IndexError):
            self.world.record_defect(f"{where} was answered with {answer.status} and no JSON error: {content[:200]!r}")

    def retry_until_answered(self, method, path="", body=None, seconds=120):
        """Repeats a harmless request until the service answers it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                status, answer = self.send(method, path, body)
                if 200 <= status < 500:
                    return status, answer
            except Unknown:
                status = "no answer"
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {self.path}{path}: {status} for {seconds} s")
            time.sleep(0.3)

    def all(self):
        """Every backup of the server, by its UUID."""
        found, page = {}, 1
        while True:
            status, answer = self.retry_until_answered("GET", f"?per_page=100&page={page}")
            if status != 200:
                raise RuntimeError(f"the list is answered with {status}")
            found.update({one["attributes"]["uuid"]: one["attributes"] for one in answer["data"]})
            if page >= answer["meta"]["pagination"]["total_pages"]:
                return found
            page += 1

    def details(self, backup):
        status, answer = self.retry_until_answered("GET", f"/{backup}")
        return answer["attributes"] if status == 200 else None
