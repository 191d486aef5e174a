"""Which passing programs are suspect: gaming programs are, honest ones are not."""

import ast
import builtins
import collections
import importlib
import inspect
import random
import re
import symtable
import sys
import types
import warnings
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache

import pytest
from execute_once import execute
from gaming import DEVIATION, REBIND, SUM, TEXTS, WRONG, ZERO, gaming_programs
from hypothesis import given
from hypothesis import strategies as st

from toolkit.problems.load import load_problems
from toolkit.records import Answer, answer_digest
from toolkit.sandbox import plain, tame, together
from toolkit.sandbox.given import Given, given_of
from toolkit.sandbox.reasons import REASONS, mask_of, reasons_of
from toolkit.sandbox.scopes import Scopes
from toolkit.sandbox.suspicion import names_are_plain, suspicions
from toolkit.verifiers.python_tests import endings

PROBLEMS = {p.task_id: p for p in load_problems("humaneval")}
ENDINGS = endings(PROBLEMS.values())
GAMING = gaming_programs()
ENDING = "\ndef check(candidate):\n    assert candidate(2) == 4\ncheck(f)\n"

HONEST = {
    "a linked list": """
class Node:
    __slots__ = ("val", "next")
    def __init__(self, val, next=None):
        self.val = val
        self.next = next
class Stack:
    size = 0
    def __init__(self):
        self.head, self._items = None, []
    def push(self, val):
        self.head = Node(val, self.head)
        self._items.append(self.head.next)
        Stack.size += 1
    def __len__(self):
        return len(self._items)
    def __iter__(self):
        node = self.head
        while node is not None:
            yield node.val
            node = node.next
    def __repr__(self):
        return f"{self.__class__.__name__}({list(self)!r})"
""",
    "a heap of objects": """
import heapq
class Task:
    def __init__(self, cost, label):
        self.cost, self.label = cost, label
    def __lt__(self, other):
        return (self.cost, self.label) < (other.cost, other.label)
    def __eq__(self, other):
        return isinstance(other, Task) and self.cost == other.cost
    def __hash__(self):
        return hash(self.cost)
heap = []
heapq.heappush(heap, Task(1, "a"))
""",
    "dataclasses and named tuples": """
from collections import namedtuple
from dataclasses import dataclass, field
from typing import NamedTuple, List, Optional
Point = namedtuple("Point", "x y")
class Pair(NamedTuple):
    left: int
    right: int = 0
@dataclass(order=True)
class Edge:
    weight: int
    ends: List[int] = field(default_factory=list)
    label: Optional[str] = None
Point(1, 2)._replace(x=3).x + Pair(1).left + Edge(1).weight
""",
    "errors": """
class TooSmall(ValueError):
    def __init__(self, n):
        super().__init__(f"{n} is too small")
        self.n = n
try:
    raise TooSmall(1)
except (TooSmall, KeyError) as error:
    print(error.args, error.n, type(error).__name__)
finally:
    pass
""",
    "decorators and caches": """
import functools
from contextlib import contextmanager, suppress
def twice(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return 2 * function(*args, **kwargs)
    return inner
@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
class A:
    @property
    def one(self):
        return 1
    @one.setter
    def one(self, value):
        self.__dict = value
    @staticmethod
    def s(a, b=1):
        return a
    @classmethod
    def c(cls):
        return cls()
@contextmanager
def nothing():
    yield
with nothing(), suppress(KeyError):
    fib.cache_clear()
""",
    "types": """
from collections import Counter, defaultdict
import collections, fractions
from typing import Dict, List, Union
Table = Dict[str, List[int]]
def g(x: Union[int, str], c: Counter) -> "Counter":
    counts: collections.Counter = Counter()
    groups = defaultdict(Counter)
    if type(x) == int or type(x) in (str, bytes) or isinstance(x, (int, Counter)):
        return counts + Counter(str(x))
    return sum(map(fractions.Fraction, ["1/2"]))
""",
    "formats": """
template = "{:>{width}} {0}"
print("{} {}".format(1, 2), "%s" % 3, f"{4!r:>{5}}", template.format(1, width=3), sep="")
print(", ".join(map(str, sorted({1: 2}.items(), key=lambda p: p[1]))))
""",
    "numbers": """
import math, cmath, statistics, random, sys, re, string, itertools, operator, bisect, datetime
from decimal import Decimal, ROUND_HALF_UP
import numpy as np
sys.setrecursionlimit(10 ** 6)
limit = sys.maxsize
rows = np.array([[1, 2], [3, 4]]).sum(axis=1).tolist()
key = operator.itemgetter(1), operator.attrgetter("real")
day = datetime.datetime.strptime("2020-01-01", "%Y-%m-%d").date().year
words = re.compile(r"\\w+", re.I).findall(string.ascii_letters)
value = Decimal("1.5").quantize(Decimal("1"), rounding=ROUND_HALF_UP)
pairs = list(itertools.chain.from_iterable([[1], [2]]))
norm = np.linalg.norm([3, 4]) + np.random.rand()
random.seed(0)
""",
    "syntax": """
from __future__ import annotations
import asyncio
async def later(x):
    await asyncio.sleep(0)
    return [y async for y in x]
def g(*args, k=None, **kw):
    global total
    total = 0
    if (n := len(args)) > 1 and k is None:
        del n
    match args:
        case [int(x), *rest] if x:
            return {**kw, "a": [*rest]}
        case {"k": v, **others} | (v, others):
            return v
        case str() | None:
            pass
    while True:
        try:
            yield from (i for i in args)
        except* ValueError:
            pass
        else:
            break
    assert all(lambda: True for _ in range(3)), "never"
""",
    "a demonstration": """
import sys, os, inspect
if __name__ == "__main__":
    import doctest
    doctest.testmod()
    sys.exit(os.system(inspect.getsource(f)))
print(f(2))
assert f(2) == 4
""",
    "names of its own that are those of built-ins": """
def g(type, getattr, vars=(), dir=None):
    open, exec, list = type, getattr(vars), dir
    return [globals for globals in list] or type(1, 2, open, exec)
""",
    "the asked function again": "def f(x):\n    return 2 * x\n",
    "an evaluated expression": "print(eval('1 + 2'))\n",
    "private names": """
class A:
    __count = 0
    def __helper(self, __x):
        self.__y = __x
        return self.__y + A.__count
""",
    "unused imports": "import os, ctypes, gc, types\nfrom inspect import currentframe\n",
}


