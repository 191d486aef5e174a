"""Which programs may share a process, and that a neighbour never shows in a verdict."""

import ast
import types
from collections import Counter
from datetime import date
from functools import cache

import pytest

from toolkit.problems.humaneval import python_problem
from toolkit.problems.load import load_problems
from toolkit.records import Answer, answer_digest
from toolkit.sandbox import tame, trust
from toolkit.sandbox.executor import Executor, Limits
from toolkit.sandbox.handle import WorkerHandle
from toolkit.verifiers.python_tests import endings

TEST = "def check(candidate):\n    assert candidate() == 1\n"
PROBLEM = python_problem("t/0", "", TEST, "f")


def is_tame(text, test=TEST):
    names = tame.tame_ending(test)
    assert names is not None
    return tame.is_tame(ast.parse(text), names)


SYNTAX = [
    "class A: pass",
    "async def f(): pass",
    "with x: pass",
    "match x:\n    case A(y=1): pass",
    "try: pass\nexcept* ValueError: pass",
]
ATTRIBUTES = [
    "().__class__.__base__.__subclasses__()",
    "e = 1\ne.__traceback__",
    "g = (i for i in ())\ng.gi_frame",
    "METADATA.foo",
    "x = int.real",
    "x = 1\nx.real",
    "x = {}.keys()\nx.mapping",
    "x = ''\nx.__getattribute__('upper')",
    "def f(x): return x.args",
    "def f(x): return x.func(x)",
    "x = int\nx.mro()",
    "x = []\nx.with_traceback(1)",
    "'{}'.format",
]
STORES = [
    "def f(): pass\nf.cache = {}",
    "del f.x",
    "for x.y in [1]: pass",
]
METHODS_AS_VALUES = [
    "x = [].append",
    "x = 1.5\nx.is_integer == (1.5).is_integer",
    "x = '{}'.format",
    "x = str.lower",
    "x = list(map(str.strip, ['a ']))",
    "def f(x=''.join): return x",
    "f = lambda: [].append",
    "x = [].append if 1 else 0",
    "x = (y := [].append)",
    "f'{[].append}'",
    "print(*[].append)",
    "@[].append\ndef f(): pass",
    "def f(x: [].append): pass",
]
KEY = "def keep(key): return key\nx = y = 1.5\n"
METHODS_AS_KEYS = [
    KEY + "x = keep(key=[].append)",
    KEY + "keep(key=x.is_integer) == keep(key=y.is_integer)",
    "sorted([], key=str.lower)",
    "max({}, key={}.get)",
    "[].sort(key=[].count)",
    "sorted([], key=(lambda: len)())",
    "sorted([], key=[len][0])",
    "dict(key=len)",
    "from itertools import groupby\ngroupby([], key=len)",
]
CLASSES = [
    "x = Counter.copy(int)",
    "x = collections.Counter.copy(int)",
    "x = Counter.most_common",
    "x = Counter.fromkeys('a')",
    "x = OrderedDict.fromkeys('a')",
    "x = deque.copy(int)",
    "x = chain.from_iterable([])",
    "x = List.copy([])",
]
CALLED = [
    "x = Counter",
    "x = [Counter]",
    "x = (y := Counter)",
    "x = map(Counter, [])",
    "x = collections.deque",
    "def f(x=deque): return x.copy(int)",
    "def f(x: Counter): pass",
    "def f(): return sub",
    "def f(): return re.sub",
    "x = functools.reduce",
    "sorted([], key=Counter)",
    "x = defaultdict(Counter)",
    "isinstance({}, Counter)",
    "x = Counter if 1 else 0",
    "x = Counter[int]",
    "@Counter\ndef f(): pass",
    "Counter = 1",
    "del Counter",
    "def f(Counter): pass",
]
CACHED = [
    "x = cache(date).day",
    "x = cache(int)",
    "x = functools.cache(int)",
    "x = lru_cache(None)(int)",
    "x = cache",
    "@lru_cache(int)\ndef f(): pass",
    "@lru_cache(maxsize=[None][0])\ndef f(): pass",
    "@cache\n@print\ndef f(): pass",
    "@cache\n@cache\ndef f(): pass",
    "@cache(None)(int)\ndef f(): pass",
    "def f(x=cache): pass",
    "import functools\n@functools.wraps\ndef f(): pass",
]
TYPED = [
    "x = List",
    "x = List[int]",
    "def f(x=List): pass",
    "def f(x: g(List)): pass",
    "def f(x: List[g()]): pass",
    "def f(x: List[(y := 1)]): pass",
    "def f(x: List[lambda: 1]): pass",
    "def f(x: [List[int], print][0]): pass",
    "def f() -> (List,)[0]: pass",
    "def f(x: List['f()']): pass",
    "def f(x: List[x.y]): pass",
    "x: List.append = 1",
    "isinstance([], List)",
]
READ = [
    "abs = 1",
    "def abs(x): return 0",
    "import math as abs",
    "from math import fabs as abs",
    "def g():\n    global abs\n    abs = 1",
    "for abs in [1]: pass",
    "for x, [y, *abs] in []: pass",
    "(abs := 1)",
    "x = [(abs := y) for y in [1]]",
    "def g(x=(abs := 1)): pass",
    "try: pass\nexcept ValueError as abs: pass",
    "del abs",
    "abs += 1",
    "abs: int = 1",
    "if 1:\n    while 1:\n        abs = 1",
    "def isinstance(x, y): return True",
    "def check(candidate): pass",
    "check = print",
    "limit = 1",
    "limit",
    "unread = 1",
    "def unread(): pass\ndel unread",
    "def g(): return check",
    "import string as math",
    "from math import pi as math",
    "math = 1",
    "def helper(x): return x",  # once more than the prompt
    "helper = 1",
    "def g(helper): pass",
    "sum = 1",  # what the helper reads
    "def f(x):\n    global sum\n    sum = 1",
    "def other(x): return 1",
]
NOT_READ = [
    "def g(abs): return abs",
    "def g():\n    abs = 1\n    return abs",
    "y = lambda abs: abs",
    "len = 1",
    "import math",
    "def f(x): return 2",
    "f = lambda: 1",
    "def third(x): return 1",
]
MODULES = [
    "import os",
    "import random",
    "from fractions import Fraction",
    "import os.path",
    "from os import path",
    "import collections.abc",
    "from math import *",
    "from . import x",
    "import sys\nsys.modules",
    "import sys\nx = sys",
    "import math\nf(math)",
    "import math\nmath = 1",
    "def f(math):\n    import math\n    return math.pi",
    "import math as re\nimport re\nre.pi",
]
FUNCTIONS = [
    "__import__('os')",
    "getattr(1, 'real')",
    "setattr(f, 'x', 1)",
    "eval('1')",
    "globals()['check'] = print",
    "vars()",
    "open('x')",
    "from collections import namedtuple",
    "from functools import wraps",
    "from operator import attrgetter",
    "from decimal import getcontext",
    "import decimal\ndecimal.getcontext()",
    "import string\nstring.Formatter()",
    "import copy\ncopy.deepcopy(dict.update, {})",
]
TYPE = [
    "t = type",
    "type('T', (), {})",
    "type(1)(2)",
    "type(*[1]) == int",
    "type[int]('T', (), {})",
    "x = type(type(1))",
    "def f(type): return type(1)",
    "def type(x): return x",
    "from operator import pos as type",
]
FORMAT = [
    "'{0.real}'.format(1)",
    "'{0[0]}'.format([1])",
    "'{:{0.real}}'.format(1)",
    "str.format('{0.real}', 1)",
    "x = '{}'\nx.format(1)",
    "x = ''\nx.format_map({})",
]
RESERVED = [
    "__builtins__['len'] = print",
    "global __builtins__",
    "def __f(): pass\n__name__ = 1",
    "import re as __builtins__",
]
SUSPENDED = [
    "def g():\n    try: yield\n    finally: print(1)",
]
IDENTITY = [
    "x is y",
    "x = 1000 is 1000",
    "from operator import is_not",
]


