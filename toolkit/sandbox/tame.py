"""Which programs may share a process: those that can reach nothing but their own values.

Most model-written solutions are a function or two over numbers, strings and lists. Such a program
needs no process of its own, if it cannot touch what runs it. Then one fork serves many programs
(`toolkit.sandbox.together`), and the fork was most of what a verdict cost. The check reads the
syntax tree and goes by short lists of what is allowed; all other programs are executed alone. What
few programs use is not on the lists.

Why the lists suffice
---------------------
T1. Only the syntax in `_NODES` is tame. A class, whose special methods run unseen, is not on it.
    Test: tests/sandbox/test_tame.py::test_syntax_that_is_not_on_the_list_is_not_tame
T2. An attribute is read in two places only: of a module, and as a method that is called on the
    spot. Its name is on a list, `METHODS` for a method.
    Test: tests/sandbox/test_tame.py::test_attributes_that_reach_further_are_not_tame
T3. A method is called on an object of its own kind only. For no class that is written in Python is
    ever a value, and the methods of the built-in types check what they are called on.
    Test: tests/sandbox/test_tame.py::test_a_method_of_a_class_takes_no_other_object
T4. A method never becomes a value.
    Test: tests/sandbox/test_tame.py::test_a_method_is_no_value
    Test: tests/sandbox/test_tame.py::test_a_method_given_as_key_is_no_value
T5. A tame program stores and deletes no attribute.
    Test: tests/sandbox/test_tame.py::test_attributes_are_neither_stored_nor_deleted
T6. A module never becomes a value: its name stands only before a dot and a name on its list.
    Test: tests/sandbox/test_tame.py::test_a_module_is_no_value
    Test: tests/sandbox/test_tame.py::test_a_module_that_the_ending_binds_is_no_value_either
T7. No function that it can name reads or sets attributes by name, evaluates text, opens a file or
    makes a class.
    Test: tests/sandbox/test_tame.py::test_functions_that_reach_further_are_not_tame
T8. An imported class, and a library function written in Python, is called on the spot and never
    becomes a value (`CALLS`).
    Test: tests/sandbox/test_tame.py::test_what_is_imported_to_be_called_is_no_value
T9. Caches are decorators of a `def` (`CACHES`), names of `typing` parts of an annotation, and
    nothing else.
    Test: tests/sandbox/test_tame.py::test_cache_hands_back_no_descriptor
    Test: tests/sandbox/test_tame.py::test_names_of_typing_stand_in_annotations_only
T10. `type` is called with one argument, as an operand of a comparison, and used for nothing else.
    Test: tests/sandbox/test_tame.py::test_type_is_compared_and_nothing_else
T11. `format` is called on a constant, and no field of this constant reads an attribute or an index.
    Test: tests/sandbox/test_tame.py::test_format_reads_no_attribute
T12. Names that begin with `__` are out of its reach, save `__name__`, which it may read.
    Test: tests/sandbox/test_tame.py::test_reserved_names_are_not_tame
T13. Nothing of a program runs after its end. Only a generator that is suspended in a `try` has
    something left to do, and it is not tame.
    Test: tests/sandbox/test_tame.py::test_a_generator_with_something_left_to_do_is_not_tame
T14. Identity is compared only with None, True, False, `...` and `type(x)`.
    Test: tests/sandbox/test_tame.py::test_identity_is_not_compared
T15. What the ending reads is what its author meant. A tame program binds no global name of the
    ending, but the function that is tested and, once and by `def`, a helper of the prompt. It reads
    no value that the ending binds.
    Test: tests/sandbox/test_tame.py::test_names_that_the_ending_reads_are_not_bound
T16. So no value that a tame program can make leads further, two calls deep: no class beyond the
    lists, function of others, frame, module, code object, descriptor or method.
    Test: tests/sandbox/test_gadgets.py::test_nothing_dangerous_is_reachable
T17. What programs still share is the caches of `re` and `typing`, the codecs that are loaded, the
    standard streams and memory. The shared child sets them back after each program, or watches
    them, or they do not show.
    Test: tests/sandbox/test_tame.py::test_verdicts_in_a_batch_are_those_alone
T18. Program and ending, compiled apart and executed in one dictionary, do what their joined text
    does. For each parses alone, and constants that two compilations do not share differ only by
    identity.
    Test: tests/sandbox/test_tame.py::test_verdicts_in_a_batch_are_those_alone

The lists are the first defence of a batch, and `toolkit.sandbox.trust` is the second.
"""

