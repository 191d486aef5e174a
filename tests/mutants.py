"""Random mutants of right solutions: as wrong as a model's answers, and as harmless."""

import ast
import functools
import random
from collections.abc import Callable, Iterator, Sequence

from toolkit.records import Problem

BINARY = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitXor, ast.BitAnd)
"""Without ** and <<, whose results need no limit of memory to end a machine."""
COMPARED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is)
METHODS = "append extend insert remove pop sort index count lower upper strip split join find get"
NAMES = "len sum max min sorted reversed abs int str list set range enumerate undefined_name"
EXCEPTIONS = "ValueError KeyError Exception StopIteration SystemExit KeyboardInterrupt"

Change = Callable[[], object]


def mutants(problems: Sequence[Problem], count: int, seed: int) -> list[tuple[str, str]]:
    """(task_id, whole program) of `count` mutants; the same for the same seed."""
    draw = random.Random(seed)
    return [mutant(draw.choice(problems), draw) for _ in range(count)]


def mutant(problem: Problem, draw: random.Random) -> tuple[str, str]:
    text = problem.prompt + problem.solution
    if draw.random() < 0.15:
        return problem.task_id, changed_text(text, draw)
    tree = ast.parse(text)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        changes = list(changes_of(tree, draw))
        draw.choice(changes)()
    return problem.task_id, ast.unparse(tree) + "\n"


def changed_text(text: str, draw: random.Random) -> str:
    """A character or a line is lost, repeated or moved."""
    lines = text.splitlines(keepends=True)
    at, line = draw.randrange(len(text)), draw.randrange(len(lines))
    match draw.randrange(6):
        case 0:
            return text[:at] + text[at + 1 :]
        case 1:
            return text[:at] + text[at] + text[at:]
        case 2:
            return "".join(lines[:line] + lines[line + 1 :])
        case 3:
            return "".join(lines[: line + 1] + lines[line:])
        case 4:
            return text[:at]  # as where the tokens of an answer are used up
    lines[line] = draw.choice(("    ", " ", "\t")) + lines[line]
    return "".join(lines)


def changes_of(tree: ast.Module, draw: random.Random) -> Iterator[Change]:
    """What can be done to a tree, each to be called at most once."""
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)] + NAMES.split()
    for node in ast.walk(tree):
        yield from of_statements(node, draw)
        yield from of_operators(node, draw)
        yield from of_values(node, draw, names)
        yield from of_calls(node, draw)
        yield from of_control(node, draw)


def of_statements(node: ast.AST, draw: random.Random) -> Iterator[Change]:
    """Statements deleted, duplicated, swapped."""
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if not isinstance(block, list) or not block or isinstance(node, ast.Module):
            continue
        at = draw.randrange(len(block))

        def delete(block: list[ast.stmt] = block, at: int = at) -> None:
            block[at : at + 1] = [] if len(block) > 1 else [ast.Pass()]

        yield delete
        yield lambda block=block, at=at: block.insert(at, block[at])
        yield lambda block=block, at=at: block.insert(draw.randrange(len(block)), block.pop(at))


def of_operators(node: ast.AST, draw: random.Random) -> Iterator[Change]:
    match node:
        case ast.BinOp() | ast.AugAssign():
            yield setter(node, "op", draw.choice(BINARY)())
        case ast.BoolOp(op=op):
            yield setter(node, "op", ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.Compare(left=left, ops=ops, comparators=[right, *_] as others):
            yield setter(ops, draw.randrange(len(ops)), draw.choice(COMPARED)())
            yield setter(others, 0, left)
            yield setter(node, "left", right)
        case ast.UnaryOp():
            yield setter(node, "op", draw.choice((ast.USub, ast.Not, ast.Invert))())
    if isinstance(node, ast.BinOp):
        yield swapper(node, node.left, node.right)


def of_values(node: ast.AST, draw: random.Random, names: list[str]) -> Iterator[Change]:
    """Constants, names, attributes and indexes."""
    match node:
        case ast.Constant(value=bool(value)):
            yield setter(node, "value", not value)
        case ast.Constant(value=int(value)):
            yield setter(node, "value", draw.choice((value + 1, value - 1, 0, -value, 2 * value)))
            yield setter(node, "value", draw.choice((None, float(value), str(value))))
        case ast.Constant(value=float(value)):
            yield setter(node, "value", draw.choice((value + 0.5, int(value), -value)))
        case ast.Constant(value=str(value)) if len(value) < 40:
            yield setter(node, "value", draw.choice((value[1:], value + " ", value.upper(), 0)))
        case ast.Name(ctx=ast.Load()):
            yield setter(node, "id", draw.choice(names))
        case ast.arg(arg=name):
            yield setter(node, "arg", name + "_")
        case ast.Attribute():
            yield setter(node, "attr", draw.choice(METHODS.split()))
        case ast.Slice():
            yield setter(node, "lower", ast.Constant(draw.choice((0, 1, -1))))
            yield setter(node, "upper", ast.Constant(draw.choice((1, 2, -1))))
            yield setter(node, "step", ast.Constant(draw.choice((2, -1))))
        case ast.Subscript(slice=ast.expr() as index) if not isinstance(index, ast.Slice):
            one = draw.choice((ast.Add, ast.Sub))()
            yield setter(node, "slice", ast.BinOp(index, one, ast.Constant(1)))


def of_calls(node: ast.AST, draw: random.Random) -> Iterator[Change]:
    match node:
        case ast.Call(args=[_, *_] as arguments):
            yield lambda: arguments.reverse()
            yield lambda: arguments.pop()
            yield lambda: arguments.append(arguments[0])
            yield setter(arguments, 0, ast.BinOp(arguments[0], ast.Add(), ast.Constant(1)))
        case ast.Call(keywords=[_, *_] as keywords):
            yield lambda: keywords.pop()
            yield setter(keywords[0], "arg", "nothing")
        case ast.comprehension(ifs=[_, *_] as conditions):
            yield lambda: conditions.clear()


def of_control(node: ast.AST, draw: random.Random) -> Iterator[Change]:
    """Conditions, loops, returns and exceptions."""
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield setter(node, "test", ast.UnaryOp(ast.Not(), test))
            yield setter(node, "test", ast.Constant(draw.random() < 0.5))
        case ast.Return(value=ast.expr() as value):
            yield setter(node, "value", draw.choice((None, ast.List([value], ast.Load()))))
            yield setter(node, "value", ast.Call(ast.Name(draw.choice(NAMES.split())), [value], []))
            yield setter(node, "value", ast.Yield(value))
        case ast.For(body=body):
            yield lambda: body.append(draw.choice((ast.Break, ast.Continue))())
        case ast.FunctionDef(body=body):
            name = ast.Name(draw.choice(EXCEPTIONS.split()))
            error = ast.Call(name, [ast.Constant("no such case")], [])
            yield lambda: body.insert(draw.randrange(len(body) + 1), ast.Raise(error))
            yield setter(node, "name", node.name + "_")
            yield setter(node, "decorator_list", [ast.Name("staticmethod")])


def setter(owner: object, place: str | int, value: object) -> Change:
    """Set an attribute, or an item of a list."""
    if isinstance(owner, list):
        return functools.partial(owner.__setitem__, place, value)
    return functools.partial(setattr, owner, place, value)


def swapper(node: ast.BinOp, left: ast.expr, right: ast.expr) -> Change:
    def swap() -> None:
        node.left, node.right = right, left

    return swap
