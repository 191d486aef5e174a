"""The sample browser as one HTML file that needs no other and asks no network.

The data stand in it as compressed blocks: one for the index, and one for each problem, which the
page's script opens when its reader does. A completion is hostile text. It stands in the file as
Base64 only, and the script shows it as text only. A Content-Security-Policy forbids everything but
the page's own script and style, which it names by their digests.
"""

import base64
import hashlib
import html
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.report.browse_data import BrowseData

BROWSE_HTML = "browse.html"
"""The name of the page in `results/`."""
FILES = Path(__file__).resolve().parent / "browse"
"""Holds the template and the style of the page, and its script in parts, in their order."""


def browse_page(data: BrowseData) -> bytes:
    """The page. The same data give the same bytes."""
    template = (FILES / "template.html").read_text(encoding="utf-8")
    style = (FILES / "app.css").read_text(encoding="utf-8")
    script = "\n".join(path.read_text(encoding="utf-8") for path in sorted(FILES.glob("*.js")))
    index = {"head": data.head, "problems": data.problems}
    parts = {
        "policy": _policy(script, style),
        "title": html.escape(_plain(data.head["title"])),
        "style": style,
        "script": script,
        "index": packed(index),
    }
    for name, text in parts.items():
        template = template.replace("{{" + name + "}}", text)
    before, after = template.split("{{blocks}}")
    return "".join((before, *_blocks(data.blocks), after)).encode()


def browser_seen_from(out: Path) -> str | None:
    """The address of the page of samples, as seen from `out`; None where there is none.

    Of a second judge it stands above: there is one page for all judges.
    """
    addresses = (BROWSE_HTML, f"../{BROWSE_HTML}")
    return next((each for each in addresses if (out / each).is_file()), None)


def packed(value: Any) -> str:
    """A JSON value, compressed by raw deflate (RFC 1951), in Base64."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate cannot be written in UTF-8. As an escape it is JSON like any other.
    data = text.encode("utf-8", "backslashreplace")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return base64.b64encode(deflate.compress(data) + deflate.flush()).decode()


def _blocks(blocks: Iterator[dict[str, Any]]) -> Iterator[str]:
    for i, block in enumerate(blocks):
        yield f'<script type="text/plain" id="problem-{i}">{packed(block)}</script>\n'


def _policy(script: str, style: str) -> str:
    """Nothing is loaded, and nothing runs but this script. No text ever becomes markup."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _plain(text: str) -> str:
    """A text without braces, so that it names no part of the template."""
    return text.encode("utf-8", "backslashreplace").decode().replace("{", "(").replace("}", ")")