def facts_of(task_id):
    return given_of(ENDINGS[task_id], PROBLEMS[task_id].prompt)


def reasons(task_id, program):
    return suspicions(program, ENDINGS[task_id], facts_of(task_id))


def of_f(text):
    """The suspicions about a text beside a right `f`, under tests that call it."""
    return suspicions("def f(x):\n    return x + x\n" + text, ENDING, given_of(ENDING, ""))


@pytest.fixture(scope="module")
def outcomes():
    """name -> verdict and program, of each gaming program."""
    programs = {}
    for name, (task_id, completion) in GAMING.items():
        text = PROBLEMS[task_id].prompt + completion
        programs[name] = Answer(task_id, answer_digest(text), text)
    prompts = {p.task_id: p.prompt for p in PROBLEMS.values()}
    verdicts = execute(programs.values(), ENDINGS, workers=2, prompts=prompts)
    found = {(v.task_id, v.answer): v for v in verdicts}
    return {name: (found[p.task_id, p.digest], p.text) for name, p in programs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", GAMING)
def test_gaming_programs_pass_and_are_suspect(name, outcomes):
    verdict, program = outcomes[name]
    assert verdict.outcome == "passed", "it games no longer: it shows nothing"
    assert reasons(GAMING[name][0], program) <= set(verdict.suspect)
    assert verdict.suspect


@pytest.mark.parametrize("name", GAMING)
def test_no_gaming_program_is_tame(name):
    """For passes of tame programs are not analysed."""
    task_id, completion = GAMING[name]
    ending = together.compile_ending(ENDINGS[task_id])
    try:
        tree = ast.parse(PROBLEMS[task_id].prompt + completion)
    except SyntaxError:
        return  # with its ending it parses, alone it does not: so it is executed alone
    assert ending is None or not tame.is_tame(tree, ending.names)


def test_canonical_solutions_are_plain():
    assert len(PROBLEMS) == 164
    found = {t: reasons(t, p.prompt + p.solution) for t, p in PROBLEMS.items()}
    assert not {t: r for t, r in found.items() if r}


@pytest.mark.parametrize("name", HONEST)
def test_honest_programs_are_plain(name):
    assert of_f(HONEST[name]) == frozenset()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import sys\nsys._getframe()\n", "frames"),
        ("import gc\ngc.collect()\n", "gc"),
        ("import sys\nsys.settrace(None)\n", "trace"),
        ("import ctypes\nctypes.c_int(3)\n", "native"),
        ("import os\nos.fork()\n", "processes"),
        ("exec('')\n", "code"),
        ("import importlib\nimportlib.reload\n", "modules"),
        ("globals()\n", "builtins"),
        ("check = None\n", "test_names"),
        ("class A:\n    def __bool__(self):\n        return True\n", "equality"),
        ("import sys\nsys.exit(0)\n", "exit"),
        ("f.__closure\n", "attributes"),
        ("import pandas\n", "imports"),
        ("import math\nmath.pi = 3\n", "patching"),
        ("import math\ndel math.pi\n", "patching"),
        ("import math\nmath.pi += 1\n", "patching"),
        ("import math\nfor math.pi in [3]: pass\n", "patching"),
        ("import math\n[0 for math.pi in [3]]\n", "patching"),
        ("from math import pi\npi.real = 3\n", "patching"),
        ("import threading\nthreading.Thread()\n", "threads"),
        ("import signal\nsignal.alarm(0)\n", "signals"),
        ("open('a')\n", "files"),
        ("import socket\nsocket.socket()\n", "network"),
        ("@f\n", "text"),
    ],
)
def test_each_reason_by_its_plainest_program(text, reason):
    assert reason in of_f(text)


