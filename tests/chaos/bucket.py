"""Lists the objects and unfinished uploads of buckets directly."""

import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import threading
import urllib.parse
import xml.etree.ElementTree as xml

EMPTY = hashlib.sha256(b"").hexdigest()


class Bucket:
    """A bucket of an S3 server, listed with signed requests."""

    def __init__(self, endpoint, name, region, access_key, secret_key):
        self.host = endpoint.removeprefix("http://")
        self.name, self.region = name, region
        self.access_key, self.secret_key = access_key, secret_key

    def objects(self, prefix):
        """Returns the names of all objects below a prefix."""
        names, token = [], None
        while True:
            query = {"list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            answer = self.get(query)
            names += [texts(one, "Key")[0] for one in children(answer, "Contents")]
            token = (texts(answer, "NextContinuationToken") or [None])[0]
            if not token:
                return names

    def uploads(self, prefix):
        """Returns the names of unfinished uploads; none if the server cannot list them."""
        try:
            answer = self.get({"uploads": "", "prefix": prefix})
        except NotImplementedError:
            return []
        return [texts(one, "Key")[0] for one in children(answer, "Upload")]

    def get(self, query):
        now = datetime.datetime.now(datetime.timezone.utc)
        time, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        path = f"/{self.name}"
        line = "&".join(f"{quote(key)}={quote(query[key])}" for key in sorted(query))
        headers = {"host": self.host, "x-amz-content-sha256": EMPTY, "x-amz-date": time}
        signed = ";".join(sorted(headers))
        head = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = "\n".join(["GET", path, line, head, signed, EMPTY])
        scope = f"{day}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = ("AWS4" + self.secret_key).encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}".encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
        )
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request("GET", f"{path}?{line}", headers=headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status == 501:
            raise NotImplementedError(line)
        if answer.status != 200:
            raise RuntimeError(f"the bucket answers {answer.status} to {line}: {body[:300]!r}")
        return xml.fromstring(body)


class GoogleBucket:
    """A bucket of an emulator of Google Cloud Storage, and the account and token server that the service needs."""

    def __init__(self, endpoint, name, key_file, folder):
        self.host = endpoint.removeprefix("http://")
        self.name = name
        tokens = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
        tokens.daemon_threads = True
        threading.Thread(target=tokens.serve_forever, daemon=True).start()
        account = json.loads(key_file.read_text())
        account["token_uri"] = f"http://127.0.0.1:{tokens.server_port}/token"
        self.account_file = folder / "google.json"
        self.account_file.write_text(json.dumps(account))

    def objects(self, prefix):
        """Returns the names of all objects below a prefix."""
        names, token = [], None
        while True:
            query = {"prefix": prefix, **({"pageToken": token} if token else {})}
            connection = http.client.HTTPConnection(self.host, timeout=30)
            try:
                connection.request("GET", f"/storage/v1/b/{self.name}/o?{urllib.parse.urlencode(query)}")
                answer = json.loads(connection.getresponse().read())
            finally:
                connection.close()
            names += [one["name"] for one in answer.get("items", [])]
            token = answer.get("nextPageToken")
            if not token:
                return names


class Tokens(http.server.BaseHTTPRequestHandler):
    """A token server that gives everybody a token. The emulator does not check it."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"access_token": "chaos-token", "expires_in": 3600, "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


def children(element, name):
    return [child for child in element if child.tag.split("}")[-1] == name]


def texts(element, name):
    return [child.text or "" for child in children(element, name)]
