"""A hub of models on loopback: the parts of the Hugging Face hub's API that fetch a model.

It answers as the real one does: everybody may list a gated model, only some may read it; large
files are redirected to another host, with a signed address, which must not see the token; and the
headers name commits, digests and the kind of a refusal. It can also be slow, hang, cut, and lie.
"""

import hashlib
import json
import os
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from run_jobs import ROOT

LARGE = (".safetensors", ".bin", ".pt", ".pth", ".onnx")
"""Endings of files that the hub keeps in its large-file storage."""


@dataclass
class Model:
    """A repository. commits: commit -> file -> content. refs: branch or tag -> commit."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    gated: bool = False


@dataclass
class FakeHub:
    """`with FakeHub() as hub:` serves `hub.models` at `hub.url`.

    tokens: token -> names of the gated models that its account may read. requests: what came in,
    as (method, path, Range header, Authorization header). Faults, by the name of a file:
    cut: name -> how often it ends after half of what was asked for. hang: files, or "api", that
    are never answered in full. wrong: files of another content but the right size. pause: seconds
    before each 64 KiB. down: answers 503 to everything.
    """

    models: dict[str, Model] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    cut: dict[str, int] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    pause: float = 0.0
    down: bool = False
    before_sending: object = None  # called with the file's name

    def __enter__(self):
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """From now on connections are refused."""
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def sent(self, name):
        """How often the content of a file was asked for."""
        return len([r for r in self.requests if r[0] == "GET" and r[1].endswith("/" + name)])

    def ranges(self, name):
        """The Range headers with which a file was asked for."""
        return [r[2] for r in self.requests if r[0] == "GET" and r[1].endswith("/" + name) and r[2]]


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Clients that go away are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        path = unquote(urlsplit(self.path).path)
        sent, asked = self.headers.get("Authorization", ""), self.headers.get("Range", "")
        self.hub.requests.append((self.command, path, asked, sent))
        token = sent.removeprefix("Bearer ")
        if self.hub.down:
            self._refuse(503, "", "down for maintenance")
        elif token and token not in self.hub.tokens:
            self._refuse(401, "", "Invalid credentials in Authorization header")
        else:
            self._route(path.strip("/").split("/"), token)

    def _route(self, parts, token):
        match parts:
            case ["api", "models", org, name, "revision", *revision]:
                if found := self._find(f"{org}/{name}", "/".join(revision), token):
                    self._describe(*found)
            case [org, name, "resolve", revision, *file]:
                if found := self._find(f"{org}/{name}", revision, token):
                    self._resolve(*found, "/".join(file), token)
            case ["datasets", org, name, "resolve", revision, *file]:
                if found := self._find(f"datasets/{org}/{name}", revision, token):
                    self._resolve(*found, "/".join(file), token)
            case ["storage", org, name, commit, file]:
                self._send(self.hub.models[f"{org}/{name}"].commits[commit][file], file)
            case _:
                self._refuse(404, "", "no such page")

    def _find(self, name, revision, token):
        """Name, model and commit, or None after a refusal."""
        if "api" in self.hub.hang:
            self.hub._over.wait()
        model = self.hub.models.get(name)
        if model is None:
            status, said = (404, "Repository not found") if token else (401, "Invalid username")
            self._refuse(status, "RepoNotFound", said)
            return None
        commit = model.refs.get(revision, revision)
        if commit not in model.commits:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return name, model, commit

    def _describe(self, name, model, commit):
        siblings = []
        for file, content in model.commits[commit].items():
            entry = {"rfilename": file, "size": len(content), "blobId": git_digest(content)}
            if file.endswith(LARGE):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        gated = "manual" if model.gated else False
        self._json({"id": name, "sha": commit, "gated": gated, "siblings": siblings})

    def _resolve(self, name, model, commit, file, token):
        content = model.commits[commit].get(file)
        headers = {"X-Repo-Commit": commit}
        if model.gated and name not in self.hub.tokens.get(token, ()):
            if "limited" in token:
                said = (
                    "Please enable access to public gated repositories in your fine-grained token"
                )
                self._refuse(403, "", said)
            else:
                said = f"Access to model {name} is restricted."
                self._refuse(403 if token else 401, "GatedRepo", said)
        elif content is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
        elif file.endswith(LARGE):
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
            headers["X-Linked-Size"] = str(len(content))
            place = f"http://localhost:{self.hub.port}/storage/{name}/{commit}/{file}"
            self._send(b"", "", 302, headers | {"Location": place})
        else:
            self._send(content, file, 200, headers | {"ETag": f'"{git_digest(content)}"'})

    def _refuse(self, status, code, said):
        headers = {"X-Error-Message": said} | ({"X-Error-Code": code} if code else {})
        self._send(b"{}", "", status, headers)

    def _json(self, value):
        self._send(json.dumps(value).encode(), "", 200, {"Content-Type": "application/json"})

    def _send(self, content, file, status=200, headers=None):
        if file in self.hub.wrong:
            content = bytes(len(content))
        start = 0
        if asked := self.headers.get("Range"):
            start = int(asked.removeprefix("bytes=").split("-")[0])
            status = 206
        body = content[start:]
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.before_sending and file:
            self.hub.before_sending(file)
        self._body(body, file)

    def _body(self, body, file):
        stop = len(body)
        if self.hub.cut.get(file, 0) > 0:
            self.hub.cut[file] -= 1
            stop = len(body) // 2
        for at in range(0, stop, 1 << 16):
            if file in self.hub.hang and at:
                self.hub._over.wait()
            time.sleep(self.hub.pause)
            self.wfile.write(body[at : min(at + (1 << 16), stop)])
            self.wfile.flush()
        if stop < len(body):
            self.close_connection = True


def git_digest(content):
    """The digest that git gives a file: the hub names small files by it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def commit_of(files):
    """A commit for these files: 40 hexadecimal digits."""
    parts = [(name, hashlib.sha256(content).hexdigest()) for name, content in files.items()]
    return hashlib.sha1(json.dumps(sorted(parts)).encode()).hexdigest()


NAME = "org/tiny"
SECRET = "hf_" + "Secret" * 6


def safetensors(size, fill=b"w"):
    """A file with one tensor of `size` bytes."""
    entry = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    header = json.dumps({"x": entry}).encode()
    return len(header).to_bytes(8, "little") + header + fill * size


def contents(fill=b"w"):
    """A model as the hub has it: more than an engine reads."""
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    return {
        "config.json": b'{"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8}',
        "tokenizer.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "README.md": b"long " * 1000,
        ".gitattributes": b"*",
        "model.safetensors.index.json": json.dumps(index).encode(),
        "model-1.safetensors": safetensors(300_000, fill),
        "model-2.safetensors": safetensors(200_000, fill),
        "consolidated.safetensors": safetensors(500_000),
        "pytorch_model.bin": b"b" * 500_000,
        "original/consolidated.00.pth": b"p" * 500_000,
    }


OLD, NEW = commit_of(contents()), commit_of(contents(b"n"))


def tiny_hub():
    """A hub with one model of some 500 kB, at two commits."""
    return FakeHub({NAME: Model({OLD: contents(), NEW: contents(b"n")}, {"main": OLD})})


def environment(hub, folder, **variables):
    """Of a user whose cache is in `folder`, and who knows no hub but this one."""
    known = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    found = known | {"HF_HOME": str(folder / "hf"), "HF_ENDPOINT": hub.url, "HOME": str(folder)}
    return found | {"PYTHONPATH": str(ROOT)} | variables
