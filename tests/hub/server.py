"""A hub on the loopback: real HTTP that the real huggingface_hub client speaks, with faults on demand.

Knows the Hub's protocol (model info, tree, resolve, whoami, a second port that plays the CDN; for uploads: making a
repository, preupload, LFS batches, commits) and how to break it; pure standard library. Only the far end is ours:
clients are the real ones.

    with LocalHub() as hub:
        hub.add_repo("org/name", folder)
        hub.fail("*model.safetensors", "cut", after=1000)
        ...                       # HF_ENDPOINT=hub.url
        hub.requests              # what was asked: method, path, range, with a token or not, bytes sent, when
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub import card_rules

LFS_BYTES = 64 << 10  # larger files, and all weights, are kept in LFS
HOLLOW_BYTES = 64 << 20  # nobody may ask for more of a hollow file at once
FAULTS = (
    "cut",  # close the connection after `after` bytes of the body (Content-Length says more)
    "truncate",  # an honest Content-Length for a body that ends `missing` bytes early
    "corrupt",  # the right size, one byte wrong
    "etag",  # another etag than the listed one
    "status",  # answer with `status` (and `headers`)
    "slow",  # `bytes_per_second`
    "hang",  # close without an answer
    "stall",  # send half of the body, then nothing for `seconds`
    "commit",  # the file of another commit
    "garbage",  # a web page instead of the API's JSON
    "raw",  # `sent` (bytes, or pieces of them, `pause` seconds apart) instead of an answer, then nothing for `seconds`
)


@dataclass
class Request:
    """One line of the log. `sent` counts the body's bytes that went out."""

    method: str
    path: str
    range: str | None
    authorized: bool
    cdn: bool
    status: int = 0
    sent: int = 0
    query: str = ""
    began: float = field(default_factory=time.monotonic)
    ended: float = math.inf


@dataclass(frozen=True)
class Hollow:
    """A file of `size` bytes that begins with `head`, the rest zeros that are never made: weights of any size.

    Its hashes are those of its head and size: no client can check them without fetching it.
    """

    head: bytes
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> bytes:
        start, end, _ = part.indices(self.size)
        if end - start > HOLLOW_BYTES:
            raise MemoryError(f"{end - start} bytes of a hollow file were asked for")
        return self.head[start:end].ljust(end - start, b"\0")

    @property
    def hashed(self) -> bytes:
        return self.head + str(self.size).encode()


Content = bytes | Path | Hollow


@dataclass
class Repo:
    """A repository at one commit: `files` by path, read and hashed once."""

    name: str
    commit: str
    files: dict[str, Content]
    gated: bool = False
    private: bool = False
    siblings: list[dict[str, Any]] | None = None  # listed instead of the real ones
    safetensors: dict[str, Any] | None = None
    card: dict[str, Any] = field(default_factory=dict)
    downloads: int = 0
    likes: int = 0
    _digests: dict[tuple[str, str], str] = field(default_factory=dict)

    def body(self, path: str) -> bytes | Hollow:
        self.files[path] = body = _bytes(self.files[path])
        return body

    def digest(self, path: str, name: str) -> str:
        """By hashlib's name, or "blob" for git's hash of it."""
        key = (path, name)
        if key not in self._digests:
            body = self.body(path)
            whole = body.hashed if isinstance(body, Hollow) else body
            self._digests[key] = _blob_id(body) if name == "blob" else hashlib.new(name, whole).hexdigest()
        return self._digests[key]

    @property
    def tags(self) -> list[str]:
        """What the Hub derives: `gguf` from the files, and from the card each base with what was done to it.

        The form "base_model:quantized:<id>" is what https://huggingface.co/models?other=base_model:quantized:<id>
        filters by; where a card does not say the relation, GGUF files make it "quantized", or it is "finetune".
        """
        gguf = any(path.endswith(".gguf") for path in self.files)
        bases = self.card.get("base_model", [])
        relation = self.card.get("base_model_relation") or ("quantized" if gguf else "finetune")
        named = [bases] if isinstance(bases, str) else bases
        return ["gguf"] * gguf + [tag for b in named for tag in (f"base_model:{b}", f"base_model:{relation}:{b}")]