import ast
import builtins
import math
import symtable
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from toolkit.sandbox.plain import reads_no_attribute


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _by_module(names: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    return {module: _words(text) for module, text in names.items()}


_NODES: Final = _words("""
    Module FunctionDef Return Delete Assign AugAssign AnnAssign For While If Raise Try Assert Import
    ImportFrom Global Nonlocal Expr Pass Break Continue BoolOp NamedExpr BinOp UnaryOp Lambda IfExp
    Dict Set ListComp SetComp DictComp GeneratorExp Yield YieldFrom Compare Call FormattedValue
    JoinedStr Constant Attribute Subscript Starred Name List Tuple Slice comprehension ExceptHandler
    arguments arg keyword alias Load Store Del And Or Add Sub Mult MatMult Div Mod Pow LShift RShift
    BitOr BitXor BitAnd FloorDiv Invert Not UAdd USub Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn
""")

BUILTINS: Final = _words("""
    abs all any bin bool chr dict divmod enumerate filter float format frozenset hex input int
    isinstance iter len list map max min next oct ord pow print range repr reversed round set sorted
    str sum tuple zip
    ArithmeticError AssertionError AttributeError BaseException Exception IndexError KeyError
    LookupError NameError NotImplementedError OverflowError RecursionError RuntimeError
    StopIteration TypeError ValueError ZeroDivisionError
""")
"""Built-in names that may be values. The types among them are written in C, as all built-ins are.

`input` finds a stream that gives nothing.
"""
_ALL_BUILTINS: Final = frozenset(dir(builtins))
_REFUSED: Final = _ALL_BUILTINS - BUILTINS

METHODS: Final = _words("""
    capitalize casefold center count decode encode endswith expandtabs find index isalnum isalpha
    isascii isdecimal isdigit islower isnumeric isprintable isspace istitle isupper join ljust lower
    lstrip maketrans partition removeprefix removesuffix replace rfind rindex rjust rpartition
    rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill
    append clear copy extend insert pop remove reverse sort
    fromkeys get items keys popitem setdefault update values
    add difference difference_update discard intersection intersection_update isdisjoint issubset
    issuperset symmetric_difference symmetric_difference_update union
    appendleft extendleft popleft rotate elements most_common subtract total move_to_end
    bit_count bit_length is_integer
    end group groups span start
    hexdigest
""")
"""Methods that may be called on the spot: of the built-in types and of what `CALLS` gives."""

VALUES: Final = _by_module(
    {
        "math": " ".join(n for n in dir(math) if n[0] != "_"),
        "operator": """
            add and_ eq floordiv ge gt le lt mod mul ne neg or_ pow sub truediv xor
        """,
        "string": "ascii_letters ascii_lowercase ascii_uppercase digits punctuation",
        "sys": "maxsize",
    }
)
"""What may be imported and be a value: constants, and functions written in C."""
CALLS: Final = _by_module(
    {
        "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
        "collections": "Counter OrderedDict defaultdict deque",
        "functools": "reduce",
        "hashlib": "md5",
        "heapq": "heapify heappop heappush heappushpop heapreplace",
        "itertools": """
            accumulate chain combinations combinations_with_replacement groupby islice permutations
            product takewhile zip_longest
        """,
        "re": "findall finditer fullmatch match search split sub",
    }
)
"""What may be imported and be called on the spot: classes, and functions written in Python."""
CACHES: Final = _by_module({"functools": "cache lru_cache"})
"""What may be imported and decorate a `def`."""
TYPING: Final = _by_module(
    {
        "typing": """
            Any Callable Deque DefaultDict Dict FrozenSet Generator Iterable Iterator List Mapping
            Optional Sequence Set Tuple Union
        """
    }
)
"""What may be imported and stand in an annotation."""
MODULES: Final[Mapping[str, frozenset[str]]] = {
    module: frozenset[str]().union(
        *(names.get(module, frozenset()) for names in (VALUES, CALLS, CACHES, TYPING))
    )
    for module in sorted({*VALUES, *CALLS, *CACHES, *TYPING})
}
"""What may be imported, each name for its use. Not on the lists, though it looks harmless, is what

- reads or sets attributes by name: operator.attrgetter, functools.wraps, string.Formatter, and
  copy.deepcopy with a forged memo;
- makes classes: namedtuple, typing.NewType;
- changes what is shared: decimal.getcontext, random.seed.
"""


@dataclass(frozen=True, slots=True)
class Names:
    """What a text binds, at any depth.

    modules: name -> its module. imported: name -> (module, name in it), of what is imported from
    one. values: all other names.
    """

    values: Set[str]
    modules: Mapping[str, str]
    imported: Mapping[str, tuple[str, str]]

    def origin(self, node: ast.expr) -> tuple[str, str] | None:
        """The (module, name) that an expression stands for, if it is imported."""
        match node:
            case ast.Name(id=name):
                return self.imported.get(name)
            case ast.Attribute(value=ast.Name(id=base), attr=name) if base in self.modules:
                return self.modules[base], name
        return None


@dataclass(frozen=True, slots=True)
class EndingNames:
    """Of an ending: what it binds, the global names in it, and the function that it tests.

    tested: "" if the ending does not end with a call that has one name as its argument.
    """

    bound: Names = field(default_factory=lambda: Names(frozenset(), {}, {}))
    used: Set[str] = frozenset()
    tested: str = ""


NOTHING: Final = EndingNames()


def tame_ending(text: str) -> EndingNames | None:
    """The names of a problem's ending; None when it is not tame. Raises as `compile` does.

    An ending is its author's, not a model's, and may use what its prompt imports. So of a name
    that it does not bind, it may read any name of `MODULES`.
    """
    tree = ast.parse(text)
    nodes = list(_nodes(tree))
    names = _bindings(nodes)
    if names is None or not _Check(names, ending=None).holds(nodes):
        return None
    tested = ""
    match tree.body:
        case [*_, ast.Expr(ast.Call(args=[ast.Name(id=name)], keywords=[]))]:
            tested = name
    read = _globals_read(symtable.symtable(text, "<string>", "exec"))
    return EndingNames(names, read | _global_bindings(tree, nodes), tested)


def is_tame(tree: ast.Module, ending: EndingNames = NOTHING) -> bool:
    """Whether a program may share a process with others, followed by this ending."""
    nodes = list(_nodes(tree))
    own = _bindings(nodes)
    if own is None:
        return False
    modules = ending.bound.modules
    if any(modules.get(name, module) != module for name, module in own.modules.items()):
        return False
    names = Names(own.values, {**modules, **own.modules}, own.imported)
    if names.modules.keys() & (names.values | names.imported.keys()):
        return False
    if not _keeps_names(tree, nodes, own, ending):
        return False
    return _Check(names, ending).holds(nodes)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, each before those in it."""
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
    imported: dict[str, tuple[str, str]] = {}
    for node in nodes:
        if type(node).__name__ not in _NODES:
            return None
        values.update(_values_bound(node))
        match node:
            case ast.Import(names=aliases):
                for alias in aliases:
                    name = alias.asname or alias.name
                    if alias.name not in MODULES:
                        return None
                    if modules.setdefault(name, alias.name) != alias.name:
                        return None
            case ast.ImportFrom(module=str(module), names=aliases, level=0):
                for alias in aliases:
                    name, origin = alias.asname or alias.name, (module, alias.name)
                    if alias.name not in MODULES.get(module, ()):
                        return None
                    if imported.setdefault(name, origin) != origin:
                        return None
            case ast.ImportFrom():
                return None
    bound = values | modules.keys() | imported.keys()
    if len(bound) != len(values) + len(modules) + len(imported):
        return None  # a name with two meanings
    if not _ALL_BUILTINS.isdisjoint(modules.keys() | imported.keys()):
        return None
    if any(name.startswith("__") for name in bound) or not bound.isdisjoint(_REFUSED):
        return None
    return Names(values, modules, imported)


def _values_bound(node: ast.AST) -> Sequence[str]:
    """The names that a node binds or declares itself, those of imports left out."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            return [name]
        case ast.FunctionDef(name=name) | ast.ExceptHandler(name=str(name)):
            return [name]
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return names
    return ()


def _globals_read(table: symtable.SymbolTable) -> set[str]:
    """The global names that a text reads, at any depth."""
    at_top = table.get_type() == "module"
    found = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (at_top or symbol.is_global())
    }
    return found.union(*map(_globals_read, table.get_children()))


