"""Answers that are patches, which SWE-bench's harness judges elsewhere.

Nothing is judged here. `toolkit.stages.predictions` exports the patches in the harness's form, and
`toolkit.stages.harness_reports` imports what it says as verdicts.

The answer is the last patch of a completion: what `<patch>` or `<diff>` holds, else a fenced block,
else what follows the first header of a diff. It begins where the block does, and ends with one line
end at least. A text without a header is no patch.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NoReturn

from toolkit.cli import job_command
from toolkit.errors import UsageError
from toolkit.records import (
    Examples,
    Judge,
    Problem,
    Prompt,
    PromptStyle,
    Setting,
    after_thoughts,
)
from toolkit.sandbox.confine import IsolationLevel
from toolkit.verifiers.answers import ANSWERS_VERSION, before_stop

PATCH_VERSION: Final = 1
"""Raised with every change of what `patch_in` returns. Answers are then extracted again."""
_MOST_CHARACTERS: Final = 1_000_000
"""Of a completion's end, where a patch is looked for."""
_HEADER = re.compile(r"^(?:diff --git |--- .*\n\+\+\+ )", re.MULTILINE)
_FENCE = re.compile(r"^(`{3,}|~{3,})[ \t]{0,9}([\w+-]{0,19})[^`\n]*$", re.MULTILINE)
"""At the beginning of a line: each line of a hunk has a sign or a blank before its text."""
_TAGS: Final = ("patch", "diff")
_STOP: Final = "</patch>"
_ASK: Final = (
    "Solve this issue. Answer with one patch in the unified format that `git apply` takes, with "
    "paths from the root of the repository, in a block that begins with ```diff."
)
_WRONG: Final = (
    "```diff\ndiff --git a/NOTES b/NOTES\nnew file mode 100644\n--- /dev/null\n+++ b/NOTES\n"
    "@@ -0,0 +1 @@\n+nothing\n```"
)


class Patch:
    """The verifier of patches for SWE-bench."""

    def __init__(self, settings: Mapping[str, Setting]) -> None:
        self.extraction = f"patch {ANSWERS_VERSION}.{PATCH_VERSION}"

    def prompt(self, problem: Problem) -> Prompt:
        """See `Verifier.prompt`. A problem that brings a prompt of its own is asked by that."""
        own = json.loads(problem.reference)["text"]
        asked = problem.prompt if own else f"{problem.prompt}\n\n{_ASK}"
        return Prompt((("user", asked),), f"{asked}\n\n<patch>\n", (_STOP,))

    def extract(self, problem: Problem, completion: str, style: PromptStyle) -> str | None:
        """See `Verifier.extract`."""
        said = after_thoughts(completion)
        if said is None:
            return None
        said = before_stop(said, style, problem.phrased or self.prompt(problem))
        return patch_in(said)

    def examples(self, problem: Problem) -> Examples:
        """See `Verifier.examples`. Their verdicts are the harness's to give."""
        return Examples((problem.solution,) if problem.solution else (), (_WRONG, "no idea"))

    def judging(
        self, problems: Sequence[Problem], judge: Judge, *, workers: int, isolation: IsolationLevel
    ) -> NoReturn:
        """Raises `UsageError`: nothing is judged here."""
        raise UsageError(
            "patches are judged by SWE-bench's harness: "
            f"`{job_command('evaluate')} RUN "
            "--export-predictions DIR`, then --import-report PATH"
        )


def patch_in(text: str) -> str | None:
    """The last patch in a text, None if there is none. It takes linear time, whatever the text."""
    text = text[-_MOST_CHARACTERS:]
    for block in _blocks(text):
        if _HEADER.search(block):
            return block if block.endswith("\n") else block + "\n"
    return None


def _blocks(text: str) -> Iterator[str]:
    """Where a patch may stand, the best place first."""
    for tag in _TAGS:
        start = text.rfind(f"<{tag}>")
        if start >= 0:
            inside = text[start + len(tag) + 2 :].partition(f"</{tag}>")[0].lstrip("\n")
            yield from (block for _, block in reversed(_fenced(inside)))
            yield inside
    fenced = _fenced(text)
    yield from (block for name, block in reversed(fenced) if name in _TAGS)
    yield from (block for name, block in reversed(fenced) if name not in _TAGS)
    if header := _HEADER.search(text):
        yield text[header.start() :]


def _fenced(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block in turn; the last may be open."""
    found: list[tuple[str, str]] = []
    start, fence, name = -1, "", ""
    for mark in _FENCE.finditer(text):
        if start < 0:
            start, fence, name = mark.end() + 1, mark[1], mark[2]
        elif mark[1].startswith(fence) and not text[mark.end(1) : mark.end()].strip():
            found.append((name, text[start : mark.start()]))
            start = -1
    if start >= 0:
        found.append((name, text[start:]))
    return found
