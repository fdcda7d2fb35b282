"""Push and pull against a small server with the hub's protocol: repositories, tree, LFS, commits, downloads."""

import base64
import errno
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lazarus_cli.operations.file_list import LIST, list_files

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
"""The hub's client calls its HTTP client in an old way."""
TOKEN = "hf_secret_of_the_test"


class Hub(ThreadingHTTPServer):
    """A server with one repository. Every commit keeps its files."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.commits: dict[str, dict[str, tuple[bytes, bool]]] = {}
        self.head: str | None = None
        self.is_private: bool | None = None
        self.damages = ""
        self.tokens: set[str | None] = set()
        self.lines: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def files(self, revision: str) -> dict[str, tuple[bytes, bool]] | None:
        return self.commits.get(self.head or "" if revision == "main" else revision)

    def commit(self, files: dict[str, tuple[bytes, bool]]) -> str:
        self.head = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits[self.head] = files
        return self.head


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def answer(
        self, members: object = None, code: int = 200, headers: dict[str, str] | None = None, raw: bytes | None = None
    ):
        content = json.dumps(members).encode() if raw is None else raw
        self.send_response(code)
        for name, value in {
            "Content-Length": str(len(content)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def handle_any(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        body = self.body()
        if not path.startswith("/lfs/"):
            hub.tokens.add(self.headers.get("Authorization"))
        hub.lines.append(f"{self.command} {self.path}")
        if path == "/api/repos/create":
            if hub.head is None:
                hub.is_private = json.loads(body).get("private", json.loads(body).get("visibility") == "private")
                hub.commit({".gitattributes": (b"", False)})
            self.answer({"url": f"{hub.url}/ann/tiny", "name": "ann/tiny"})
        elif "ann/tiny" not in path and not path.startswith("/lfs/"):
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in files
            ]
            self.answer({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            actions = {"upload": {"href": ""}}
            objects = [
                {**each, "actions": {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}}}
                if each["oid"] not in hub.objects
                else each
                for each in json.loads(body)["objects"]
            ]
            assert actions
            self.answer({"transfer": "basic", "objects": objects})
        elif path.startswith("/lfs/"):
            hub.objects[path.rpartition("/")[2]] = body
            self.answer({})
        elif "/commit/" in path:
            files = dict(hub.files("main") or {})
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"]), False
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.objects[value["oid"]], True
                elif line["key"] == "deletedFile":
                    del files[value["path"]]
            if hub.damages in files:
                files[hub.damages] = files[hub.damages][0][:-1] + b"!", files[hub.damages][1]
            commit = hub.commit(files)
            self.answer(
                {"commitOid": commit, "commitUrl": f"{hub.url}/ann/tiny/commit/{commit}", "pullRequestUrl": None}
            )
        elif match := re.search(r"/tree/([^/]+)", path):
            files = hub.files(match[1])
            listed = [
                {
                    "type": "file",
                    "path": name,
                    "size": len(content),
                    "oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
                    **(
                        {"lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}}
                        if is_lfs
                        else {}
                    ),
                }
                for name, (content, is_lfs) in (files or {}).items()
            ]
            self.answer(listed) if files is not None else self.answer(
                {"error": "no"}, 404, {"X-Error-Code": "RevisionNotFound"}
            )
        elif match := re.search(r"/resolve/([^/]+)/(.+)", path):
            files = hub.files(match[1]) or {}
            if match[2] not in files:
                return self.answer({"error": "no"}, 404, {"X-Error-Code": "EntryNotFound"})
            content, is_lfs = files[match[2]]
            etag = (
                hashlib.sha256(content).hexdigest()
                if is_lfs
                else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            )
            self.answer(
                raw=content,
                headers={"ETag": f'"{etag}"', "X-Repo-Commit": hub.head or "" if match[1] == "main" else match[1]},
            )
        elif "/api/models/ann/tiny" in path:
            revision = path.rpartition("/revision/")[2] if "/revision/" in path else "main"
            if hub.files(revision) is None:
                return self.answer({"error": "no"}, 404, {"X-Error-Code": "RevisionNotFound"})
            self.answer(
                {
                    "id": "ann/tiny",
                    "sha": hub.head if revision == "main" else revision,
                    "siblings": [],
                    "private": True,
                    "tags": [],
                }
            )
        else:
            self.answer({"error": path}, 400)
        return None

    do_GET = do_POST = do_PUT = do_HEAD = handle_any


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    import huggingface_hub.constants as constants

    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)  # the server has LFS alone
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


def names(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name != ".lock"
    }


@pytest.mark.slow
def test_a_run_comes_back_from_the_hub_with_every_byte_and_link(world: Path, hub: Hub, lazarus):
    for each in sorted((world / "run/checkpoints").glob("step-*"))[:-2]:
        shutil.rmtree(each)
    (world / "run/checkpoints/best").unlink()
    code, out, err = lazarus("push", "run", "hf://ann/tiny")
    assert (code, out) == (0, f"hf://ann/tiny at commit {hub.head}\n"), err
    assert hub.is_private and hub.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in out + err + "".join(hub.lines)
    code, out, err = lazarus("pull", "hf://ann/tiny", "-o", "again", "--expect", list_files(world / "run").digest)
    assert (code, out) == (0, "again\n"), err
    assert names(Path("again")) == names(world / "run")
    assert Path("again/checkpoints/latest").readlink() == Path("step-0000004")


@pytest.mark.slow
def test_a_push_deletes_its_own_old_files_and_pull_gives_any_revision(world: Path, hub: Hub, lazarus):
    lazarus("push", "plan", "hf://ann/tiny")
    first, before = hub.head, names(world / "plan")
    files = dict(hub.commits[first])
    hub.commit({**files, "README.md": (b"# Mine\n", False)})
    (world / "plan/plan.idx").rename(world / "plan/notes.txt")
    assert lazarus("push", "plan", "hf://ann/tiny")[0] == 0
    assert "README.md" in hub.commits[hub.head] and "plan.idx" not in hub.commits[hub.head]
    assert lazarus("pull", "hf://ann/tiny", "-o", "new")[0] == 0 and names(Path("new")) == names(world / "plan")
    assert lazarus("pull", f"hf://ann/tiny@{first}", "-o", "old")[0] == 0 and names(Path("old")) == before


@pytest.mark.slow
def test_what_arrives_damaged_is_found_by_push_and_by_pull(world: Path, hub: Hub, lazarus):
    hub.damages = "model.safetensors"
    code, _, err = lazarus("push", "model", "hf://ann/tiny")
    assert code == 1 and "model.safetensors is not as it was sent" in err
    code, _, err = lazarus("pull", "hf://ann/tiny", "-o", "again")
    assert code == 1 and "LC-E276" in err and not Path("again").exists()
    files = {name: each for name, each in hub.commits[hub.head].items() if name != "config.json"}
    hub.commit(files)
    code, _, err = lazarus("pull", "hf://ann/tiny", "-o", "again")
    assert code == 1 and "config.json is missing" in err and not Path("again").exists()


def test_a_repository_without_a_list_is_compared_with_the_hubs_digests(world: Path, hub: Hub, lazarus):
    files = {name: (content, name.endswith(".safetensors")) for name, content in names(world / "model").items()}
    hub.commit({**files, ".gitattributes": (b"", False)})
    assert lazarus("pull", "hf://ann/tiny", "-o", "again")[0] == 0
    assert names(Path("again")) == names(world / "model")
    assert "LC-E276" in lazarus("pull", "hf://ann/tiny", "-o", "other", "--expect", "0" * 16)[2]
    hub.commit({**files, "../evil.txt": (b"evil", False)})
    code, _, err = lazarus("pull", "hf://ann/tiny", "-o", "other")
    assert code == 2 and not Path("other").exists() and not (world.parent / "evil.txt").exists(), err


def test_a_full_disk_under_the_cache_is_not_an_error_of_the_hub(world: Path, hub: Hub, lazarus, monkeypatch):
    assert lazarus("push", "plan", "hf://ann/tiny")[0] == 0

    def fetch(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    code, _, err = lazarus("pull", "hf://ann/tiny", "-o", "again")
    assert code == 2 and "LC-E279" not in err and len(err.splitlines()) == 1
    assert "cache: no space left" in err and not Path("again").exists()


def test_an_unknown_repository_or_no_connection_is_one_line(world: Path, hub: Hub, lazarus, monkeypatch):
    for place in ("hf://ann/other", "hf://ann/tiny@nix"):
        code, _, err = lazarus("pull", place, "-o", "again")
        assert code == 2 and "LC-E279" in err and len(err.splitlines()) == 1 and TOKEN not in err
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, _, err = lazarus("pull", "hf://ann/tiny", "-o", "again")
    assert code == 2 and "LC-E279" in err and len(err.splitlines()) == 1
    assert not Path("again").exists() and LIST not in names(world)
