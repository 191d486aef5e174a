"""What a problem gives to its programs: the names of its tests, the helpers of its prompt."""

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.sandbox import plain
from toolkit.sandbox.scopes import Binding, Function, Scopes


@dataclass(frozen=True, slots=True)
class Given:
    """What a problem gives to its programs.

    names: those that tests, and what they call of the prompt, read or bind. own: those that the
    tests make, imports left out. helpers: name -> its definition in the prompt, as text. imports:
    name -> the dotted name that prompt or tests import. draws: whether the tests draw random
    numbers.
    """

    names: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    helpers: Mapping[str, str] = field(default_factory=dict)
    imports: Mapping[str, str] = field(default_factory=dict)
    draws: bool = False


def given_of(ending: str, prompt: str) -> Given:
    """What this ending and this prompt give. Never raises.

    A prompt is the beginning of a function. One that does not parse gives no helpers. Of an ending
    that does not parse, every word is a name that it reads.
    """
    tests, beginning = parse(ending), parse(prompt) or parse(prompt + "\n    pass\n")
    try:
        if tests is not None:
            return _given(tests, beginning or ast.Module([], []))
    except RecursionError:
        pass
    return Given(frozenset(re.findall(r"\w+", ending)) | plain.ALL_BUILTINS)


def _given(tests: ast.Module, beginning: ast.Module) -> Given:
    of_tests, of_prompt = Scopes(tests), Scopes(beginning)
    asked = _asked(tests, beginning)
    helpers = {
        name: definition
        for name, bindings in of_prompt.globals.items()
        if name not in asked and (definition := definition_of(bindings[-1], of_prompt))
    }
    imports = {
        name: binding.path
        for scopes in (of_prompt, of_tests)
        for name, bindings in scopes.globals.items()
        for binding in bindings
        if not binding.kind
    }
    own = {n for n, bindings in of_tests.globals.items() if any(b.kind for b in bindings)}
    known = plain.ALL_BUILTINS | helpers.keys() | imports.keys()
    read = _reads_through(of_tests, of_prompt, helpers) & known
    names = read | of_tests.globals.keys() | {"candidate"}
    draws = any(
        isinstance(node, ast.Import | ast.ImportFrom) and "random" in ast.unparse(node)
        for node in ast.walk(tests)
    )
    return Given(frozenset(names - asked), frozenset(own - asked), helpers, imports, draws)


def _asked(tests: ast.Module, beginning: ast.Module) -> set[str]:
    """The name of the function that a program is asked for: what the last call is given."""
    match tests.body[-1:]:
        case [ast.Expr(value=ast.Call(args=[ast.Name(id=name), *_]))]:
            return {name}
    functions = [node.name for node in beginning.body if isinstance(node, Function)]
    return set(functions[-1:])


def _reads(scopes: Scopes, within: ast.AST) -> set[str]:
    """The names that a part of a text reads as globals."""
    inside = {id(node) for node in ast.walk(within)}
    return {
        node.id
        for node, scope in scopes.nodes
        if id(node) in inside
        and isinstance(node, ast.Name)
        and scopes.meaning(node.id, scope).outermost
    }


def _reads_through(tests: Scopes, prompt: Scopes, helpers: Mapping[str, str]) -> set[str]:
    """The names that tests read as globals, and those that helpers among them read."""
    found = _reads(tests, tests.module.node)
    todo = list(found)
    while todo:
        name = todo.pop()
        for binding in prompt.globals[name] if name in helpers else ():
            new = _reads(prompt, binding.value or binding.node) - found
            found |= new
            todo += new
    return found


def definition_of(binding: Binding, scopes: Scopes) -> str:
    """A definition at the outer level as text, without docstring and annotations; else ""."""
    node, value = binding.node, binding.value
    statement = scopes.parent(node)[0] if value is not None else node
    if not isinstance(scopes.parent(statement)[0], ast.Module):
        return ""
    if value is not None:
        return ast.dump(value)
    if not isinstance(node, ast.FunctionDef):
        return ast.dump(node) if isinstance(node, ast.ClassDef) else ""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    parts = node.args
    names = [argument.arg for argument in ast.walk(parts) if isinstance(argument, ast.arg)]
    defaults = [*parts.defaults, *(default for default in parts.kw_defaults if default)]
    shape = len(parts.posonlyargs), len(parts.args), len(parts.kwonlyargs), bool(parts.vararg)
    code = [ast.dump(part) for part in (*defaults, *node.decorator_list, *body)]
    return repr((node.name, shape, names, code))


def parse(text: str) -> ast.Module | None:
    """The syntax tree of a text, None if it does not parse. Never raises, never warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
