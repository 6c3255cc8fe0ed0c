"""What huggingface_hub sees of the hub when it downloads a snapshot."""

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from servers.loopback import Answer, Loopback, Request, ranged

LFS_FROM = 100_000  # bytes; smaller files stand in Git itself


class Hub(Loopback):
    """One repository with one commit, which is also its main branch.

    Faults of kind `info` (the repository's description), `tree` (its listing) and `body` (a file).

    Attributes:
        files: what is listed and served.
        flipped: names of files whose last byte is served wrong, each as often as the name stands here.
    """

    def __init__(self, name: str, folder: Path):
        super().__init__()
        self.name = name
        self.files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        self.commit = hashlib.sha1("".join(self.files).encode()).hexdigest()
        self.flipped: list[str] = []
        self.tree = [_entry(path, content) for path, content in self.files.items()]

    def env(self) -> dict[str, str]:
        return {"HF_ENDPOINT": self.url, "HF_HUB_DISABLE_TELEMETRY": "1"}

    def answer(self, request: Request) -> Answer:
        path = unquote(urlsplit(request.path).path)
        if match := re.fullmatch(r"/api/models/(.+?)(?:/(revision|tree)/(.+))?", path):
            name, kind, revision = match.groups()
            if refusal := self.fault("tree" if kind == "tree" else "info") or self._refusal(name, revision or "main"):
                return refusal
            content = self.tree if kind == "tree" else self._info()
            return Answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})
        match = re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", path)
        if not match:
            return _refuse(404, "RepoNotFound")
        name, revision, file = match.groups()
        if refusal := self._refusal(name, revision):
            return refusal
        return self._file(request, file) if file in self.files else _refuse(404, "EntryNotFound")

    def _refusal(self, name: str, revision: str) -> Answer | None:
        if name != self.name:
            # The real hub does not tell a private repository from none at all.
            return _refuse(401, "RepoNotFound")
        return None if revision in ("main", self.commit) else _refuse(404, "RevisionNotFound")

    def _info(self) -> dict:
        siblings = [
            {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]}
            | ({"lfs": entry["lfs"]} if "lfs" in entry else {})
            for entry in self.tree
        ]
        return {"id": self.name, "modelId": self.name, "sha": self.commit, "siblings": siblings}

    def _file(self, request: Request, file: str) -> Answer:
        content = self.files[file]
        (entry,) = (entry for entry in self.tree if entry["path"] == file)
        large = "lfs" in entry
        etag = f'"{entry["lfs"]["oid"] if large else entry["oid"]}"'
        headers = {"X-Repo-Commit": self.commit, "Content-Type": "application/octet-stream"}
        if large:
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(len(content))}
        if request.method == "GET":
            if file in self.flipped:
                self.flipped.remove(file)
                content = content[:-1] + bytes([content[-1] ^ 1])
            if large and (fault := self.fault("body")):
                if fault.cut_at is None:
                    return fault
                answer = ranged(content, headers, request, etag)
                answer.cut_at = fault.cut_at
                return answer
        return ranged(content, headers, request, etag)


def _entry(path: str, content: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}
    if len(content) >= LFS_FROM:
        sha256 = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": sha256, "sha256": sha256, "size": len(content), "pointerSize": 130}
    return entry


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _refuse(status: int, code: str) -> Answer:
    return Answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code, "Content-Type": "application/json"})
