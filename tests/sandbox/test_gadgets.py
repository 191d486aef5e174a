"""What a tame program can reach, by really executing what the lists allow, two calls deep.

The search starts from values of all kinds. It calls what may be called, on the spot or as a value,
with up to two of these values; it calls every listed method of every value; and it combines values
by operators. What comes back is examined: results, their elements, exceptions, and what functions
of the program are handed. Then all of it goes through the same once more.
"""

import builtins
import collections
import functools
import importlib
import io
import itertools
import operator
import sys
import types

import pytest

from toolkit.sandbox import tame

PROGRAM = """
def same(*args, **kwargs):
    seen.append(args)
    if len(seen) > 8:
        raise StopIteration
    return args[0] if args else 0
def many():
    yield same
    yield 1
def cached(x=1): return x
def fail(*args): raise KeyError(*args)
"""
"""Functions of a program. `same` ends what would call it for ever, as the time limit does."""
OPERATORS = [
    *(operator.add, operator.mul, operator.sub, operator.mod, operator.floordiv, operator.pow),
    *(operator.or_, operator.and_, operator.xor, operator.lshift, operator.truediv),
    *(operator.getitem, operator.contains, operator.eq, operator.lt, operator.matmul),
]
PLAIN = {int, float, complex, str, bytes, bool, range, slice, type(None), type(...)}
CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque)
FORBIDDEN = (
    *(types.ModuleType, types.FrameType, types.CodeType, types.TracebackType, types.MethodType),
    *(types.MethodWrapperType, types.WrapperDescriptorType, types.MethodDescriptorType),
    *(types.ClassMethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType),
    *(types.MappingProxyType, types.SimpleNamespace, memoryview, property, classmethod),
    *(staticmethod, super, functools.partial, operator.attrgetter, operator.methodcaller),
)
MAX_ITEMS = 8
"""So many are examined, of a container or an iterator."""


def shape(value):
    """What two values have in common when the search goes on with one of them only."""
    if isinstance(value, type):
        return BaseException if issubclass(value, BaseException) else value
    if isinstance(value, CONTAINERS):
        return (type(value), *(type(item) for item in items_of(value)[:1]))
    return type(value)


def items_of(container):
    items = list(itertools.islice(container, MAX_ITEMS))
    if isinstance(container, dict):
        items += [container[key] for key in items]
    return items


def imported(lists):
    """What the lists name, where this version of Python has it."""
    modules = [(importlib.import_module(module), names) for module, names in lists.items()]
    return [getattr(m, n) for m, names in modules for n in sorted(names) if hasattr(m, n)]


