"""The blocks of a report as text: Markdown, and HTML that carries its figures within."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from toolkit.report.blocks import Block, Bullets, Heading, Paragraph, Picture, Table


def render_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The blocks as Markdown; figures by their path."""
    parts = [f"# {title}"]
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
            case Picture(name, caption):
                parts.append(f"![{caption}](figures/{name}.png)\n\n*{caption}*")
    return "\n\n".join(parts) + "\n"


CSS = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0;
        font-size: .875rem }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
figure { margin: 1.2rem 0 } img { max-width: 100% } figcaption { color: #555; font-size: .875rem }
.warning { border-left: 4px solid #d55e00; padding: .5rem .9rem; background: #fdf3ec }
"""


def render_html(title: str, blocks: Sequence[Block], figures: Path) -> str:
    """One file that needs no other: the figures are within, as SVG."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    parts = [f"<h1>{html.escape(title)}</h1>"]
    for block in blocks:
        match block:
            case Heading(text):
                parts.append(f"<h2>{html.escape(text)}</h2>")
            case Paragraph(text, warning):
                kind = ' class="warning"' if warning else ""
                parts.append(f"<p{kind}>{html.escape(text).replace('*', '')}</p>")
            case Bullets(items):
                listed = "".join(f"<li>{html.escape(item)}</li>" for item in items)
                parts.append(f"<ul>{listed}</ul>")
            case Table(header, rows):
                body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
                parts.append(f"<table><tr>{cells('th', header)}</tr>{body}</table>")
            case Picture(name, caption):
                data = base64.b64encode((figures / f"{name}.svg").read_bytes()).decode()
                parts.append(
                    f'<figure><img alt="{html.escape(caption)}" '
                    f'src="data:image/svg+xml;base64,{data}">'
                    f"<figcaption>{html.escape(caption)}</figcaption></figure>"
                )
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{CSS}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'
