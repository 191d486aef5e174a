"""Which parts of a syntax tree are plain by themselves, such as a method that compares honestly."""

import ast
from collections.abc import Iterable

from toolkit.sandbox import plain
from toolkit.sandbox.scopes import Function


def names_bound(node: ast.AST) -> Iterable[str]:
    """The names that a node binds by itself."""
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.arg(arg=name):
            return (name,)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return (name,)
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            return names
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return [alias.asname or alias.name for alias in aliases]
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            return (name,)
    return ()


def is_special(name: str) -> bool:
    """Whether the interpreter itself gives this name a meaning."""
    return name.startswith("__") and name.endswith("__")


def is_plain_slot(node: ast.expr) -> bool:
    """Whether an item of `__slots__` is the name of a usual attribute."""
    match node:
        case ast.Constant(value=str(slot)):
            return not is_special(slot)
    return False


def is_plain_method(node: Function) -> bool:
    """Whether a special method leaves comparison and truth as they are."""
    if node.name in plain.COMPARISONS:
        return _is_plain_comparison(node)
    if node.name == "__len__" and not _is_plain_length(node):
        return False
    return node.name in plain.SPECIAL_METHODS and not node.decorator_list


def _is_plain_length(node: Function) -> bool:
    """Whether the length is that of an attribute, or an attribute."""
    match node.body[-1]:
        case ast.Return(value=ast.Call(func=ast.Name(id="len"), args=[ast.Attribute()])):
            return True
        case ast.Return(value=ast.Attribute()):
            return True
    return False


def _is_plain_comparison(node: Function) -> bool:
    """Whether a method compares an attribute of `self` with the same one of the other object.

    No value that a test expects has such an attribute, so that with one of these it fails. Before
    the comparison it may ask for the other object's class.
    """
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    arguments = [argument.arg for argument in node.args.args]
    match node, body, arguments:
        case ast.FunctionDef(decorator_list=[]), [ast.Return(ast.expr() as value)], [own, other]:
            operands = [value]
            if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.And):
                operands = value.values
            compared = [
                operand
                for operand in operands
                if not (isinstance(operand, ast.Call) and asks_class(operand))
            ]
            return bool(compared) and all(_is_mirrored(o, own, other) for o in compared)
    return False


def asks_class(call: ast.Call, place: int = 1) -> bool:
    """isinstance(x, C); place: of C."""
    match call:
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, _], keywords=[]):
            return place == 1
    return False


def _is_mirrored(node: ast.expr, own: str, other: str) -> bool:
    """self.a == other.a, also of tuples of such attributes."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            ours, theirs = _attributes_of(left, own), _attributes_of(right, other)
            return not isinstance(op, ast.In | ast.NotIn) and bool(ours) and ours == theirs
    return False


def _is_unknown(attribute: str) -> bool:
    """Whether no value that a test may expect has this attribute."""
    return attribute not in plain.KNOWN_ATTRIBUTES | plain.NUMPY_ATTRIBUTES | plain.ATTRIBUTES


def _attributes_of(node: ast.expr, name: str) -> set[str]:
    """The attributes that an expression reads of this name, and nothing else; else none."""
    found = set()
    for part in node.elts if isinstance(node, ast.Tuple) else [node]:
        match part:
            case ast.Attribute(value=ast.Name(id=base), attr=attribute) if base == name and (
                attribute in plain.COMPARED_ATTRIBUTES or _is_unknown(attribute)
            ):
                found.add(attribute)
            case _:
                return set()
    return found
