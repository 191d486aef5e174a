"""Which programs may share a process: those that can reach nothing but their own values.

Most model-written solutions are a function or two over numbers, strings and lists. Such a program
needs no process of its own, if it is certain that it cannot touch what runs it: then one fork
serves many (`toolkit.sandbox.together`), and the fork was most of what its verdict cost. The test
is on the syntax tree, a list of what is allowed; whatever is not on it, harmless or not, is
executed alone.

Why the list holds. A tame program reads attributes named in `DATA`, calls `METHODS`, and none of
these leads from a value to a frame, a class, a module or a dictionary that others see; it stores
and deletes none. A module's name stands only before a dot and a name of `MODULES`, so modules never
become values. No builtin or function it can name takes an attribute's name and gives or sets the
attribute, evaluates text, opens anything, or makes a class: `type(x)` is an operand of a comparison
only, classes with their special methods cannot be written, and `format` is a method of a constant
whose fields read no attribute. Nothing of it runs later: only a generator that is suspended in a
`try` has something left to do, and is refused. What is left to share is the state of `random`, the
caches of `re` and `typing`, the standard streams and memory, which the batch sets back and watches.

Executing program and test from two code objects in one dictionary equals executing their joined
text, because each parses alone; constants, which one compilation would share and two do not, can be
told apart only by identity: by `is`, which is allowed with None, True, False, `...` and `type(x)`
only, and by bound methods, which are called on the spot.
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
"""Those of the guard (exit, quit, help) are None; `input` finds a stream that gives nothing."""

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
"""Methods of values that may be called, those of the built-in types and of what `MODULES` gives."""

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
"""What may be imported, and used as module.name. Not on it, though harmless looking: what reads or
sets attributes by name (operator.attrgetter, functools.wraps, string.Formatter; copy.deepcopy does,
for whoever forges its memo), makes classes (namedtuple, typing.Type) or changes what is shared
(decimal.getcontext)."""
_ANY_NAME: Final = frozenset[str]().union(*MODULES.values())


@dataclass(frozen=True, slots=True)
class Names:
    """What a text binds, at any depth: names of values, and names of modules with their modules."""

    values: Set[str]
    modules: Mapping[str, str]


NOTHING: Final = Names(frozenset(), {})


def tame_test(tree: ast.Module) -> Names | None:
    """The names that a problem's test binds; None when it is not tame.

    A test is its author's, not a model's, and may use what its prompt imports: any name of
    `MODULES` will do as an attribute.
    """
    nodes = list(_nodes(tree))
    names = _bindings(nodes)
    if names is None or not _are_tame(nodes, names, of_unbound=_ANY_NAME):
        return None
    return names


def is_tame(tree: ast.Module, test: Names = NOTHING) -> bool:
    """Whether a program may share a process with others, when its test binds the names `test`."""
    nodes = list(_nodes(tree))
    own = _bindings(nodes)
    if own is None or any(test.modules.get(n, m) != m for n, m in own.modules.items()):
        return False
    names = Names(own.values | test.values, {**test.modules, **own.modules})
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
    """`of_unbound`: what may be read of a name that is not in `names`; None: anything, because
    nothing else binds names, and it raises.
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
