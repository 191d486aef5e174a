"""Every name of ours that a text gives exists: modules, files, tests.

A hostile program that reaches for a module of ours tries nothing once the module has moved, and
its test goes on passing. A docstring then sends its reader to a file that is gone.
"""

import ast
import functools
import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HISTORY = {"CHANGELOG.md"}
"""Texts that tell of names as they were."""
MADE_UP = {"toolkit.room", "toolkit.frobnicate"}
"""Names that tests make up."""
DOTTED = re.compile(r"(?<![\w./-])toolkit(?:\.[A-Za-z_]\w*)+")
FROM_IMPORT = re.compile(r"from (toolkit(?:\.\w+)*) import (\w+(?:, *\w+)*)")
PATH = re.compile(r"(?<![\w./-])toolkit/[\w/{},*.-]+\.py\b")
TEST = re.compile(r"(tests/[\w/]+\.py)::(test_\w+)")
CLAIM = re.compile(r"^([A-Z]\d+)\. .*(?:\n    .*)*", re.MULTILINE)
CLAIMS = ["toolkit/sandbox/tame.py", "toolkit/sandbox/worker.py", "toolkit/sandbox/suspicion.py"]


def texts():
    """path -> text, of all tracked text files that are no history."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    found = {}
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if name and name not in HISTORY and path.is_file() and b"\0" not in path.read_bytes():
            found[name] = path.read_text("utf-8", "surrogateescape")
    return found


def code():
    rooms = ("toolkit/", "tests/", "analysis/", "jobs/")
    return {name: text for name, text in texts().items() if name.startswith(rooms)}


@functools.cache
def module_path(name):
    """The file of a module or package of ours; None if there is no such module."""
    path = ROOT.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def bound(body):
    """name -> the statement that binds it, of what a module's or a class's statements bind."""
    found = {}
    for node in body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found[name] = node
            case ast.ClassDef(name=name):
                found[name] = node
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                found.update((alias.asname or alias.name, node) for alias in aliases)
            case ast.If() | ast.Try() | ast.With():
                found.update(bound(list(ast.iter_child_nodes(node))))
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = (n for target in targets for n in ast.walk(target))
                found.update((n.id, node) for n in names if isinstance(n, ast.Name))
    return found


@functools.cache
def tree(path):
    return ast.parse(path.read_text())


def resolves(dotted):
    """Whether a dotted name is a module, or an attribute of one, or a member of a class of one."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        module = ".".join(parts[:size])
        path = module_path(module)
        if path is not None:
            break
    else:
        return False
    body = tree(path).body
    for name in parts[size:]:
        found = bound(body)
        if name in ("__doc__", "__file__", "__name__"):
            return True  # every module has them
        if name not in found:
            return "__getattr__" in found and hasattr(importlib.import_module(module), name)
        if not isinstance(found[name], ast.ClassDef):
            return True  # what a value or an imported class has is not to be read here
        body = found[name].body
    return True


def attributes_of_modules(program):
    """The names that a program reads off a module of ours: module.name, by whatever alias."""
    indented = program if program[:1].strip() else "def f():\n" + program
    try:
        nodes = list(ast.walk(ast.parse(indented)))
    except (SyntaxError, ValueError):
        return
    modules = {}
    for node in nodes:
        match node:
            case ast.Import(names=aliases):
                modules.update((alias.asname, alias.name) for alias in aliases)
            case ast.ImportFrom(module=str(module), names=aliases):
                modules.update((a.asname or a.name, f"{module}.{a.name}") for a in aliases)
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Subscript(value=ast.Attribute(attr="modules"), slice=ast.Constant(value)),
            ):
                modules[name] = value
    for node in nodes:
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if (
                name in modules and not attribute.startswith("__")
            ):
                if module_path(modules[name]):
                    yield f"{modules[name]}.{attribute}"


def strings(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.slow
def test_dotted_names_of_ours_resolve():
    wrong = []
    for file, text in code().items():
        names = set(DOTTED.findall(text))
        for module, imported in FROM_IMPORT.findall(text):
            names |= {f"{module}.{name.strip()}" for name in imported.split(",")}
        names = {name for name in names if ".".join(name.split(".")[:2]) not in MADE_UP}
        wrong += [f"{file}: {name}" for name in sorted(names) if not resolves(name)]
    assert not wrong


@pytest.mark.slow
def test_attributes_that_programs_in_strings_and_hostile_programs_use_resolve():
    wrong, found = [], set()
    for file, text in code().items():
        if file.startswith(("tests/hostile/", "tests/attacks/")):
            programs = [text]
        elif file.endswith(".py"):
            programs = [text, *strings(text)]
        else:
            continue
        names = {name for program in programs for name in attributes_of_modules(program)}
        wrong += [f"{file}: {name}" for name in sorted(names) if not resolves(name)]
        found |= {(file, name) for name in names}
    assert not wrong
    assert ("tests/commands/test_jobs.py", "toolkit.commands.launch.configure") in found


def test_paths_of_modules_exist():
    wrong = []
    for file, text in texts().items():
        for path in sorted(set(PATH.findall(text))):
            wrong += [f"{file}: {p}" for p in braces(path) if not any(ROOT.glob(p))]
    assert not wrong


def braces(path):
    """The paths that one with {a,b} stands for; {name}, of an f-string, stands for any."""
    before, opened, rest = path.partition("{")
    if not opened:
        return [path]
    names, _, after = rest.partition("}")
    if "," not in names:
        return braces(f"{before}*{after}")
    return [f"{before}{name}{after}" for name in names.split(",")]


@functools.cache
def named_tests(file):
    """test -> whether it is marked as expected to fail; None if there is no such file."""
    path = ROOT / file
    if not path.is_file():
        return None
    return {
        name: any("mark.xfail" in ast.unparse(mark) for mark in node.decorator_list)
        for name, node in bound(tree(path).body).items()
        if isinstance(node, ast.FunctionDef)
    }


def test_tests_that_texts_name_exist():
    wrong = []
    for file, text in texts().items():
        for path, name in sorted(set(TEST.findall(text))):
            if name not in (named_tests(path) or ()):
                wrong.append(f"{file}: {path}::{name}")
    assert not wrong


@pytest.mark.parametrize("file", CLAIMS)
def test_every_claim_names_what_holds_it_and_what_is_known_not_to(file):
    docstring = ast.get_docstring(tree(ROOT / file))
    claims = {match[1]: match[0] for match in CLAIM.finditer(docstring)}
    letter = next(iter(claims))[0]
    assert list(claims) == [f"{letter}{i}" for i in range(1, len(claims) + 1)]
    for number, claim in claims.items():
        expected_to_fail = {}
        for label in ("Test", "Known to fail"):
            for path, name in re.findall(rf"{label}: {TEST.pattern}", claim):
                expected_to_fail[name] = named_tests(path)[name]
                assert named_tests(path)[name] == (label == "Known to fail"), (number, name)
        assert expected_to_fail, f"{number} names no test"
        broken = any(expected_to_fail.values())
        assert broken == ("Known not to hold" in " ".join(claim.split())), number


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("sandbox", True),
        ("Executor", True),  # loaded at its first use
        ("sandbox.harness", True),
        ("sandbox.harness.wait", True),
        ("sandbox.executor.Executor.run", True),
        ("sandbox.confine.Limits.timeout", True),
        ("harness", False),
        ("no_such_name", False),
        ("sandbox.harness.no_such_name", False),
        ("sandbox.executor.Executor.no_such_name", False),
    ],
)
def test_a_name_that_is_gone_would_be_found(name, there):
    assert resolves(f"toolkit.{name}") == there