@dataclass
class Fault:
    glob: str
    kind: str
    times: int
    method: str
    options: dict[str, Any]


class LocalHub:
    """A hub and its CDN, each on a port of its own. A context manager; `url` is what HF_ENDPOINT takes.

    `tokens` maps a valid token to its user's name; `granted` holds the users who accepted gated licences and may read
    private repositories.
    """

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        self.tokens = dict(tokens if tokens is not None else {"hf_validtoken": "ada"})
        self.granted: set[str] = set()
        self.role = "read"  # what whoami says of every token; "read" may write nothing
        self.stored: dict[str, bytes] = {}  # LFS objects that were uploaded, by SHA-256
        self.repos: dict[str, dict[str, Repo]] = {}  # name -> revision or commit -> repo
        self.renamed: dict[str, str] = {}  # old name -> new name
        self.without_ranges = False  # answer each range with the whole file, as some proxies do
        self.requests: list[Request] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.left = threading.Event()  # set when the hub ends: nothing waits any more
        self._servers = [_Server(self, cdn=False), _Server(self, cdn=True)]
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def __enter__(self) -> LocalHub:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.left.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add_repo(
        self,
        name: str,
        folder: Path | Mapping[str, bytes | Hollow],
        *,
        revision: str = "main",
        gated: bool = False,
        private: bool = False,
        siblings: list[dict[str, Any]] | None = None,
        safetensors: dict[str, Any] | None = None,
        card: dict[str, Any] | None = None,
        downloads: int = 0,
        likes: int = 0,
    ) -> Repo:
        """Serve a folder (or a mapping of paths to bytes) as a repository; the same name again moves the revision.

        Links in the folder are served as git keeps them: a small file that holds the target's path.
        """
        files: dict[str, Content] = _folder_files(folder) if isinstance(folder, Path) else {**folder}
        seed = name + "".join(f"{path}{_blob_id(_bytes(body))}" for path, body in sorted(files.items()))
        commit = hashlib.sha1(seed.encode()).hexdigest()
        repo = Repo(name, commit, files, gated, private, siblings, safetensors, card or {}, downloads, likes)
        self.repos.setdefault(name, {}).update({revision: repo, commit: repo})
        return repo

    def fail(self, glob: str, kind: str, *, times: int = 1, method: str = "GET", **options: Any) -> None:
        """The next `times` requests whose path (of the file in its repository, or of the API) matches `glob` fail."""
        if kind not in FAULTS:
            raise ValueError(f"{kind} is none of {', '.join(FAULTS)}")
        with self._lock:
            self._faults.append(Fault(glob, kind, times, method, options))

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that is due for a request, counted down."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.method in (method, "*") and fnmatch.fnmatchcase(path, fault.glob):
                    fault.times -= 1
                    return fault
        return None

    def unused_faults(self) -> list[str]:
        """Faults that were asked for and never happened."""
        return [f"{fault.kind} {fault.glob} x{fault.times}" for fault in self._faults if fault.times > 0]

    def log(self, request: Request) -> None:
        with self._lock:
            self.requests.append(request)

    def ranges(self, glob: str) -> list[tuple[int, int, int]]:
        """(start, end, bytes sent) of each range that was asked for of the files that match, in order."""
        found = []
        for request in self.requests:
            if request.method == "GET" and request.range and fnmatch.fnmatchcase(request.path, glob):
                start, _, last = request.range.removeprefix("bytes=").partition("-")
                found.append((int(start), int(last) + 1, request.sent))
        return found


