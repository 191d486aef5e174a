"""Which binding each name of a Python text refers to, and what those bindings are.

The answer errs to one side only. A name that could mean a global or a built-in function is never
taken for a local one: where a local name may be unbound, Python does not look further, but a name
of a class or of the module falls back to the built-in of that name.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from toolkit.sandbox.plain import exported

VALUE: Final = "value"
CLASS: Final = "class"
DEF: Final = "def"

Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, slots=True)
class Binding:
    """One place that binds a name.

    kind: `VALUE`, `CLASS`, `DEF`, or "" for an import. path: the dotted name of what an import
    binds. node: the node that binds. value: the expression that is assigned, None if there is no
    single one.
    """

    kind: str
    node: ast.AST
    path: str = ""
    value: ast.expr | None = None


@dataclass(eq=False, slots=True)
class Scope:
    """A module, class or function, or what has a scope as functions have: lambdas, comprehensions.

    node: what opens it. first: the name of its first parameter, if it is a method. owner: the name
    of the class around it, "" if there is none.
    """

    kind: str
    node: ast.AST
    parent: "Scope | None"
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    of_module: set[str] = field(default_factory=set)
    of_parent: set[str] = field(default_factory=set)
    first: str = ""
    owner: str = ""

    def bind(self, name: str, binding: Binding) -> None:
        """Add a binding of this name."""
        self.bindings.setdefault(self.mangled(name), []).append(binding)

    def mangled(self, name: str) -> str:
        """The name as Python knows it: in a class A, `__x` is `_A__x`."""
        owner = self.owner.lstrip("_")
        private = name.startswith("__") and not name.endswith("__")
        return f"_{owner}{name}" if private and owner else name


class Meaning:
    """What a name refers to. outermost: without these `bindings`, a built-in or nothing.

    paths: the dotted names that imports give to it.
    """

    __slots__ = ("_kinds", "bindings", "outermost", "paths")

    def __init__(self, bindings: tuple[Binding, ...], *, outermost: bool) -> None:
        self.bindings = bindings
        self.outermost = outermost
        self.paths = {binding.path for binding in bindings if not binding.kind}
        self._kinds = {binding.kind for binding in bindings}

    @property
    def is_class(self) -> bool:
        """Whether each of its bindings is a class of the text."""
        return self._kinds == {CLASS}


class Scopes:
    """The scopes of a text, its nodes in order, and the parent of each.

    `nodes`: (node, scope in which it is evaluated), without what stands under
    `if __name__ == "__main__"`, which never runs.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.module = Scope("module", tree, None)
        self.nodes: list[tuple[ast.AST, Scope]] = []
        self._parents: dict[int, tuple[ast.AST, str]] = {}
        self._scopes: dict[int, Scope] = {}
        self._meanings: dict[tuple[str, int], Meaning] = {}
        self._read(tree)
        self.globals: dict[str, list[Binding]] = dict(self.module.bindings)
        for scope in self._scopes.values():
            for name, bindings in scope.bindings.items():
                if name in scope.of_module:
                    self.globals.setdefault(name, []).extend(bindings)
                elif name in scope.of_parent and (owner := _owner(name, scope)):
                    owner.bindings[name] += bindings

    def all(self) -> list[Scope]:
        """Every scope of the text."""
        return [self.module, *self._scopes.values()]

    def parent(self, node: ast.AST) -> tuple[ast.AST, str]:
        """The node that holds this one, and in which field."""
        return self._parents[id(node)]

    def scope_of(self, node: ast.AST) -> Scope:
        """The scope that a class or a function opens."""
        return self._scopes[id(node)]

    def meaning(self, name: str, scope: Scope) -> Meaning:
        """What a name refers to where it is read in this scope."""
        key = name, id(scope)
        if key not in self._meanings:
            self._meanings[key] = self._look_up(scope.mangled(name), scope)
        return self._meanings[key]

    def _look_up(self, name: str, scope: Scope | None) -> Meaning:
        found: list[Binding] = []
        start = scope
        while scope is not None and scope.kind != "module":
            if name in scope.of_module:
                break
            if scope.kind == "function" and name in scope.bindings and name not in scope.of_parent:
                return Meaning((*found, *scope.bindings[name]), outermost=False)
            if scope is start and name in scope.bindings:  # a class
                found += scope.bindings[name]
            scope = scope.parent
        return Meaning((*found, *self.globals.get(name, ())), outermost=True)

    def _read(self, tree: ast.Module) -> None:
        todo: list[tuple[ast.AST, Scope]] = [(tree, self.module)]
        while todo:
            node, scope = todo.pop()
            self.nodes.append((node, scope))
            self._bind(node, scope)
            inner = self._opened(node, scope)
            outside = scope
            if isinstance(node, ast.comprehension) and scope.parent is not None:
                outside = scope.parent
            guarded = scope is self.module and is_main_guard(node)
            for name, child in _children(node):
                if guarded and name == "body":
                    continue
                self._parents[id(child)] = (node, name)
                todo.append((child, inner if self._is_inside(node, name) else outside))

    def _is_inside(self, node: ast.AST, name: str) -> bool:
        """Whether a node's child is evaluated in the scope that the node opens, or is in."""
        if isinstance(node, Function | ast.Lambda | ast.ClassDef):
            return name == "body"
        if isinstance(node, ast.comprehension) and name == "iter":
            owner, _ = self.parent(node)
            assert isinstance(owner, Comprehension)
            return owner.generators[0] is not node
        return True

    def _opened(self, node: ast.AST, scope: Scope) -> Scope:
        """The scope that the node opens, else the one that it is in."""
        kind = "class" if isinstance(node, ast.ClassDef) else "function"
        if not isinstance(node, ast.ClassDef | Function | ast.Lambda | Comprehension):
            return scope
        owner = node.name if isinstance(node, ast.ClassDef) else scope.owner
        opened = self._scopes[id(node)] = Scope(kind, node, scope, owner=owner)
        if isinstance(node, Function | ast.Lambda):
            arguments = node.args
            positional = [*arguments.posonlyargs, *arguments.args]
            others = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
            for argument in [*positional, *arguments.kwonlyargs, *others]:
                opened.bind(argument.arg, Binding(VALUE, argument))
            if positional and scope.kind == "class":
                opened.first = positional[0].arg
        return opened

    def _bind(self, node: ast.AST, scope: Scope) -> None:
        match node:
            case ast.Global(names=names):
                scope.of_module.update(map(scope.mangled, names))
            case ast.Nonlocal(names=names):
                scope.of_parent.update(map(scope.mangled, names))
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                target, value = self._target(node, scope)
                target.bind(name, Binding(VALUE, node, value=value))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                scope.bind(name, Binding(DEF, node))
            case ast.ClassDef(name=name):
                scope.bind(name, Binding(CLASS, node))
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                scope.bind(name, Binding(VALUE, node))
            case ast.Import(names=aliases):
                for alias in aliases:
                    path = alias.name if alias.asname else alias.name.partition(".")[0]
                    scope.bind(alias.asname or path, Binding("", node, path))
            case ast.ImportFrom(module=str(module), names=aliases):
                for alias in aliases:
                    for name in exported(module) if alias.name == "*" else [alias.name]:
                        scope.bind(alias.asname or name, Binding("", node, f"{module}.{name}"))

    def _target(self, node: ast.Name, scope: Scope) -> tuple[Scope, ast.expr | None]:
        """Where a stored name is bound, and to which expression."""
        parent, name = self.parent(node)
        if isinstance(parent, ast.NamedExpr):
            while isinstance(scope.node, Comprehension) and scope.parent is not None:
                scope = scope.parent
            return scope, parent.value
        if isinstance(parent, ast.Assign | ast.AnnAssign) and name in ("targets", "target"):
            return scope, parent.value
        return scope, None


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield name, child


def _owner(name: str, scope: Scope) -> Scope | None:
    """The function whose variable a `nonlocal` name is."""
    above = scope.parent
    while above is not None:
        if above.kind == "function" and name in above.bindings and name not in above.of_parent:
            return above
        above = above.parent
    return None


def is_main_guard(node: ast.AST) -> bool:
    """Whether this is `if __name__ == "__main__"`. Programs run under another name."""
    match node:
        case ast.If(
            test=ast.Compare(
                left=ast.Name(id="__name__"),
                ops=[ast.Eq()],
                comparators=[ast.Constant(value="__main__")],
            )
        ):
            return True
    return False