def is_tame_beside_metadata(text):
    return is_tame(text, TEST + "METADATA = {}\n")


@pytest.mark.parametrize("text", SYNTAX)
def test_syntax_that_is_not_on_the_list_is_not_tame(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", ATTRIBUTES)
def test_attributes_that_reach_further_are_not_tame(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", STORES)
def test_attributes_are_neither_stored_nor_deleted(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", METHODS_AS_VALUES)
def test_a_method_is_no_value(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", METHODS_AS_KEYS)
def test_a_method_given_as_key_is_no_value(text):
    assert not is_tame_beside_metadata(text)


IMPORTS = """
import collections, functools, re
from collections import Counter, OrderedDict, defaultdict, deque
from functools import cache, lru_cache
from itertools import chain
from re import sub
from typing import List
"""


def test_the_imports_alone_are_tame():
    assert is_tame_beside_metadata(IMPORTS)


@pytest.mark.parametrize("text", CLASSES)
def test_a_method_of_a_class_takes_no_other_object(text):
    assert Counter.copy(int) is type  # why not
    assert not is_tame(IMPORTS + text)


@pytest.mark.parametrize("text", CALLED)
def test_what_is_imported_to_be_called_is_no_value(text):
    assert not is_tame(IMPORTS + text)


@pytest.mark.parametrize("text", TYPED)
def test_names_of_typing_stand_in_annotations_only(text):
    assert not is_tame(IMPORTS + text)


@pytest.mark.parametrize("text", MODULES)
def test_a_module_is_no_value(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", FUNCTIONS)
def test_functions_that_reach_further_are_not_tame(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", CACHED)
def test_cache_hands_back_no_descriptor(text):
    assert isinstance(cache(date).day, types.GetSetDescriptorType)  # why not
    assert not is_tame(IMPORTS + text)


ENDING = """
import string
limit = unread = 1
def check(candidate):
    assert isinstance(limit, int) and abs(candidate()) == math.fabs(helper(1))
    text = string.digits
check(f)"""
PROMPT = """
import math
def other(x): return x
def helper(x): return sum([other(x)])
def f(): return 1
"""


@pytest.mark.parametrize("text", READ)
def test_names_that_the_ending_reads_are_not_bound(text):
    assert not is_tame(PROMPT + text, ENDING)


@pytest.mark.parametrize("text", ["", *NOT_READ])
def test_names_that_the_ending_does_not_read_are_free(text):
    assert is_tame(PROMPT + text, ENDING)


@pytest.mark.parametrize("text", TYPE)
def test_type_is_compared_and_nothing_else(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", FORMAT)
def test_format_reads_no_attribute(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", RESERVED)
def test_reserved_names_are_not_tame(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", SUSPENDED)
def test_a_generator_with_something_left_to_do_is_not_tame(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize("text", IDENTITY)
def test_identity_is_not_compared(text):
    assert not is_tame_beside_metadata(text)


@pytest.mark.parametrize(
    "text",
    [
        "import math\nfrom typing import List\ndef f(x: List[int]): return math.sqrt(x[0])",
        "from collections import Counter\ndef f(s): return Counter(s).most_common(1)[0][0]",
        "def f(x):\n    if type(x) is int or type(x) == float: return None is x\n",
        "if __name__ == '__main__': print(input())",
        "def f(): return np.array([1])",  # nothing binds np: a NameError
        "try:\n    f = lambda x: x.strip().split()\nexcept (ValueError, BaseException) as e: print(e)",
        "def g():\n    yield from (i for i in range(3))\n",
        "print('{:.2f} {x}'.format(1.5, x=1), sorted([], key=len), max({}, key=lambda x: x))",
        "def k(x): return -x\nx = list(map(str, 'a b'.split()))\nx.sort(key=k, reverse=True)",
        "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef f(n): return f(n - 1)",
        "import functools\n@functools.cache\ndef f(n): return n",
        "from collections import defaultdict as d\nx = d(list)\nx[1].append(2)",
        "import typing\nx: typing.List[int] = []",
        "def f(x: 'List[int]', y: int | None) -> list[int]: return x",
        "from typing import Dict, List\ndef f(x: Dict[str, List[int]] | None = None) -> List: pass",
        "import re\ndef f(s): return re.sub('a', lambda m: m.group(0), s)",
        "from math import sqrt\ndef f(x): return list(map(sqrt, x))",
    ],
)
def test_ordinary_programs_are_tame(text):
    assert is_tame(text)


def test_which_solutions_of_humaneval_are_not_tame():
    problems = list(load_problems())
    after = endings(problems)
    found = {p.task_id: tame.tame_ending(after[p.task_id]) for p in problems}
    untame = [
        p.task_id
        for p in problems
        if (names := found[p.task_id]) is not None
        and not tame.is_tame(ast.parse(p.prompt + p.solution), names)
    ]
    assert untame == ["HumanEval/160"]  # it calls eval
    untame = [task_id for task_id, names in found.items() if names is None]
    # They call copy.deepcopy and draw random numbers.
    assert untame == ["HumanEval/32", "HumanEval/38", "HumanEval/50", "HumanEval/53"]


def test_a_module_that_the_ending_binds_is_no_value_either():
    test = "import math\n" + TEST
    assert not is_tame("def f(): return math", test)
    assert is_tame("def f(): return math.pi", test)
    assert not is_tame("math = 1", test)


ESCAPE = """
from collections import Counter
import re

T = Counter.copy(int)
got = {}

def keep(key):
    return key

def sa(self, name, value):
    got[name] = value

def mixins(a, b):
    return object, object

def fnew(a, b, c):
    return None, False, False

def frepr(a, b):
    return None

M = T("M", (T(T(re.A)),), {"__setattr__": sa, "_get_mixins_": mixins, "_find_new_": fnew})
ED = T("ED", (dict,), {"_member_names": ()})
M("E", (), ED())
rx = got["__reduce_ex__"]
ga = rx(keep(key=[].append), 2)[0]
bi = ga(keep, "__globals__")["__builtins__"]
"""
"""A review's program that the list once let through: it decided the verdicts of its batch."""
PIECES = [
    "T = Counter.copy(int)",
    "T = collections.Counter.copy(int)",
    "T = Counter.__copy__(int)",
    "def f(c=Counter): return c.copy(int)",
    "T = (lambda c: c.copy(int))(Counter)",
    "T = [Counter][0].copy(int)",
    "for C in [Counter]: T = C.copy(int)",
    "T = Counter().__class__",
    "T = deque.copy(int)",
    "T = Counter.elements(int)",
    "T = type(int)(1)",
    "T = (type(1) == 2, type)[1]",
    "T = max(type, int)",
    "T = re.A.__class__",
    "T = re.compile('a').pattern",
    "T = re.Pattern",
    "def keep(key): return key\nT = keep(key=[].append)",
    "def keep(key): return key\nT = keep([].append)",
    "T = sorted([1], key=[].append)",
    "T = print.__self__",
    "T = (lambda: 0).__globals__",
    "T = cache(date).day",
    "T = f'{T.__class__}'",
    "T = '{0.__class__}'.format(1)",
    "T = '{0[__builtins__]}'.format({})",
    "T = str.format('{0.__class__}', 1)",
    "T = ''.format_map({})",
    "import operator\nT = operator.attrgetter('__class__')(1)",
    "import operator\nT = operator.methodcaller('mro')(int)",
    "from functools import partial\nT = partial(int).func",
    "from functools import singledispatch",
    "from functools import reduce\nT = reduce(getattr, ['__class__'], 1)",
    "import typing\nT = typing.get_type_hints(int)",
    "import typing\nT = typing.cast(int, 1)",
    "from typing import List\nT = List.__origin__",
    "from typing import NamedTuple",
    "from collections import UserDict",
    "from collections import ChainMap",
    "from statistics import mean\nT = mean.__globals__",
    "T = object()",
    "T = object.__subclasses__()",
    "T = [x for x in ().__class__.__bases__]",
    "try: 1 / 0\nexcept ZeroDivisionError as e: T = e.__traceback__.tb_frame",
    "try: 1 / 0\nexcept ZeroDivisionError as e: T = e.with_traceback(None)",
    "def g(): yield\nT = g().gi_frame.f_back",
    "def g(): yield\nT = g().send(None)",
    "def g(): yield\nT = g().throw(ValueError)",
    "class A: pass",
    "T = ExceptionGroup('', [ValueError()]).derive([])",
    "T = {}.keys().mapping",
    "T = vars()",
    "T = dir()",
    "T = memoryview(b'').obj",
    "T = super().__init__",
    "T = property(len).fget",
    "T = classmethod(len).__func__",
    "raise SystemExit",
    "exit()",
]


@pytest.mark.parametrize("text", [ESCAPE, *PIECES])
def test_ways_out_are_closed(text):
    assert not is_tame(IMPORTS + text)


def verdicts(*texts, limits=Limits(), test=TEST):  # noqa: B008 (frozen)
    with Executor(
        endings([python_problem("t/0", "", test, "f")]), workers=1, limits=limits
    ) as executor:
        programs = [Answer("t/0", answer_digest(t), t) for t in texts]
        found = {v.answer: (v.outcome, v.detail) for v in executor.run(programs)}
    return [found[p.digest] for p in programs]


SAME = [
    "def f(): return 1",
    "def f(): return 2",
    "def f(): raise KeyError('k')",
    "raise SystemExit(3)",
    "def f(): return int('x')",
    "def f(): return input()",
    "def f(): print('x' * 10); return 1",
    "import random\nraise ValueError(random.random())",
    "import random\nrandom.seed(5)\nraise ValueError(random.random())",
    "import random\nraise IndexError(random.sample(range(100), 5))",
    "def r(n):\n    try: return r(n + 1)\n    except RecursionError: return n\nraise ValueError(r(0))",
    "a = []\nfor i in range(1100): a = [a]\nfor n in range(1100):\n    try: repr(a)\n"
    "    except RecursionError: a = a[0]\n    else: raise ValueError(n)",
    "def f(): return f()",
    "def f(): return [0] * 10**12",
    "def f():\n    x = bytearray(1 << 27)\n    return 1",
    "check = 1\ndef f(): return len(str(METADATA))",
    "x = [1]\ndef f(): return x[0] if __name__ == 'builtins' else 2",
    "raise StopIteration",
    "def f(): return next(y for y in [] if y)",
    "import re\nre.compile('a', 2)\ndef f(): return 1",
    "import re\ndef f(): return 1 if re.search('a', 'A', 2.0) else 2",
    "from typing import List\nx = List[1]\ndef f(): return 1",
    "from typing import List\nraise ValueError(str(List[True]))",
    "import random\nrandom.seed(7)\ndef f(): return 1",
    "import \uff52andom\nrandom.seed(7)\ndef f(): return 1",
    "import random\nraise ValueError(random.random(), 'again')",
    "class A: pass\ndef f(): return 1",
    "return 1",
    "def f(:",
    "x = '''",
    "f = lambda: 1\n\\",
    "if 1:",
    "nonlocal x",
    "\x00",
    "raise ValueError('\\udc80' * 3000)",
    "def f(): return sorted([3, 1], key=lambda x: x)[0]",
]


@pytest.mark.slow
def test_verdicts_in_a_batch_are_those_alone():
    line = "    assert candidate"
    alone = verdicts(*SAME, test=TEST.replace(line, "    eval('1')\n" + line))
    together = verdicts(*SAME, test=TEST.replace(line, "    int('1')\n" + line))
    for text, a, b in zip(SAME, alone, together, strict=True):
        assert a == b, text


@pytest.mark.slow
def test_tame_programs_share_processes_and_others_do_not(monkeypatch):
    alone = []
    submit = WorkerHandle.submit_alone

    def spy(self, job):
        alone.append(job.program.text)
        submit(self, job)

    monkeypatch.setattr(WorkerHandle, "submit_alone", spy)
    monkeypatch.setattr(trust, "_to_repeat", lambda batch: set())
    slow = "def f():\n    while True: pass"
    wild = "import os\ndef f(): return 1"
    tamed = [f"def f(): return {i}" for i in range(40)]
    found = verdicts(*tamed[:20], slow, wild, *tamed[20:], limits=Limits(timeout=1.0))
    assert list(dict.fromkeys(alone)) == [wild, slow]  # the only worker has something else to do
    assert [o for o, _ in found].count("passed") == 2
    assert found[20] == ("timed_out", "timed out")
