"""A small server that speaks the Hub's HTTP API: enough for huggingface_hub's own client, faults on demand.

Run as a process: `python server.py`; its first line is the port. Everything is in memory. `/_test/faults` takes a JSON
list of faults, `/_test/state` tells what is stored and which requests came.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parent))
from store import Refused, Repository, Store

TOKENS = {"hf_tester_may_write": ("tester", ["org"], True), "hf_reader_may_not": ("reader", [], False)}
ROUTES: list[tuple[str, re.Pattern[str], str]] = []


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose method and path match.

    Attributes:
        kind: status | slow | cut | content (other than its name says) | commit (another one) | files (more of them) |
            names (of files, nothing else)
        status, message, code: of "status": the answer, its text and its X-Error-Code.
        seconds: of "slow": before the answer. bytes: of "cut": of the body that pass before the connection ends.
        files: of "files": names that are added to every list of files.
    """

    method: str
    path: str
    kind: str
    times: int = 1_000_000
    status: int = 500
    message: str = "a fault was asked for"
    code: str = ""
    seconds: float = 0.0
    bytes: int = 0
    files: list[str] = field(default_factory=list)


def route(method: str, pattern: str):
    """Marks the method that answers these requests."""

    def mark(function):
        ROUTES.append((method, re.compile(pattern), function.__name__))
        return function

    return mark