def most_at_once(requests: Sequence[Request]) -> int:
    """How many of the requests were being answered at the same time, at the most."""
    return max((sum(r.began <= at.began < r.ended for r in requests) for at in requests), default=0)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub: LocalHub, *, cdn: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub, self.cdn = hub, cdn

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left in the middle is what many tests do."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Silent: `hub.requests` is the log."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        try:
            self._answer()
        finally:
            self.entry.ended = time.monotonic()

    def do_POST(self) -> None:
        self.posted = self._body()
        self._answer()

    def do_PUT(self) -> None:
        self.posted = self._body()
        self._answer()

    def _body(self) -> bytes:
        """What was sent, in one piece or in chunks."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    # -------------------------------------------------------- routes

    def _answer(self) -> None:
        self.hub = self.server.hub
        self.route = urlsplit(self.path)
        path = unquote(self.route.path)
        authorization = self.headers.get("Authorization")
        self.entry = Request(self.command, path, self.headers.get("Range"), bool(authorization), self.server.cdn)
        self.entry.query = self.route.query
        self.hub.log(self.entry)
        self.user = self.hub.tokens.get((authorization or "").removeprefix("Bearer "))
        self.fault = self.hub.fault(self.command, path)
        if self.fault and self.fault.kind in ("hang", "raw"):
            self._raw(**self.fault.options)
            return
        if self.fault and self.fault.kind == "status":
            self._error(self.fault.options.get("status", 500), **self.fault.options.get("headers", {}))
        elif authorization and self.user is None and not self.server.cdn:
            self._error(401, x_error_message="Invalid credentials in Authorization header")
        elif self.server.cdn:
            self._stored(path) if self.command == "PUT" else self._cdn(path)
        elif new := next((n for o, n in self.hub.renamed.items() if f"/{o}/" in path + "/"), None):
            old = next(o for o in self.hub.renamed if f"/{o}/" in path + "/")
            self._begin(307, {"Location": self.path.replace(f"/{old}", f"/{new}", 1), "Content-Length": "0"})
        else:
            self._route(path)

    def _route(self, path: str) -> None:
        if answer := {"/api/whoami-v2": self._whoami, "/api/validate-yaml": self._validate_card}.get(path):
            answer()
        elif self.command == "POST":
            self._write_to(path)
        elif path == "/api/models":
            self._list(parse_qs(self.route.query))
        elif path.startswith("/api/models/"):
            self._api(self.route.path.removeprefix("/api/models/"))
        elif "/resolve/" in path:
            self._resolve(path)
        else:
            self._error(404)

    def _raw(self, sent: bytes | Sequence[bytes] = b"", pause: float = 0.0, seconds: float = 0.0) -> None:
        """Whatever bytes, by whatever rhythm, as long as somebody listens."""
        self.close_connection = True
        for piece in [sent] if isinstance(sent, bytes) else sent:
            self.wfile.write(piece)
            self.hub.left.wait(pause)
        self.hub.left.wait(seconds)

    def _whoami(self) -> None:
        if self.user is None:
            self._error(401)
            return
        access = {"displayName": "test", "role": self.hub.role}
        self._json(
            {
                "type": "user",
                "name": self.user,
                "fullname": self.user.title(),
                "isPro": False,
                "orgs": [{"name": "lab", "type": "org"}],
                "auth": {"type": "access_token", "accessToken": access},
            }
        )

    def _validate_card(self) -> None:
        """A card's metadata, looked at as the Hub does: 400 with what is wrong, as text where that is asked for."""
        errors, warnings = card_rules.problems(json.loads(self.posted)["content"])
        told = {"errors": [{"message": one} for one in errors], "warnings": [{"message": one} for one in warnings]}
        plain = self.headers.get("Accept") == "text/plain"
        body = "\n".join(errors).encode() if plain else json.dumps(told).encode()
        kind = "text/plain" if plain else "application/json"
        self._begin(400 if errors else 200, {"Content-Length": str(len(body)), "Content-Type": kind})
        self._write(body)

    def _list(self, query: Mapping[str, Sequence[str]]) -> None:
        """Models that have all the tags of `filter`, those that count most by `sort` first, one page of `limit`.

        Format: `HfApi.list_models` of huggingface_hub 2.4, and https://huggingface.co/docs/hub/api.
        """
        shown = [next(iter(revisions.values())) for revisions in self.hub.repos.values()]
        shown = [r for r in shown if set(query.get("filter", ())) <= set(r.tags)]
        shown = [r for r in shown if not r.private or self.user in self.hub.granted]
        for key in query.get("sort", ()):
            shown.sort(key=lambda repo: int(getattr(repo, key)), reverse=True)
        self._json([_listed(repo) for repo in shown[: int(query.get("limit", ["1000"])[0])]])

    def _api(self, rest: str) -> None:
        name, what, revision = _split_api(rest)
        repo = self._repo(name, revision)
        if repo is None:
            return
        if what == "tree":
            self._tree(repo)
            return
        siblings = repo.siblings if repo.siblings is not None else [_sibling(repo, p) for p in repo.files]
        config = repo.files.get("config.json")
        self._json(
            {
                **_listed(repo),
                "id": name,
                "modelId": name,
                "sha": repo.commit,
                "gated": "manual" if repo.gated else False,
                "disabled": False,
                "siblings": siblings,
                "config": _short_config(config),
                **({"safetensors": repo.safetensors} if repo.safetensors else {}),
                **({"cardData": repo.card} if repo.card else {}),
            }
        )

    def _tree(self, repo: Repo) -> None:
        """Pages of two entries, so that a client that reads only the first is caught."""
        entries = [_entry(repo, path) for path in sorted(repo.files)]
        at = int(parse_qs(self.route.query).get("cursor", ["0"])[0])
        headers = {}
        if at + 2 < len(entries):
            headers["Link"] = f'<{self.hub.url}{self.route.path}?recursive=True&cursor={at + 2}>; rel="next"'
        self._json(entries[at : at + 2], headers)

    def _resolve(self, path: str) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        repo = self._repo(name, revision)
        if repo is None:
            return
        if repo.gated and self.user not in self.hub.granted:
            self._error(403 if self.user else 401, x_error_code="GatedRepo", x_error_message="Access is restricted")
            return
        if file not in repo.files:
            self._error(404, x_error_code="EntryNotFound", x_error_message="Entry not found")
            return
        body = repo.body(file)
        headers = {"X-Repo-Commit": repo.commit}
        if self.fault and self.fault.kind == "commit":
            headers["X-Repo-Commit"] = "f" * 40
        if not _is_lfs(file, body):
            self._send_file(body, self._etag(repo.digest(file, "blob")), headers)
            return
        sha256 = repo.digest(file, "sha256")
        headers["X-Linked-Etag"] = f'"{self._etag(sha256)}"'
        headers["X-Linked-Size"] = str(len(body))
        headers["Location"] = f"{self.hub.cdn_url}/cdn/{name}/{repo.commit}/{file}?Signature=secret"
        self._begin(302, {**headers, "Content-Length": "0"})

    def _cdn(self, path: str) -> None:
        org_name, _, rest = path.removeprefix("/cdn/").partition("/")
        name, _, rest = rest.partition("/")
        commit, _, file = rest.partition("/")
        repo = self.hub.repos.get(f"{org_name}/{name}", {}).get(commit)
        if repo is None or "Signature=secret" not in self.route.query:
            self._error(403)
            return
        body = repo.body(file)
        self._send_file(body, self._etag(repo.digest(file, "md5")), {})

    def _repo(self, name: str, revision: str) -> Repo | None:
        revisions = self.hub.repos.get(name)
        repo = next(iter(revisions.values())) if revisions else None
        if repo is None or (repo.private and self.user not in self.hub.granted):
            if self.user is None:
                self._error(401, x_error_message="Invalid username or password.")
            else:
                self._error(404, x_error_code="RepoNotFound", x_error_message="Repository not found")
            return None
        if revisions is None or revision not in revisions:
            self._error(404, x_error_code="RevisionNotFound", x_error_message=f"Invalid rev id: {revision}")
            return None
        return revisions[revision]

    # -------------------------------------------------------- uploads

    def _write_to(self, path: str) -> None:
        """Make a repository, say how files are to be sent, or take a commit, as `HfApi.create_repo` and
        `create_commit` of huggingface_hub 2.4 ask for it."""
        if self.user is None or self.hub.role == "read":
            self._error(403 if self.user else 401, x_error_message="You have no write access")
        elif path == "/api/repos/create":
            self._create(json.loads(self.posted))
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(self.posted)["objects"])
        elif "/preupload/" in path:
            files = json.loads(self.posted)["files"]
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if _is_lfs(one["path"], b"\0" * min(one["size"], LFS_BYTES + 1)) else "regular",
                    "shouldIgnore": False,
                }
                for one in files
            ]
            self._json({"files": modes})
        elif "/commit/" in path:
            self._commit(path.removeprefix("/api/models/").partition("/commit/")[0])
        else:
            self._error(404)

    def _create(self, asked: Mapping[str, Any]) -> None:
        name = f"{asked.get('organization') or self.user}/{asked['name']}"
        if name in self.hub.repos:
            self._json({"error": "You already created this model repo", "url": f"{self.hub.url}/{name}"}, status=409)
            return
        private = asked.get("visibility") == "private"
        self.hub.add_repo(name, {}, private=private)
        if private and self.user:
            self.hub.granted.add(self.user)
        self._json({"url": f"{self.hub.url}/{name}", "name": name, "id": name})

    def _batch(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Where to send each LFS object; nothing to do for one that is there."""
        told: list[dict[str, Any]] = []
        for one in objects:
            upload = {"upload": {"href": f"{self.hub.cdn_url}/lfs/{one['oid']}"}}
            told.append({**one, **({} if one["oid"] in self.hub.stored else {"actions": upload})})
        self._json({"transfer": "basic", "objects": told})

    def _stored(self, path: str) -> None:
        oid = path.removeprefix("/lfs/")
        if hashlib.sha256(self.posted).hexdigest() != oid:
            self._error(422)
            return
        self.hub.stored[oid] = self.posted
        self._begin(200, {"Content-Length": "0"})

    def _commit(self, name: str) -> None:
        """Apply a commit: a header, then a file a line."""
        before = self.hub.repos[name]["main"]
        files = dict(before.files)
        for line in map(json.loads, self.posted.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
        made = self.hub.add_repo(name, files, private=before.private)
        url = f"{self.hub.url}/{name}/commit/{made.commit}"
        self._json({"success": True, "commitOid": made.commit, "commitUrl": url, "hookOutput": ""})

    # -------------------------------------------------------- answers

    def _etag(self, etag: str) -> str:
        return "0" * len(etag) if self.fault and self.fault.kind == "etag" else etag

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.entry.status = status
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def _error(self, status: int, **headers: str) -> None:
        body = json.dumps({"error": headers.get("x_error_message", str(status))}).encode()
        named = {key.replace("_", "-").title(): value for key, value in headers.items()}
        self._begin(status, {**named, "Content-Length": str(len(body)), "Content-Type": "application/json"})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, content: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> None:
        body = json.dumps(content).encode()
        if self.fault and self.fault.kind == "garbage":
            body = b"<html>Please log in to the network</html>"
        self._begin(status, {**(headers or {}), "Content-Length": str(len(body)), "Content-Type": "application/json"})
        if self.command != "HEAD":
            self._write(body)

    def _send_file(self, body: bytes | Hollow, etag: str, headers: Mapping[str, str]) -> None:
        start, end, status = 0, len(body), 200
        if self.entry.range and not self.hub.without_ranges:
            first, _, last = self.entry.range.removeprefix("bytes=").partition("-")
            start, end, status = int(first), min(int(last or len(body)) + 1, len(body)), 206
        if start >= len(body) and self.entry.range:
            self._begin(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
            return
        whole = not self.fault and isinstance(body, bytes)
        part: bytes | memoryview = memoryview(body)[start:end] if whole else body[start:end]  # type: ignore[arg-type]
        if self.fault and self.fault.kind == "corrupt" and part:
            part = bytes(part[:-1]) + bytes([part[-1] ^ 1])
        if self.fault and self.fault.kind == "truncate":
            part = part[: -self.fault.options.get("missing", 1)]
        told = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Content-Length": str(len(part)), **headers}
        if status == 206:
            told["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(body)}"
        self._begin(status, told)
        if self.command != "HEAD":
            self._write(part)

    def _write(self, body: bytes | memoryview) -> None:
        fault = self.fault
        if fault and fault.kind == "cut":
            body = body[: fault.options.get("after", len(body) // 2)]
            self.close_connection = True
        if fault and fault.kind == "stall":
            self.wfile.write(body[: len(body) // 2])
            self.entry.sent = len(body) // 2
            time.sleep(fault.options.get("seconds", 1.0))
            self.close_connection = True
            return
        if fault and fault.kind == "slow":
            self._write_slowly(body, fault.options.get("bytes_per_second", 100_000))
            return
        self.wfile.write(body)
        self.entry.sent = len(body)

    def _write_slowly(self, body: bytes | memoryview, bytes_per_second: int) -> None:
        step = max(1, bytes_per_second // 50)
        for at in range(0, len(body), step):
            time.sleep(step / bytes_per_second)
            self.wfile.write(body[at : at + step])
            self.entry.sent += len(body[at : at + step])


# ------------------------------------------------------------ what the Hub says of files


def _split_api(rest: str) -> tuple[str, str, str]:
    """(name, "info" or "tree", revision) of what follows /api/models/."""
    for what in ("revision", "tree"):
        name, found, revision = rest.partition(f"/{what}/")
        if found:
            return unquote(name), "info" if what == "revision" else what, unquote(revision.partition("/")[0])
    return unquote(rest), "info", "main"


def _listed(repo: Repo) -> dict[str, Any]:
    """A model in a list."""
    told = {"_id": "0", "id": repo.name, "modelId": repo.name, "likes": repo.likes, "downloads": repo.downloads}
    return {**told, "private": repo.private, "tags": repo.tags, "createdAt": "2024-01-01T00:00:00.000Z"}


def _sibling(repo: Repo, path: str) -> dict[str, Any]:
    body = repo.body(path)
    entry: dict[str, Any] = {"rfilename": path, "size": len(body), "blobId": repo.digest(path, "blob")}
    if _is_lfs(path, body):
        entry["lfs"] = {"sha256": repo.digest(path, "sha256"), "size": len(body), "pointerSize": 134}
    return entry


def _entry(repo: Repo, path: str) -> dict[str, Any]:
    body = repo.body(path)
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(body), "oid": repo.digest(path, "blob")}
    if _is_lfs(path, body):
        entry["lfs"] = {"oid": repo.digest(path, "sha256"), "size": len(body), "pointerSize": 134}
    return entry


def _is_lfs(path: str, body: bytes | Hollow) -> bool:
    return len(body) > LFS_BYTES or (path.endswith((".safetensors", ".bin")) and len(body) > 1024)


def _blob_id(body: bytes | Hollow) -> str:
    whole = body.hashed if isinstance(body, Hollow) else body
    return hashlib.sha1(b"blob %d\0" % len(body) + whole).hexdigest()


def _bytes(content: Content) -> bytes | Hollow:
    return content.read_bytes() if isinstance(content, Path) else content


def _short_config(content: Content | None) -> dict[str, Any]:
    """What the API tells of config.json to anybody, for gated models too."""
    try:
        config = json.loads(_bytes(content)[:]) if content is not None else {}
    except ValueError:
        return {}
    return {key: config[key] for key in ("architectures", "model_type") if key in config}


def _folder_files(folder: Path) -> dict[str, Content]:
    return {path.relative_to(folder).as_posix(): _content(path) for path in _walk(folder)}


def _content(path: Path) -> bytes | Path:
    return str(path.readlink()).encode() if path.is_symlink() else path


def _walk(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file())