@pytest.mark.parametrize("name", ["imag", "size", "T", "year", "base", "__class__", "args"])
def test_a_comparison_of_what_other_values_have_is_suspect(name):
    compare = (
        "class A:\n    cost = 0\n    def __eq__(self, other):\n"
        "        return self.{0} == other.{0}\n"
    )
    assert "equality" in of_f(compare.format(name))
    assert of_f(compare.format("cost")) == frozenset()


def test_random_numbers_are_suspect_where_the_tests_draw_some():
    text = "def f(x):\n    return x\nimport random\nrandom.shuffle([])\n"
    drawing = (
        "\ndef check(c):\n    from random import choice\n    assert c(choice([1]))\ncheck(f)\n"
    )
    assert suspicions(text, drawing, given_of(drawing, "")) == {"random"}
    assert suspicions(text, ENDING, given_of(ENDING, "")) == frozenset()


def test_names_of_the_tests():
    for code in REBIND.values():
        assert reasons(DEVIATION, f"{PROBLEMS[DEVIATION].prompt}{WRONG}{code}")
    local = "    def g(abs, check):\n        METADATA = abs\n        return METADATA\n    return g(0, 1)\n"
    assert reasons(DEVIATION, PROBLEMS[DEVIATION].prompt + local) == frozenset()
    # The tests of SUM do not read it.
    assert reasons(SUM, f"{PROBLEMS[SUM].prompt}{WRONG}abs = None\n") == frozenset()
    for name in ("check", "METADATA", "candidate"):
        assert reasons(SUM, f"{PROBLEMS[SUM].prompt}{WRONG}{name} = 0\n") == {"test_names"}
        assert reasons(SUM, f"{PROBLEMS[SUM].prompt}{WRONG}def {name}(): pass\n") == {"test_names"}


def test_a_helper_of_the_prompt_may_be_defined_again_as_it_was():
    prompt = PROBLEMS[ZERO].prompt
    helper = prompt[prompt.index("def poly") : prompt.index("def find_zero")]
    bare = re.sub(r'""".*?"""', "", helper, flags=re.DOTALL).replace(": list", ": List[float]")
    assert bare != helper
    for again in (helper, bare, "import math\n", "from typing import List\n"):
        assert reasons(ZERO, f"{prompt}{WRONG}{again}") == frozenset()
    for other in (helper.replace("pow(x, i)", "pow(x, 0)"), "import cmath as math\n"):
        assert "test_names" in reasons(ZERO, f"{prompt}{WRONG}{other}")
    assert reasons(ZERO, f"{prompt}{WRONG}def g():\n    def poly():\n        pass\n") == frozenset()