KIND = r"/api/(?P<kind>models|datasets|spaces)/(?P<id>[^/]+/[^/]+)"
FILE = r"/(?:(?P<kind>datasets|spaces)/)?(?P<id>[^/]+/[^/]+)"


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    store = Store()
    faults: list[Fault] = []
    requests: list[list[str]] = []
    lock = threading.RLock()

    def log_message(self, *arguments: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def _dispatch(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        self.fault = self._fault(path)
        length = int(self.headers.get("Content-Length") or 0)
        if self.fault and self.fault.kind == "cut" and self.command in ("PUT", "POST"):
            self.rfile.read(min(self.fault.bytes, length))
            self._drop()
            return
        self.body = self._read_body(length)
        if not path.startswith("/_test/"):
            self.requests.append([self.command, path])
        if self.fault and self.fault.kind == "slow":
            time.sleep(self.fault.seconds)
        try:
            if self.fault and self.fault.kind == "status":
                raise Refused(self.fault.status, self.fault.message, self.fault.code)
            for method, pattern, name in ROUTES:
                found = pattern.fullmatch(path) if method in (self.command, "ANY") else None
                if found:
                    with self.lock:
                        answer = getattr(self, name)(**found.groupdict())
                    return self._send(*answer)
            raise Refused(404, f"no route {self.command} {path}")
        except Refused as refused:
            headers = {"X-Error-Message": refused.message} | ({"X-Error-Code": refused.code} if refused.code else {})
            self._send(refused.status, {"error": refused.message, **refused.more}, headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _dispatch

    def _read_body(self, length: int) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(length)
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _fault(self, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method in (self.command, "ANY") and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def _has(self, kind: str) -> bool:
        return self.fault is not None and self.fault.kind == kind

    def _drop(self) -> None:
        """Ends the connection as a lost network does."""
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        if self.fault and self.fault.kind == "content" and isinstance(content, bytes) and body:
            body = bytes(byte ^ 0x55 for byte in body)
        if self.fault and self.fault.kind == "commit" and "X-Repo-Commit" in headers:
            headers["X-Repo-Commit"] = "f" * 40
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault and self.fault.kind == "cut":
            self.wfile.write(body[: self.fault.bytes])
            self._drop()
            return
        self.wfile.write(body)

    def _user(self, write: bool = False) -> str | None:
        """The name behind the token; refuses one that is wrong, and readers where `write`."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token and write:
            raise Refused(401, "Invalid username or password.")
        if not token:
            return None
        if token not in TOKENS:
            raise Refused(401, "Invalid credentials in Authorization header")
        name, _, may_write = TOKENS[token]
        if write and not may_write:
            raise Refused(403, "you don't have the rights to do this")
        return name

    def _repository(self, kind: str | None, id: str, write: bool = False) -> Repository:
        user = self._user(write)
        found = self.store.repositories.get((kind or "models", id))
        if found is None or (found.private and user is None):
            raise Refused(401 if user is None else 404, "Repository not found", "RepoNotFound")
        return found

    @route("ANY", r"/_test/(?P<what>\w+)")
    def test(self, what: str):
        if what == "faults":
            type(self).faults = [Fault(**fault) for fault in json.loads(self.body)]
            return 200, {}
        if what == "forget":
            self.requests.clear()
            return 200, {}
        return 200, {"repositories": self.store.told(), "requests": self.requests, "blobs": sorted(self.store.blobs)}

    @route("GET", r"/api/whoami-v2")
    def whoami(self):
        name = self._user()
        if name is None:
            raise Refused(401, "Invalid username or password.")
        orgs = next(orgs for user, orgs, _ in TOKENS.values() if user == name)
        return 200, {"type": "user", "name": name, "fullname": name, "orgs": [{"name": org} for org in orgs]}

    @route("POST", r"/api/validate-yaml")
    def validate(self):
        return 200, {"errors": [], "warnings": []}

    @route("POST", r"/api/repos/create")
    def create(self):
        user, asked = self._user(write=True), json.loads(self.body)
        owner = asked.get("organization") or user
        orgs = next(orgs for name, orgs, _ in TOKENS.values() if name == user)
        if owner not in (user, *orgs):
            raise Refused(403, f"You don't have the rights to create a repo under the namespace {owner}")
        kind, id = f"{asked.get('type') or 'model'}s", f"{owner}/{asked['name']}"
        url = self._url(("" if kind == "models" else f"{kind}/") + id)
        if (kind, id) in self.store.repositories:
            raise Refused(409, "You already created this repo", more={"url": url})
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.store.repositories[kind, id] = Repository(id, private, asked.get("sdk"))
        return 200, {"url": url, "name": id, "id": "0" * 24}

    @route("DELETE", r"/api/repos/delete")
    def delete(self):
        self._user(write=True)
        asked = json.loads(self.body)
        owner = asked.get("organization") or self._user()
        self.store.repositories.pop((f"{asked.get('type') or 'model'}s", f"{owner}/{asked['name']}"), None)
        return 200, {}

    def _url(self, path: str) -> str:
        return f"http://{self.headers['Host']}/{path}"

    @route("GET", KIND + r"(/revision/(?P<revision>.+))?")
    def info(self, kind: str, id: str, revision: str | None):
        repository = self._repository(kind, id)
        commit = repository.commit(revision or "main")
        siblings: list[dict[str, Any]] = [
            {"rfilename": path, **(entry.sibling() if "blobs" in self.query and not self._has("names") else {})}
            for path, entry in sorted(commit.files.items())
        ]
        if self.fault and self.fault.kind == "files":
            siblings += [{"rfilename": name, "size": 5, "blobId": "0" * 40} for name in self.fault.files]
        sha = "f" * 40 if self.fault and self.fault.kind == "commit" else commit.oid
        told = {"_id": "0" * 24, "id": id, "sha": sha, "private": repository.private, "tags": [], "siblings": siblings}
        return 200, told | {"downloads": 0, "likes": 0, "sdk": repository.sdk}

    @route("GET", KIND + r"/tree/(?P<revision>[^/]+|refs/.+?)(/(?P<under>.*))?")
    def tree(self, kind: str, id: str, revision: str, under: str | None):
        files = self._repository(kind, id).commit(revision).files
        rows = [
            entry.row(path) for path, entry in sorted(files.items()) if path.startswith(f"{under}/" if under else "")
        ]
        if self.fault and self.fault.kind == "files":
            rows += [{"type": "file", "path": name, "size": 5, "oid": "0" * 40} for name in self.fault.files]
        return 200, rows

    @route("POST", KIND + r"/paths-info/(?P<revision>.+)")
    def paths(self, kind: str, id: str, revision: str):
        files, asked = self._repository(kind, id).commit(revision).files, json.loads(self.body)["paths"]
        return 200, [files[path].row(path) for path in asked if path in files]

    @route("GET", KIND + r"/refs")
    def refs(self, kind: str, id: str):
        repository = self._repository(kind, id)
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": oid} for n, oid in repository.tags.items()]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.head.oid}
        return 200, {"branches": [main], "converts": [], "tags": tags}

    @route("POST", KIND + r"/tag/(?P<revision>.+)")
    def tag(self, kind: str, id: str, revision: str):
        repository, name = self._repository(kind, id, write=True), json.loads(self.body)["tag"]
        if name in repository.tags:
            raise Refused(409, f"Tag reference exists already: {name}")
        repository.tags[name] = repository.commit(revision).oid
        return 200, {}

    @route("POST", KIND + r"/preupload/(?P<revision>.+)")
    def preupload(self, kind: str, id: str, revision: str):
        files = self._repository(kind, id, write=True).commit(revision).files
        told = []
        for asked in json.loads(self.body)["files"]:
            path, size = asked["path"], asked["size"]
            large = path.endswith((".safetensors", ".onnx")) or size > 10_000_000
            row = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            told.append(row | ({"oid": files[path].sha256 or files[path].oid} if path in files else {}))
        return 200, {"files": told}

    @route("POST", FILE + r"\.git/info/lfs/objects/batch")
    def batch(self, kind: str | None, id: str):
        self._repository(kind, id, write=True)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            row = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.store.blobs:
                put, check = self._url(f"_lfs/{asked['oid']}"), self._url(f"_lfs/{asked['oid']}/verify")
                row["actions"] = {"upload": {"href": put}, "verify": {"href": check}}
            objects.append(row)
        return 200, {"transfer": "basic", "objects": objects}

    @route("PUT", r"/_lfs/(?P<oid>\w+)")
    def upload(self, oid: str):
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "the content has another sha256")
        self.store.blobs[oid] = self.body
        return 200, {}

    @route("POST", r"/_lfs/(?P<oid>\w+)/verify")
    def verify(self, oid: str):
        if len(self.store.blobs.get(oid, b"")) != json.loads(self.body)["size"]:
            raise Refused(404, "no such object")
        return 200, {}

    @route("POST", KIND + r"/commit/(?P<revision>.+)")
    def commit(self, kind: str, id: str, revision: str):
        repository = self._repository(kind, id, write=True)
        rows = [json.loads(line) for line in self.body.splitlines() if line]
        commit = self.store.commit(repository, rows)
        return 200, {"success": True, "commitOid": commit.oid, "commitUrl": self._url(f"{id}/commit/{commit.oid}")}

    @route("GET", r"/_cdn/(?P<oid>\w+)")
    @route("HEAD", r"/_cdn/(?P<oid>\w+)")
    def cdn(self, oid: str):
        if "Authorization" in self.headers:
            raise Refused(400, "a token was sent to the store of large files")
        return self._part(self.store.blobs[oid], {"ETag": f'"{oid}"'})

    @route("GET", FILE + r"/resolve/(?P<revision>[^/]+|refs/.+?)/(?P<path>.+)")
    @route("HEAD", FILE + r"/resolve/(?P<revision>[^/]+|refs/.+?)/(?P<path>.+)")
    def resolve(self, kind: str | None, id: str, revision: str, path: str):
        commit = self._repository(kind, id).commit(revision)
        headers = {"X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        entry = commit.files.get(path)
        if entry is None:
            raise Refused(404, "Entry not found", "EntryNotFound")
        if entry.sha256:
            headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size)}
            # Another host name, as the Hub's large files have: the client must not take the token there.
            port = self.headers["Host"].rpartition(":")[2]
            return 302, b"", headers | {"Location": f"http://localhost:{port}/_cdn/{entry.sha256}"}
        return self._part(base64.b64decode(entry.content), headers | {"ETag": f'"{entry.oid}"'})

    def _part(self, content: bytes, headers: dict[str, str]):
        """The content, or the range of it that was asked for."""
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found:
            return 200, content, headers
        start, end = int(found[1]), int(found[2] or len(content) - 1)
        return 206, content[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(content)}"}


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
