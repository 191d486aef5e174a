"""Which programs may share a process: those that can reach nothing but their own values.

Most model-written solutions are a function or two over numbers, strings and lists. Such a program
needs no process of its own, if it cannot touch what runs it. Then one fork serves many programs
(`toolkit.sandbox.together`), and the fork was most of what a verdict cost. The check reads the
syntax tree and goes by a list of what is allowed; all other programs are executed alone.

Why the list holds, and where it does not
-----------------------------------------
T1. Only the syntax in `_NODES` is tame. A class, whose special methods run unseen, is not on it.
    Test: tests/sandbox/test_tame.py::test_syntax_that_is_not_on_the_list_is_not_tame
T2. A tame program reads attributes in `DATA` and calls those in `METHODS`. None of these, read from
    a value, is a frame, a class, a module or a shared dictionary.
    Test: tests/sandbox/test_tame.py::test_no_attribute_leads_from_a_value_to_something_shared
    Test: tests/sandbox/test_tame.py::test_attributes_that_reach_further_are_not_tame
T3. A method is called on values of its own kind only. Known not to hold: a method of a class is a
    function that takes any object (`Counter.copy(int)` gives `type`).
    Known to fail: tests/sandbox/test_tame.py::test_a_method_of_a_class_takes_no_other_object
T4. A method is called on the spot and never becomes a value. Known not to hold: a function of the
    program may give back what it is handed as `key=`.
    Test: tests/sandbox/test_tame.py::test_a_method_is_no_value
    Known to fail: tests/sandbox/test_tame.py::test_a_method_given_as_key_is_no_value
T5. A tame program stores and deletes no attribute.
    Test: tests/sandbox/test_tame.py::test_attributes_are_neither_stored_nor_deleted
T6. A module never becomes a value: its name stands only before a dot and a name of `MODULES`.
    Test: tests/sandbox/test_tame.py::test_a_module_is_no_value
    Test: tests/sandbox/test_tame.py::test_a_module_that_the_ending_binds_is_no_value_either
T7. No function that it can name reads or sets attributes by name, evaluates text, opens a file or
    makes a class. Known not to hold: `functools.cache` copies the attributes of a class into a
    function, so that `cache(date).day` is a raw descriptor.
    Test: tests/sandbox/test_tame.py::test_functions_that_reach_further_are_not_tame
    Known to fail: tests/sandbox/test_tame.py::test_cache_hands_back_no_descriptor
T8. `type` is called with one argument, as an operand of a comparison, and used for nothing else.
    Test: tests/sandbox/test_tame.py::test_type_is_compared_and_nothing_else
T9. `format` is called on a constant, and no field of this constant reads an attribute or an index.
    Test: tests/sandbox/test_tame.py::test_format_reads_no_attribute
T10. Names that begin with `__` are out of its reach, save `__name__`, which it may read.
    Test: tests/sandbox/test_tame.py::test_reserved_names_are_not_tame
T11. Nothing of a program runs after its end. Only a generator that is suspended in a `try` has
    something left to do, and it is not tame.
    Test: tests/sandbox/test_tame.py::test_a_generator_with_something_left_to_do_is_not_tame
T12. What programs still share is the state of `random`, the caches of `re` and `typing`, the
    standard streams and memory. The shared child sets them back after each program, or watches
    them.
    Test: tests/sandbox/test_tame.py::test_verdicts_in_a_batch_are_those_alone
T13. Program and ending, compiled apart and executed in one dictionary, do what their joined text
    does. For each parses alone, and constants that two compilations do not share differ only by
    identity.
    Test: tests/sandbox/test_tame.py::test_verdicts_in_a_batch_are_those_alone
T14. Identity is compared only with None, True, False, `...` and `type(x)`. Known not to hold: bound
    methods, which T4 fails to keep from being values, are equal if their objects are identical.
    Test: tests/sandbox/test_tame.py::test_identity_is_not_compared
    Known to fail: tests/sandbox/test_tame.py::test_a_method_given_as_key_is_no_value

A test marked "Known to fail" is expected to fail, until the claim above it is repaired.
"""

import ast
import builtins
import math
import string
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NODES: Final = _words("""
    Module FunctionDef Return Delete Assign AugAssign AnnAssign For While If Raise Try Assert Import
    ImportFrom Global Nonlocal Expr Pass Break Continue BoolOp NamedExpr BinOp UnaryOp Lambda IfExp
    Dict Set ListComp SetComp DictComp GeneratorExp Yield YieldFrom Compare Call FormattedValue
    JoinedStr Constant Attribute Subscript Starred Name List Tuple Slice comprehension ExceptHandler
    arguments arg keyword alias Load Store Del And Or Add Sub Mult MatMult Div Mod Pow LShift RShift
    BitOr BitXor BitAnd FloorDiv Invert Not UAdd USub Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn
""")