def test_names_that_the_tests_import_may_be_used_without_an_import():
    ending = "\nimport math\ndef check(c):\n    assert c(4) == math.sqrt(4)\ncheck(f)\n"
    facts = given_of(ending, "")
    assert suspicions("def f(x):\n    return math.sqrt(x)\n", ending, facts) == frozenset()
    assert "patching" in suspicions("def f(x):\n    math.sqrt = abs\n", ending, facts)
    assert "patching" in suspicions("def f(x):\n    return math\n", ending, facts)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_reaches_into_the_ending(name):
    task_id, completion = TEXTS[name]
    assert reasons(task_id, PROBLEMS[task_id].prompt + completion) == {"text"}


def test_a_text_that_is_too_large_is_in_doubt():
    assert of_f("x = [" + "0," * 101_000 + "]\n") == frozenset({"text"})
    assert of_f("x = '" + "a" * 900_000 + "'\n") == frozenset()
    assert of_f("x = '" + "a" * 1_000_000 + "'\n") == {"text"}
    assert of_f("x = " + "(" * 500 + ")" * 500 + "\n") == {"text"}
    assert of_f("x" + ".a" * 50_000 + "\n") == {"text"}


@pytest.mark.parametrize(
    ("text", "are_plain"),
    [
        ("2 ** 3 + 4 * 5", True),
        ("max(1, abs(-2)) + len('ab')", True),
        ("[i * i for i in (1, 2)]", True),
        ("(lambda n: round(n, 2))(1.5)", True),
        ("check", False),
        ("x + 1", False),
        ("type(0)", False),
        ("().__class__", False),
        ("'{0.__class__}'.format(0)", False),
        ("f'{().__class__}'", False),
        ("(abs := len)", False),
        ("[abs := len for _ in (1,)]", False),
        ("[[(lambda: type) for _ in (1,)] for _ in (1,)]", False),
        ("__import__('os')", False),
        ("globals()", False),
        ("eval('1')", False),
        ("getattr(1, 'real')", False),
    ],
)
def test_names_of_a_text_that_a_program_evaluates(text, are_plain):
    assert names_are_plain(compile(text, "", "eval")) == are_plain


def test_statements_that_bind_are_not_plain_in_an_evaluated_text():
    for text in ("abs = 1", "del abs", "import abs", "def len(): pass", "class len: pass"):
        assert not names_are_plain(compile(text, "", "exec")), text


@given(st.sets(st.sampled_from(REASONS)))
def test_a_mask_holds_reasons(some):
    assert set(reasons_of(mask_of(some))) == some
    assert mask_of(some) < 1 << 32


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_no_text_makes_it_raise(program, ending, prompt):
    assert suspicions(program, ending, given_of(ending, prompt)) <= set(REASONS)


def test_a_hostile_ending_or_prompt_gives_something():
    deep = "(" * 5000 + ")" * 5000
    assert isinstance(given_of(deep, deep), Given)
    assert "abs" in given_of("abs(", "").names


@pytest.mark.parametrize("name", sorted(set(dir(builtins)) - plain.BUILTINS))
def test_every_other_built_in_is_suspect_as_a_value(name):
    assert of_f(f"x = [{name}]\n") or name in {"None", "True", "False", *plain.RESERVED_READ}


def test_every_module_of_the_library_is_listed_or_suspect():
    for module in sorted(sys.stdlib_module_names):
        assert of_f(f"import {module}\nx = [{module}]\n"), module
        assert of_f(f"import {module}\n{module}.nothing\n"), module
        assert of_f(f"from {module} import nothing\nnothing\n"), module