def _keeps_names(
    tree: ast.Module, nodes: Sequence[ast.AST], own: Names, ending: EndingNames
) -> bool:
    """Whether the program leaves what the ending reads as its author meant it."""
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    bound = ending.bound.values | ending.bound.imported.keys() | ending.bound.modules.keys()
    for name in _global_bindings(tree, nodes) & _used_with_helpers(ending, defined):
        if own.modules.get(name) == name:
            continue
        times = sum(list(_values_bound(node)).count(name) for node in nodes)
        if name in _ALL_BUILTINS | bound or name not in defined or times != 1:
            return False
    return True


def _used_with_helpers(ending: EndingNames, defined: Mapping[str, ast.FunctionDef]) -> set[str]:
    """The global names of the ending and of the helpers that it calls, but the tested function."""
    found: set[str] = set()
    todo = list(ending.used)
    while todo:
        name = todo.pop()
        if name not in found and name != ending.tested:
            found.add(name)
            if name in defined:
                todo += [n.id for n in _nodes(defined[name]) if isinstance(n, ast.Name)]
    return found


def _global_bindings(tree: ast.Module, nodes: Iterable[ast.AST]) -> set[str]:
    """The names that a program binds globally, and perhaps a few more."""
    found: set[str] = set()
    for node in nodes:
        match node:
            case ast.Global(names=names):
                found.update(names)
            case ast.NamedExpr(target=ast.Name(id=name)):
                found.add(name)
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        found.update(_values_bound(node))
        match node:
            case ast.FunctionDef() | ast.Lambda():
                continue  # what is bound in it is local, or declared global
            case ast.alias(name=module, asname=asname):
                found.add(asname or module)
        stack.extend(ast.iter_child_nodes(node))
    return found


