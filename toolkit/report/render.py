"""The blocks of a report as text: Markdown, and HTML that carries its figures within."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from toolkit.report.blocks import Block, Bullets, Code, Heading, Paragraph, Picture, Table, plain
from toolkit.report.inline import as_html

CSS = Path(__file__).with_name("report.css")
WIDE = 4
"""A table of more columns does not fit a telephone: there its rows become lists."""
MAY_LOAD = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""The policy of the page: nothing but its own style and figures."""


def render_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as Markdown; figures by their path. The title is no markup."""
    parts = [f"# {plain(title)}"]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"## {text}")
            case Paragraph(text, warning):
                parts.append(f"> **{text}**" if warning else text)
            case Bullets(items):
                parts.append("\n".join(f"- {item}" for item in items))
            case Table(header, rows):
                lines = [header, ["---"] * len(header), *rows]
                parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
            case Code(text):
                parts.append(f"```\n{text}\n```")
            case Picture(name, caption):
                parts.append(f"![{caption}](figures/{name}.png)\n\n*{caption}*")
    return "\n\n".join(parts) + "\n"


def render_html(title: str, blocks: Sequence[Block], figures: Path) -> str:
    """One file that needs no other: the figures are within, as SVG. The title is no markup."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"<h2>{as_html(text)}</h2>")
            case Paragraph(text, warning):
                kind = ' class="warning"' if warning else ""
                parts.append(f"<p{kind}>{as_html(text)}</p>")
            case Bullets(items):
                listed = "".join(f"<li>{as_html(item)}</li>" for item in items)
                parts.append(f"<ul>{listed}</ul>")
            case Table(header, rows):
                parts.append(_table(header, rows))
            case Code(text):
                parts.append(f"<pre>{html.escape(text)}</pre>")
            case Picture(name, caption):
                parts.append(_figure(figures / f"{name}.svg", caption))
    style = CSS.read_text(encoding="utf-8")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{MAY_LOAD}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>\n{style}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Each cell knows its column's name, which a narrow screen shows beside it."""
    named = any(header)
    kind = "facts" if not named else "wide" if len(header) > WIDE else ""
    names = [as_html(name) for name in header]
    labels = [html.escape(name) for name in header]

    def line(row: Sequence[str]) -> str:
        cells = (
            f'<td data-label="{label}">{as_html(cell)}</td>'
            if kind == "wide"
            else f"<td>{as_html(cell)}</td>"
            for label, cell in zip(labels, row, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    top = f"<thead><tr>{head}</tr></thead>" if named else ""
    chosen = f' class="{kind}"' if kind else ""
    body = "\n".join(line(row) for row in rows)
    return f"<table{chosen}>{top}<tbody>\n{body}\n</tbody></table>"


def _figure(path: Path, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    alt = html.escape(caption)
    return (
        f'<figure><img alt="{alt}" src="data:image/svg+xml;base64,{data}">'
        f"<figcaption>{as_html(caption)}</figcaption></figure>"
    )
