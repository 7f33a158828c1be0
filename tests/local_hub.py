"""A model hub on this machine: as much of the Hugging Face Hub as `huggingface_hub` needs to push and to fetch."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_right"
"""The one token that may write and see what is private."""
Files = dict[str, bytes]


@dataclass
class Repository:
    """A repository with its branches; every commit keeps all its files."""

    private: bool | None = None
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Files] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit("main", {})

    def commit(self, branch: str, files: Files) -> str:
        content = json.dumps([len(self.commits), sorted((name, _oid(data)) for name, data in files.items())])
        sha = hashlib.sha1(content.encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def at(self, revision: str) -> tuple[str, Files] | None:
        sha = self.branches.get(revision, revision)
        return (sha, self.commits[sha]) if sha in self.commits else None


class LocalHub:
    """The hub, running while it is used as a context."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        """Every request, as `GET /path`."""
        self.messages: list[str] = []
        """Of the commits."""

    def __enter__(self) -> "LocalHub":
        hub = self

        class Handler(_Handler):
            home = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def files(self, repo_id: str, revision: str = "main") -> Files:
        """The files of a repository, for a test to look at or to change."""
        commit = self.repositories[repo_id].at(revision)
        assert commit is not None, revision
        return commit[1]

    def fetched(self) -> set[str]:
        """The files that were downloaded."""
        return {
            path.split("/resolve/")[1].split("/", 1)[1]
            for path in self.requests
            if path.startswith("GET") and "/resolve/" in path
        }


class _Handler(BaseHTTPRequestHandler):
    home: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.home.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._validate(json.loads(body)["content"])
        elif parts[:2] == ["api", "models"]:
            self._model("/".join(parts[2:4]), parts[4] if len(parts) > 4 else "", "/".join(parts[5:]), body)
        elif "resolve" in parts:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._answer(404, {})

    @property
    def _allowed(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _create(self, request: dict[str, Any]) -> None:
        repo_id = f"{request.get('organization') or 'me'}/{request['name']}"
        if not self._allowed:
            self._answer(401, {"error": "Invalid username or password."})
        elif repo_id.startswith("closed/"):
            self._answer(403, {"error": "You don't have the rights"})
        elif repo_id in self.home.repositories:
            self._answer(409, {"url": f"{self.home.endpoint}/{repo_id}"})
        else:
            private = {"private": True, "public": False, None: None}[request.get("visibility")]
            self.home.repositories[repo_id] = Repository(private)
            self._answer(200, {"url": f"{self.home.endpoint}/{repo_id}"})

    def _validate(self, card: str) -> None:
        head = yaml.safe_load(card.split("---\n")[1])
        wrong = [name for name in ("library_name", "tags") if name not in head]
        self._answer(400 if wrong else 200, {"errors": [{"message": name} for name in wrong], "warnings": []})

    def _model(self, repo_id: str, what: str, revision: str, body: bytes) -> None:
        repository = self._open(repo_id)
        if repository is None:
            return None
        if what == "branch":
            if revision in repository.branches:
                return self._answer(409, {"error": "it exists"})
            repository.branches[revision] = repository.branches["main"]
            return self._answer(200, {})
        commit = repository.at(revision or "main")
        if commit is None:
            return self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        sha, files = commit
        if what == "preupload":
            plain = {"uploadMode": "regular", "shouldIgnore": False}
            return self._answer(200, {"files": [{"path": f["path"], **plain} for f in json.loads(body)["files"]]})
        if what == "commit":
            return self._commit(repo_id, repository, revision, body)
        if what == "tree":
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": _oid(data)} for name, data in files.items()
            ]
            return self._answer(200, entries)
        return self._answer(200, {"id": repo_id, "sha": sha, "siblings": [{"rfilename": name} for name in files]})

    def _commit(self, repo_id: str, repository: Repository, branch: str, body: bytes) -> None:
        files = dict(self.home.files(repo_id, branch))
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                self.home.messages.append(value["summary"])
        ask = "create_pr=1" in self.path
        sha = repository.commit("refs/pr/1" if ask else branch, files)
        address = f"{self.home.endpoint}/{repo_id}"
        request = f"{address}/discussions/1" if ask else None
        self._answer(200, {"commitUrl": f"{address}/commit/{sha}", "commitOid": sha, "pullRequestUrl": request})

    def _file(self, repo_id: str, revision: str, name: str) -> None:
        repository = self._open(repo_id)
        if repository is None:
            return
        commit = repository.at(revision)
        assert commit is not None
        sha, files = commit
        if name not in files:
            self._answer(404, {"error": "not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
            return
        self._answer(200, files[name], {"ETag": f'"{_oid(files[name])}"', "X-Repo-Commit": sha})

    def _open(self, repo_id: str) -> Repository | None:
        """The repository, or an answer that says why not."""
        repository = self.home.repositories.get(repo_id)
        if repo_id.startswith("broken/"):
            self._answer(503, {"error": "out of order"})
        elif repository is None or (repository.private and not self._allowed):
            self._answer(404 if self._allowed else 401, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        elif repository.gated and not self._allowed:
            self._answer(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        else:
            return repository
        return None

    def _answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