class _Check:
    """Whether no node of a text reaches beyond the text's own values.

    `ending`: that of a program; None for the check of an ending itself.
    """

    def __init__(self, names: Names, ending: EndingNames | None) -> None:
        self._names = names
        self._ending = ending
        self._called: set[int] = set()  # what is called on the spot
        self._placed: set[int] = set()  # what stands where it may, though it may not elsewhere

    def holds(self, nodes: Iterable[ast.AST]) -> bool:
        """Check all nodes of a text, each of which comes before those in it."""
        return all(self._is_tame(node) for node in nodes)

    def _is_tame(self, node: ast.AST) -> bool:
        match node:
            case ast.Name():
                return self._is_tame_name(node)
            case ast.Attribute():
                return self._is_tame_attribute(node)
            case ast.Call():
                self._called.add(id(node.func))
                return all(k.arg != "key" or _may_have_key(node, k.value) for k in node.keywords)
            case ast.Compare(left=left, ops=ops, comparators=others):
                operands = [left, *others]
                self._placed.update(id(o.func) for o in operands if _is_type_call(o))  # type: ignore[attr-defined]
                return all(
                    not isinstance(op, ast.Is | ast.IsNot) or any(map(_is_unique, pair))
                    for op, pair in zip(ops, pairwise(operands), strict=True)
                )
            case ast.FunctionDef(decorator_list=[*_, innermost], returns=returns):
                self._place_cache(innermost)
                self._place_annotation(returns)
            case ast.FunctionDef(returns=annotation) | ast.arg(annotation=annotation):
                self._place_annotation(annotation)
            case ast.AnnAssign(annotation=annotation):
                self._place_annotation(annotation)
            case ast.Try():
                return not any(isinstance(n, ast.Yield | ast.YieldFrom) for n in _nodes(node))
        return True

    def _is_tame_name(self, node: ast.Name) -> bool:
        name = node.id
        if name == "__name__" or id(node) in self._placed:
            return True
        if name in self._names.modules or name in _REFUSED or name.startswith("__"):
            return False
        if origin := self._names.imported.get(name):
            return self._may_stand(origin, node)
        if self._ending is None or name in self._names.values or name in BUILTINS:
            return True
        return name not in self._ending.bound.values | self._ending.bound.imported.keys()

    def _is_tame_attribute(self, node: ast.Attribute) -> bool:
        if not isinstance(node.ctx, ast.Load):
            return False
        called = id(node) in self._called
        match node:
            case ast.Attribute(value=ast.Name(id=base)) if base in self._names.modules:
                self._placed.add(id(node.value))
                origin = self._names.modules[base], node.attr
                return id(node) in self._placed or self._may_stand(origin, node)
            case ast.Attribute(value=ast.Name(id=base), attr=attr) if self._is_unbound(base):
                # In a program this raises. In an ending it may be a module of the prompt.
                lists = [*VALUES.values(), *(CALLS.values() if called else ())]
                return self._ending is not None or any(attr in names for names in lists)
            case ast.Attribute(value=ast.Constant(value=str(text)), attr="format"):
                return called and reads_no_attribute(text)
        return called and node.attr in METHODS

    def _is_unbound(self, name: str) -> bool:
        names = self._names
        if name in names.values or name in names.imported or name in _ALL_BUILTINS:
            return False
        bound = self._ending.bound if self._ending else None
        return bound is None or not (name in bound.values or name in bound.imported)

    def _may_stand(self, origin: tuple[str, str], node: ast.expr) -> bool:
        """Whether something imported may be a value, or is called on the spot where it must be."""
        module, name = origin
        if name in VALUES.get(module, ()):
            return True
        return name in CALLS.get(module, ()) and id(node) in self._called

    def _place_cache(self, decorator: ast.expr) -> None:
        """Allow a cache: by itself, or called with constants."""
        match decorator:
            case ast.Call(func=func, args=args, keywords=keywords):
                settings = [*args, *(keyword.value for keyword in keywords)]
                if not all(isinstance(setting, ast.Constant) for setting in settings):
                    return
            case func:
                pass
        module, name = self._names.origin(func) or ("", "")
        if name in CACHES.get(module, ()):
            self._placed.add(id(func))

    def _place_annotation(self, annotation: ast.expr | None) -> None:
        """Allow names of `typing` in an annotation that consists of types and nothing else."""
        if annotation is not None and (parts := self._parts(annotation)):
            self._placed.update(map(id, parts))

    def _parts(self, node: ast.expr) -> list[ast.expr] | None:
        """The names of `typing` in an annotation; None if something else is in it."""
        match node:
            case ast.Constant(value=None | builtins.Ellipsis):
                return []
            case ast.Name(id=name) if name in BUILTINS and name not in self._names.values:
                return []
            case ast.Subscript(value=ast.Name() | ast.Attribute() as generic, slice=inner):
                within = [generic, inner]
            case ast.Tuple(elts=within) | ast.List(elts=within):
                pass
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                within = [left, right]
            case _:
                module, name = self._names.origin(node) or ("", "")
                return [node] if name in TYPING.get(module, ()) else None
        found = [self._parts(part) for part in within]
        return None if None in found else [node for parts in found if parts for node in parts]


def _may_have_key(call: ast.Call, key: ast.expr) -> bool:
    """Whether this is a call that sorts, with a function as its key."""
    match call.func:
        case ast.Name(id="sorted" | "min" | "max") | ast.Attribute(attr="sort"):
            return isinstance(key, ast.Lambda | ast.Name)
    return False


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
