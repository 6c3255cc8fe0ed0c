"""What the Kaggle client sees of Kaggle when it downloads a data set."""

import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.loopback import Answer, Loopback, Request, ranged


class Kaggle(Loopback):
    """Data sets by (owner/name, version); the newest version is the highest.

    Faults of kind `sign` (the request for an address) and `body`.

    Attributes:
        tokens: accepted tokens; one that is unknown is refused with 401.
    """

    def __init__(self, datasets: dict[tuple[str, int], bytes]):
        super().__init__()
        self.datasets = datasets
        self.tokens = {"good-token"}
        self.signed: set[str] = set()

    def env(self, home: Path) -> dict[str, str]:
        """The environment in which the client talks to this server and finds no credentials but those given."""
        return {
            "HOME": str(home),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": self.url,
            "http_proxy": self.url,
            "NO_PROXY": "",
            "no_proxy": "",
        }

    def answer(self, request: Request) -> Answer:
        address = urlsplit(request.path)
        if address.path.endswith("/DownloadDataset"):
            return self.fault("sign") or self._sign(request)
        if address.path.startswith("/blobs/"):
            return self._blob(request, address.path, address.query)
        return _json(404, {"code": 404, "message": f"no such address: {request.path}"})

    def _sign(self, request: Request) -> Answer:
        allowed = request.headers.get("authorization", "").removeprefix("Bearer ") in {"", *self.tokens}
        if not allowed:
            return _json(401, {"code": 401, "message": "Unauthenticated"})
        wanted = json.loads(request.body)
        name = f"{wanted['ownerSlug']}/{wanted['datasetSlug']}"
        versions = [version for dataset, version in self.datasets if dataset == name]
        version = wanted.get("datasetVersionNumber") or max(versions, default=0)
        if version not in versions:
            return _json(404, {"code": 404, "message": "Not found"})
        signature = f"signature={len(self.signed)}"
        self.signed.add(signature)
        return Answer(302, headers={"Location": f"http://blobs.localhost/blobs/{name}/{version}?{signature}"})

    def _blob(self, request: Request, path: str, query: str) -> Answer:
        if query not in self.signed:
            return Answer(403, b"<Error>the address has expired</Error>", {"Content-Type": "application/xml"})
        name, _, version = path.removeprefix("/blobs/").rpartition("/")
        body = self.datasets[name, int(version)]
        headers = {"Content-Type": "application/zip", "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}
        answer = ranged(body, headers, request, f'"{hashlib.md5(body).hexdigest()}"')
        return self.or_fault("body", answer)


def _json(status: int, content: dict) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})