_BUILTINS: Final = _words("""
    abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate exit
    filter float format frozenset hasattr hash help hex input int isinstance issubclass iter len
    list map max min next object oct ord pow print quit range repr reversed round set slice sorted
    str sum tuple zip NotImplemented Ellipsis
""") | {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
"""`exit`, `quit` and `help` are None, by the guard; `input` finds a stream that gives nothing."""

_ALL_BUILTINS: Final = frozenset(dir(builtins))
_REFUSED: Final = _ALL_BUILTINS - _BUILTINS

_TYPES: Final = _words("bytes dict float frozenset int list set str tuple")
DATA: Final = _words("""
    real imag numerator denominator maxlen year month day hour minute second days seconds
""")
"""Attributes of values that may be read."""
METHODS: Final = _words(f"""
    {" ".join(n for t in (str, bytes, list, dict, set, tuple) for n in dir(t) if n[0] != "_")}
    appendleft extendleft popleft rotate most_common elements total move_to_end
    conjugate bit_length bit_count as_integer_ratio is_integer
    to_bytes from_bytes fromhex limit_denominator quantize to_integral_value
    group groups groupdict start end span match search fullmatch findall finditer sub subn
    hexdigest digest weekday isoweekday strftime strptime isoformat total_seconds date time
""") - {"format", "format_map"}
"""Methods that may be called: those of the built-in types and of what `MODULES` gives."""

_TYPING: Final = """
    Any Callable Collection Deque DefaultDict Dict FrozenSet Iterable Iterator Generator List
    Literal Mapping MutableMapping NoReturn Optional OrderedDict Reversible Sequence Set Tuple Union
"""
MODULES: Final[Mapping[str, frozenset[str]]] = {
    module: _words(names)
    for module, names in {
        "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
        "cmath": "acos asin atan cos e exp inf isclose log phase pi polar rect sin sqrt",
        "collections": "Counter OrderedDict defaultdict deque",
        "datetime": "date datetime time timedelta",
        "decimal": """
            Decimal ROUND_CEILING ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN
            ROUND_HALF_UP ROUND_UP
        """,
        "fractions": "Fraction gcd",
        "functools": "cache cmp_to_key lru_cache partial reduce",
        "hashlib": "md5 sha1 sha224 sha256 sha384 sha512",
        "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
        "itertools": """
            accumulate chain combinations combinations_with_replacement compress count cycle
            dropwhile filterfalse groupby islice pairwise permutations product repeat starmap
            takewhile tee zip_longest
        """,
        "math": " ".join(n for n in dir(math) if n[0] != "_"),
        "operator": """
            add and_ concat contains eq floordiv ge getitem gt index invert itemgetter le
            lshift lt mod mul ne neg not_ or_ pos pow rshift sub truediv truth xor
        """,
        "random": "choice choices randint random randrange sample seed shuffle uniform",
        "re": """
            A ASCII DOTALL I IGNORECASE M MULTILINE S VERBOSE X compile escape findall finditer
            fullmatch match search split sub subn
        """,
        "statistics": """
            fmean geometric_mean harmonic_mean mean median median_high median_low mode multimode
            pstdev pvariance stdev variance
        """,
        "string": """
            ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits
            printable punctuation whitespace
        """,
        "sys": "maxsize",
        "typing": _TYPING,
    }.items()
}
"""What may be imported, and used as module.name. Not on it, though it looks harmless, is what

- reads or sets attributes by name: operator.attrgetter, functools.wraps, string.Formatter, and
  copy.deepcopy with a forged memo;
- makes classes: namedtuple, typing.Type;
- changes what is shared: decimal.getcontext.
"""
_ANY_NAME: Final = frozenset[str]().union(*MODULES.values())


@dataclass(frozen=True, slots=True)
class Names:
    """What a text binds, at any depth: names of values, and names of modules with their modules."""

    values: Set[str]
    modules: Mapping[str, str]


NOTHING: Final = Names(frozenset(), {})


def tame_ending(tree: ast.Module) -> Names | None:
    """The names that a problem's ending binds; None when it is not tame.

    An ending is its author's, not a model's, and may use what its prompt imports. So of a name
    that it does not bind, it may read any name of `MODULES`.
    """
    nodes = list(_nodes(tree))
    names = _bindings(nodes)
    if names is None or not _are_tame(nodes, names, of_unbound=_ANY_NAME):
        return None
    return names


def is_tame(tree: ast.Module, ending: Names = NOTHING) -> bool:
    """Whether a program may share a process with others; `ending`: the names its ending binds."""
    nodes = list(_nodes(tree))
    own = _bindings(nodes)
    if own is None or any(ending.modules.get(n, m) != m for n, m in own.modules.items()):
        return False
    names = Names(own.values | ending.values, {**ending.modules, **own.modules})
    if not names.modules.keys().isdisjoint(names.values):
        return False
    return _are_tame(nodes, names, of_unbound=None)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                stack.extend(v for v in value if isinstance(v, ast.AST))
            elif isinstance(value, ast.AST):
                stack.append(value)


def _bindings(nodes: Iterable[ast.AST]) -> Names | None:
    """None when a node is not allowed, or binds or imports what is not."""
    values: set[str] = set()
    modules: dict[str, str] = {}
    for node in nodes:
        if type(node).__name__ not in _NODES:
            return None
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
                values.add(name)
            case ast.FunctionDef(name=name) | ast.ExceptHandler(name=str(name)):
                values.add(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                values.update(names)
            case ast.Import(names=aliases):
                for alias in aliases:
                    name = alias.asname or alias.name
                    if (
                        alias.name not in MODULES
                        or modules.setdefault(name, alias.name) != alias.name
                    ):
                        return None
            case ast.ImportFrom(module=module, names=aliases, level=0):
                if not {a.name for a in aliases} <= MODULES.get(module or "", frozenset()):
                    return None
                values.update(alias.asname or alias.name for alias in aliases)
            case ast.ImportFrom():
                return None
    bound = values | modules.keys()
    if any(name.startswith("__") for name in bound) or not bound.isdisjoint(_REFUSED):
        return None
    return Names(values, modules)


def _are_tame(nodes: Iterable[ast.AST], names: Names, of_unbound: Set[str] | None) -> bool:
    """Whether no node reaches beyond the program's own values.

    `of_unbound`: the attributes that may be read of a name that is not in `names`. With None this
    is anything: nothing else binds the name, so that it raises.
    """
    placed: set[int] = set()  # what stands where it may, though it may not elsewhere
    for node in nodes:  # a node comes before those in it
        match node:
            case ast.Attribute(ctx=ast.Load(), value=ast.Name(id=name) as base, attr=attr) if (
                name in names.modules
            ):
                if attr not in MODULES[names.modules[name]]:
                    return False
                placed.add(id(base))
            case ast.Attribute(ctx=ast.Load(), value=ast.Name(id=name), attr=attr) if (
                name not in names.values and name not in _ALL_BUILTINS
            ):
                if of_unbound is not None and attr not in of_unbound | DATA | METHODS:
                    return False
            case ast.Attribute():
                if not _may_be_read(node, names, called=id(node) in placed):
                    return False
            case (
                ast.Call(func=ast.Attribute() as method)
                | ast.keyword(arg="key", value=ast.Attribute() as method)
            ):
                placed.add(id(method))
            case ast.Compare(left=left, ops=ops, comparators=others):
                operands = [left, *others]
                placed.update(id(o.func) for o in operands if _is_type_call(o))  # type: ignore[attr-defined]
                for op, pair in zip(ops, pairwise(operands), strict=True):
                    if isinstance(op, ast.Is | ast.IsNot) and not any(map(_is_unique, pair)):
                        return False
            case ast.Try() if any(isinstance(n, ast.Yield | ast.YieldFrom) for n in _nodes(node)):
                return False
            case ast.Name(id=name) if name != "__name__" and id(node) not in placed:
                if name in names.modules or name in _REFUSED or name.startswith("__"):
                    return False
    return True


def _may_be_read(node: ast.Attribute, names: Names, called: bool) -> bool:
    match node:
        case ast.Attribute(ctx=ast.Load(), value=ast.Constant(value=str(text)), attr="format"):
            return _reads_no_attribute(text)
        case ast.Attribute(ctx=ast.Load(), value=ast.Name(id=name), attr=attr) if attr in METHODS:
            return called or (name in _TYPES and name not in names.values)
        case ast.Attribute(ctx=ast.Load(), attr=attr):
            return attr in DATA or (called and attr in METHODS)
    return False


def _reads_no_attribute(template: str) -> bool:
    """Whether no field of a `str.format` template, nor of its specifications, has an attribute or
    an index.
    """
    try:
        fields = list(string.Formatter().parse(template))
    except ValueError:
        return False
    return all(
        "." not in (name or "") and "[" not in (name or "") and _reads_no_attribute(spec or "")
        for _, name, spec, _ in fields
    )


def _is_type_call(node: ast.expr) -> bool:
    """type(x), with one argument."""
    match node:
        case ast.Call(func=ast.Name(id="type"), args=[argument], keywords=[]):
            return not isinstance(argument, ast.Starred)
    return False


def _is_unique(node: ast.expr) -> bool:
    """Whether identity with it is the same thing in one compilation and in two."""
    match node:
        case ast.Constant(value=None | True | False | builtins.Ellipsis):
            return True
    return _is_type_call(node)
