"""What a download sees of figshare: an address for each file that leads on to the bytes."""

import hashlib

from tests.servers.loopback import Answer, Loopback, Request, ranged


class Figshare(Loopback):
    """Files by number; faults of kind `body` come before a proper answer, and a cut is one of it."""

    def __init__(self, files: dict[int, bytes]):
        super().__init__()
        self.files = files

    def answer(self, request: Request) -> Answer:
        kind, _, number = request.path.strip("/").partition("/")
        if kind == "files":
            return Answer(302, headers={"Location": f"{self.url}/blobs/{number}"})
        body = self.files[int(number)]
        answer = ranged(body, {"Content-Type": "application/zip"}, request, f'"{hashlib.md5(body).hexdigest()}"')
        return self.or_fault("body", answer)