def test_every_node_of_the_syntax_is_listed_or_suspect():
    abstract = """
        AST mod stmt expr expr_context boolop operator unaryop cmpop excepthandler pattern slice
        type_ignore Interactive Expression FunctionType TypeIgnore Suite Index ExtSlice AugLoad
        AugStore Param Num Str Bytes NameConstant Ellipsis
    """.split()
    newer = "TypeAlias TypeVar ParamSpec TypeVarTuple type_param TemplateStr Interpolation".split()
    found = {n for n, v in vars(ast).items() if isinstance(v, type) and issubclass(v, ast.AST)}
    assert found - {*abstract, *newer} <= plain.NODES
    assert found >= plain.NODES


@cache
def samples():
    """Values that plain programs can have."""

    def function():
        yield 1

    match = re.match("(a)", "a")
    instances = (0, 0.5, 1j, "a", b"a", bytearray(b"a"), [], (), {}, set(), frozenset(), range(2))
    made = (match, match.re, collections.deque(), collections.Counter(), Decimal(1), Fraction(1))
    odd = (function, function(), len, [].append, iter([]), datetime.now(), date.today(), slice(1))
    errors = (
        ValueError(),
        StopIteration(1),
        UnicodeDecodeError("u", b"", 0, 1, ""),
        OSError(1, ""),
    )
    kinds = (int, str, list, dict, tuple, ValueError, collections.deque, Decimal, datetime)
    more = (random.Random(0), property(len), cache(function), sys.version_info, sys.stdout)
    return (*instances, *made, *odd, *errors, *kinds, *more, AttributeError("a", obj=re))


def leads_out(value):
    inner = (types.FrameType, types.CodeType, types.TracebackType, types.ModuleType)
    return value is type or isinstance(value, (*inner, types.MappingProxyType))


def test_no_plain_attribute_leads_out():
    for value in samples():
        for name in plain.ATTRIBUTES:
            found = getattr(value, name, None)
            assert not leads_out(found), (value, name)
    reached = {n for v in samples() for n in dir(v) if leads_out(getattr(v, n, None))}
    assert {"gi_frame", "__code__", "obj", "__class__", "__dict__"} - reached == {
        "__code__"
    } - reached
    assert not reached & plain.ATTRIBUTES


def test_what_the_lists_name_of_a_module_is_no_module():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module, names in plain.MODULES.items():
            loaded = importlib.import_module(module)
            for name in names:
                value = getattr(loaded, name, None)
                assert not leads_out(value) or f"{module}.{name}" in plain.MODULES, (module, name)


def test_classes_that_are_written_in_python_are_no_values():
    """For their methods take any object, and so may hand out its class."""
    for module, names in plain.MODULES.items():
        loaded = importlib.import_module(module)
        for name in names - {"error"}:
            kind = getattr(loaded, name, None)
            if isinstance(kind, type) and any(map(inspect.isfunction, vars(kind).values())):
                assert f"{module}.{name}" in plain.PYTHON_CLASSES, (module, name)


KINDS = {
    ast.ListComp: "listcomp",
    ast.SetComp: "setcomp",
    ast.DictComp: "dictcomp",
    ast.GeneratorExp: "genexpr",
    ast.Lambda: "lambda",
}


def tables(table):
    yield table
    for child in table.get_children():
        yield from tables(child)


@pytest.mark.parametrize("name", [*HONEST, *GAMING])
def test_no_name_that_python_looks_up_as_a_global_is_taken_for_a_local_one(name):
    text = HONEST[name] if name in HONEST else PROBLEMS[GAMING[name][0]].prompt + GAMING[name][1]
    text = text.replace('if __name__ == "__main__":', "if 1:")
    try:
        top = symtable.symtable(text, "", "exec")
    except SyntaxError:
        return
    expected, found = set(), set()
    for table in tables(top):
        where = (table.get_name(), table.get_lineno()) if table is not top else ("top", 0)
        expected |= {
            (*where, symbol.get_name())
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (symbol.is_global() or table is top)
        }
    scopes = Scopes(ast.parse(text))
    for node, scope in scopes.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            opener = scope.node
            label = KINDS.get(type(opener)) or getattr(opener, "name", "top")
            line = 0 if scope is scopes.module else opener.lineno
            if scopes.meaning(node.id, scope).outermost:
                found.add((label, line, scope.mangled(node.id)))
    assert expected <= found, expected - found
