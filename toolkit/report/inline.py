"""The small part of Markdown that texts of a report are written in, as HTML."""

import html
import re

TOKEN = re.compile(
    r"\\(?P<escaped>.)"
    r"|`(?P<code>[^`]+)`"
    r"|\[(?P<label>(?:\\.|[^\]\\])+)\]\((?P<link>[^()\s]+)\)"
    r"|\*(?P<stressed>(?! )(?:\\.|[^*\\])+(?<! ))\*"
    r"|(?<=[\w)])\^(?P<power>-?\w+)"
)


def as_html(text: str) -> str:
    """The text with its markup as elements; all else is escaped. Links go to http or to a file."""
    parts, at = [], 0
    for found in TOKEN.finditer(text):
        parts.append(html.escape(text[at : found.start()]))
        parts.append(_element(found))
        at = found.end()
    return "".join(parts) + html.escape(text[at:])


def _element(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "escaped":
            return html.escape(found["escaped"])
        case "code":
            return f"<code>{html.escape(found['code'])}</code>"
        case "stressed":
            return f"<em>{as_html(found['stressed'])}</em>"
        case "power":
            return f"<sup>{html.escape(found['power'])}</sup>"
    return f'<a href="{html.escape(found["link"])}">{as_html(found["label"])}</a>'