class Search:
    """A search for values that lead out of a program."""

    def __init__(self):
        self.scope = {"seen": []}
        exec(PROGRAM, self.scope)
        self.many = self.scope["many"]
        functions = [self.scope[name] for name in ("same", "many", "fail")]
        functions.append(functools.cache(self.scope["cached"]))
        named = [getattr(builtins, name) for name in sorted(tame.BUILTINS)]
        named += imported(tame.VALUES)
        self.functions = {id(value) for value in [*functions, *named]}
        self.types = {getattr(builtins, name) for name in tame.BUILTINS}
        self.namespaces = {id(vars(m)) for m in list(sys.modules.values()) if m is not None}
        self.called = [v for v in [*imported(tame.CALLS), *named, *functions] if callable(v)]
        self.keys = [v for v in [*named, *functions] if callable(v)]
        self.first = [0, 2, -1.5, "a", "copy", "__class__", b"a", None, range(3)]
        self.first += [[], [1, 2], ["a"], (), ("a", 1), {}, {"a": 1}, {1, 2}, frozenset("a")]
        self.first += [int, str, list, dict, KeyError, len, *functions]
        self.first += [ValueError("a"), self.many(), list[int], int | None]
        self.named = named
        self.shapes = set()
        self.found = []

    def dangers(self):
        """(how, value) of each value that leads out."""
        yield from self._examine("named", self.named)
        yield from self._examine("given", self.first)
        yield from self._combine([], self.first)
        second, self.found = self.found, []
        yield from self._combine(self.first, second)

    def _combine(self, old, new):
        """Execute what combines values, one of which at least is new."""
        pairs = list(itertools.product(new, old or new))
        pairs += [(b, a) for a, b in pairs if old]
        tuples = [(), *((value,) for value in new), *pairs]
        for function, arguments in itertools.product(self.called, tuples):
            yield from self._execute(function, arguments)
        for value, name in itertools.product(new, sorted(tame.METHODS)):
            if hasattr(value, name):
                for arguments in [(), *((a,) for a in [*old, *new]), *([] if old else pairs)]:
                    yield from self._execute(call_method, (value, name, *arguments))
        for function, pair in itertools.product(OPERATORS, pairs):
            yield from self._execute(function, pair)
        for function, value, key in itertools.product([sorted, min, max], new, self.keys):
            yield from self._execute(call_with_key, (function, value, key))

    def _execute(self, function, arguments):
        seen = self.scope["seen"]
        seen.clear()
        try:
            result = function(*map(self._fresh, arguments))
            results = [result]
            if hasattr(type(result), "__next__"):
                results += itertools.islice(result, MAX_ITEMS)
        except Exception as error:
            results = [error]
        yield from self._examine((function, arguments), results)
        if seen:
            yield from self._examine((function, arguments), seen)

    def _fresh(self, value):
        """A value again as it was first: calls change it."""
        if type(value) in (list, dict, set, collections.deque):
            return value.copy()
        return self.many() if isinstance(value, types.GeneratorType) else value

    def _examine(self, how, values, depth=3):
        for value in values:
            if type(value) in PLAIN:
                continue
            if self._leads_out(value):
                yield how, value
            elif depth and isinstance(value, CONTAINERS):
                yield from self._examine(how, items_of(value), depth - 1)
            if depth and (known := shape(value)) not in self.shapes:
                self.shapes.add(known)
                self.found.append(value)

    def _leads_out(self, value):
        if isinstance(value, type):
            return value not in self.types
        if isinstance(value, types.FunctionType):
            return value.__globals__ is not self.scope
        if isinstance(value, types.BuiltinFunctionType):
            return id(value) not in self.functions
        if isinstance(value, functools._lru_cache_wrapper):
            return getattr(value.__wrapped__, "__globals__", None) is not self.scope
        if isinstance(value, types.GeneratorType):
            return value.gi_code.co_filename != "<string>"
        if isinstance(value, dict):
            return id(value) in self.namespaces or "__builtins__" in value
        return isinstance(value, FORBIDDEN)


def call_method(value, name, *arguments):
    return getattr(value, name)(*arguments)


def call_with_key(function, value, key):
    return function(value, key=key)


@pytest.fixture
def _streams(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.mark.slow
@pytest.mark.usefixtures("_streams")
def test_nothing_dangerous_is_reachable():
    search = Search()
    assert next(search.dangers(), None) is None
    assert len(search.found) > 20  # it has come somewhere


@pytest.mark.slow
@pytest.mark.usefixtures("_streams")
@pytest.mark.parametrize(
    ("constant", "names"),
    [
        ("VALUES", {"collections": {"Counter"}}),
        ("VALUES", {"re": {"sub"}}),
        ("VALUES", {"datetime": {"date"}}),
        ("CALLS", {"operator": {"attrgetter"}}),
        ("CALLS", {"operator": {"methodcaller"}}),
        ("CALLS", {"functools": {"partial"}}),
        ("CALLS", {"functools": {"cache"}}),
        ("CALLS", {"functools": {"wraps"}}),
        ("CALLS", {"collections": {"namedtuple"}}),
        ("BUILTINS", {"getattr"}),
        ("BUILTINS", {"type"}),
        ("BUILTINS", {"globals"}),
        ("METHODS", {"__reduce_ex__"}),
        ("METHODS", {"__getattribute__"}),
        ("METHODS", {"mro"}),
    ],
    ids=str,
)
def test_the_search_finds_what_a_dangerous_name_would_reach(monkeypatch, constant, names):
    old = getattr(tame, constant)
    monkeypatch.setattr(
        tame, constant, {**old, **names} if isinstance(names, dict) else old | names
    )
    assert next(Search().dangers(), None) is not None
