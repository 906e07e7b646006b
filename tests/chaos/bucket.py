"""Lists the objects and unfinished uploads of a bucket directly, with signed requests."""

import datetime
import hashlib
import hmac
import http.client
import urllib.parse
import xml.etree.ElementTree as xml

EMPTY = hashlib.sha256(b"").hexdigest()


class Bucket:
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


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


def children(element, name):
    return [child for child in element if child.tag.split("}")[-1] == name]


def texts(element, name):
    return [child.text or "" for child in children(element, name)]
