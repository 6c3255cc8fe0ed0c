"""What huggingface_hub sees of the hub when it downloads a snapshot, or uploads a folder."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from tests.servers.loopback import Answer, Loopback, Request, ranged

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


@dataclass
class Repository:
    """One that was uploaded to.

    Attributes:
        files: those of its last commit.
        commits: the messages, the oldest first.
    """

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


class Account(Loopback):
    """The repositories of one user, who may write with one token; large files go through LFS and not through Xet.

    Faults of kind `info`, `create`, `preupload`, `lfs` (where a large file goes), `body` (the file itself) and
    `commit`.

    Attributes:
        repositories: by owner/name.
        large: what arrived through LFS, by its SHA-256.
    """

    TOKEN = "hf_good"

    def __init__(self, user: str):
        super().__init__()
        self.user = user
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}

    def env(self) -> dict[str, str]:
        return {
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_TOKEN": self.TOKEN,
        }

    def answer(self, request: Request) -> Answer:
        path = unquote(urlsplit(request.path).path)
        if path == "/api/validate-yaml":
            return _validate(json.loads(request.body))
        if match := re.fullmatch(r"/lfs/([0-9a-f]{64})", path):
            return self.or_fault("body", self._store(match[1], request.body))
        if request.headers.get("authorization", f"Bearer {self.TOKEN}") != f"Bearer {self.TOKEN}":
            return _error(401, "Invalid credentials in Authorization header")
        if path == "/api/repos/create":
            return self.fault("create") or self._create(json.loads(request.body))
        if match := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            return self.fault("lfs") or self._batch(json.loads(request.body))
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(preupload|commit)/main)?", path)
        if not match or not (repository := self._visible(match[1], request)):
            return _refuse(404 if match else 400, "RepoNotFound")
        if match[2] == "preupload":
            return self.fault("preupload") or _preupload(json.loads(request.body))
        if match[2] == "commit":
            return self.fault("commit") or self._commit(match[1], repository, request.body)
        return self.fault("info") or _json(
            {"id": match[1], "modelId": match[1], "private": repository.private, "siblings": []}
        )

    def _visible(self, name: str, request: Request) -> Repository | None:
        found = self.repositories.get(name)
        return found if found and (not found.private or "authorization" in request.headers) else None

    def _create(self, wanted: dict) -> Answer:
        name = f"{wanted['organization'] or self.user}/{wanted['name']}"
        if wanted["organization"] not in (None, self.user):
            return _error(
                403, f"You don't have the rights to create a model under the namespace {wanted['organization']!r}"
            )
        if name in self.repositories:
            return _error(409, "You already created this model repo")
        self.repositories[name] = Repository(wanted.get("visibility") == "private")
        return _json({"url": f"{self.url}/{name}", "id": name})

    def _batch(self, wanted: dict) -> Answer:
        objects = [
            each | {"actions": {"upload": {"href": f"{self.url}/lfs/{each['oid']}"}}}
            for each in wanted["objects"]
            if each["oid"] not in self.large
        ]
        return _json({"transfer": "basic", "objects": objects})

    def _store(self, sha256: str, content: bytes) -> Answer:
        if hashlib.sha256(content).hexdigest() != sha256:
            return _error(400, "the content does not have this hash")
        self.large[sha256] = content
        return Answer(200)

    def _commit(self, name: str, repository: Repository, body: bytes) -> Answer:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "header":
                repository.commits.append(value["summary"])
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.large[value["oid"]]
        commit = hashlib.sha1(body).hexdigest()
        return _json({"success": True, "commitOid": commit, "commitUrl": f"{self.url}/{name}/commit/{commit}"})


def _preupload(wanted: dict) -> Answer:
    modes = [
        {
            "path": each["path"],
            "uploadMode": "lfs" if each["size"] >= LFS_FROM else "regular",
            "shouldIgnore": False,
            "oid": None,
        }
        for each in wanted["files"]
    ]
    return _json({"files": modes})


# Some of the licences that the hub knows by these names.
LICENCES = ("mit", "apache-2.0", "cc0-1.0", "cc-by-4.0", "other", "unknown")
REPOSITORY = r"(?:[\w-]+/)?[\w.-]+"


def problems(card: str) -> list[str]:
    """What the hub would object to in the metadata of a model card, by its published specification (modelcard.md)."""
    match = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    data = yaml.safe_load(match[1]) if match else None
    if not isinstance(data, dict):
        return ["empty or missing yaml metadata in repo card"]
    found = []

    def hold(holds: bool, text: str) -> None:
        if not holds:
            found.append(text)

    hold(data.get("license") in (*LICENCES, None), '"license" must be one of the known ones')
    hold(data.get("license") != "other" or "license_name" in data, '"license_name" is required')
    for name in ("datasets", "base_model"):
        listed = data.get(name) or []
        for each in [listed] if isinstance(listed, str) else listed:
            hold(bool(re.fullmatch(REPOSITORY, each)), f'"{name}" with value "{each}" is not valid')
    for name in ("tags", "metrics"):
        hold(all(isinstance(each, str) for each in data.get(name) or []), f'"{name}" must be strings')
    hold(isinstance(data.get("model-index", []), list), '"model-index" must be a list')
    for model in data.get("model-index", []):
        hold(isinstance(model.get("name"), str), '"model-index[].name" is required')
        hold(bool(model.get("results")), '"model-index[].results" is required')
        for result in model.get("results", []):
            dataset = result.get("dataset", {})
            hold(isinstance(result.get("task", {}).get("type"), str), '"task.type" is required')
            hold(isinstance(dataset.get("name"), str), '"dataset.name" is required')
            hold(bool(re.fullmatch(REPOSITORY, dataset.get("type", ""))), '"dataset.type" must be the id of a data set')
            hold(bool(result.get("metrics")), '"metrics" is required')
            for metric in result.get("metrics", []):
                hold(isinstance(metric.get("type"), str), '"metrics[].type" is required')
                hold(metric.get("value") is not None, '"metrics[].value" is required')
                hold("verified" not in metric, '"metrics[].verified" is for the hub to set')
    return found


def _validate(wanted: dict) -> Answer:
    errors = [{"message": text} for text in problems(wanted["content"])]
    content = json.dumps({"errors": errors, "warnings": []}).encode()
    return Answer(400 if errors else 200, content, {"Content-Type": "application/json"})


def _json(content: dict) -> Answer:
    return Answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


def _error(status: int, message: str) -> Answer:
    headers = {"X-Error-Message": message, "Content-Type": "application/json"}
    return Answer(status, json.dumps({"error": message}).encode(), headers)


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
