"""The pages hold: their commands run as written, their links and paths exist, they are plain."""

import ast
import inspect
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from run_jobs import ROOT
from test_layers import BELOW, GROUND

from toolkit.records import FAILURE_KINDS
from toolkit.resolve import read_site
from toolkit.runs.answers import ANSWER_SCHEMA
from toolkit.runs.outcomes import COUNT_COLUMNS
from toolkit.runs.predictions import SCHEMA as PREDICTION_SCHEMA
from toolkit.runs.problem_table import PHRASED_SCHEMA
from toolkit.runs.scores import SCORE_SCHEMA
from toolkit.runs.shard_cache import SCHEMA as CACHE_SCHEMA
from toolkit.runs.shards import LOGPROB_SCHEMA
from toolkit.runs.verdicts import VERDICT_SCHEMA
from toolkit.sandbox.reasons import REASONS
from toolkit.verifiers.judges import KINDS

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BY_NAME = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
README, CONTRIBUTING = BY_NAME["README.md"], BY_NAME["CONTRIBUTING.md"]
CHANGING = [name for name, text in BY_NAME.items() if "```diff" in text]
"""The pages that change the toolkit: followed in a copy of it."""

PREPARED = (
    "python jobs/launch.py --preset smoke --launcher local --run runs/b --base-seed 1",
    "python jobs/launch.py --preset smoke --launcher local --run runs/a",
)
"""Run once, by the fixture `prepared`; the pages build on them."""

VENV = "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[vllm]'"
ARRAY = "tests/launch/test_slurm.py::test_an_array_of_ten_runs_to_the_report"
PROBLEM_32 = "python jobs/launch.py --preset quickstart --task-ids HumanEval/32 --launcher local"
GSM8K = "tests/launch/test_slurm.py::test_gsm8k_by_the_embedded_model_runs_to_the_report"
ELSEWHERE = {
    # what needs more than this machine, or more time: the test that runs it
    ". .venv/bin/activate": "tests/test_docs.py::test_the_environment_is_the_one_that_make_makes",
    VENV: "tests/test_docs.py::test_every_extra_that_a_page_names_exists",
    "make run": "tests/test_docs.py::test_make_run_is_the_quickstart",
    PROBLEM_32: "tests/test_docs.py::test_the_walk_asks_why_problem_32_fails",
    "make test": "tests/test_docs.py::test_ci_runs_make_test",
    "python jobs/launch.py --array 10 --partition gpu": ARRAY,
    "python jobs/launch.py --preset gsm8k-quickstart --launcher local": GSM8K,
    "python jobs/launch.py --preset gsm8k-quickstart --launcher local --problems test.jsonl": GSM8K,
    "sbatch sbatch/evaluate.sh": ARRAY,
    "sbatch sbatch/fit.sh": ARRAY,
    "python jobs/cancel.py": "tests/launch/test_slurm.py::"
    "test_cancel_ends_the_jobs_of_this_run_only_and_resume_goes_on",
    "python analysis/simulate.py": "tests/planning/test_simulation.py::"
    "test_the_script_takes_the_lengths_of_a_run",
    "python tests/bench adaptive": "tests/test_docs.py::test_every_benchmark_named_is_one",
    "python tests/bench verdict": "tests/test_docs.py::test_every_benchmark_named_is_one",
}


def commands(text):
    """The commands of a page's sh blocks, without their comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = (re.sub(r"(^|\s+)#.*", "", line) for block in blocks for line in block.splitlines())
    return [line.strip() for line in lines if line.strip()]


def runnable(name):
    """Those of a page that are run here, as they are written; not again what another page runs."""
    names = [] if name in CHANGING else [n for n in BY_NAME if n not in CHANGING]
    earlier = {c for n in itertools.takewhile(name.__ne__, names) for c in commands(BY_NAME[n])}
    return [
        command
        for command in commands(BY_NAME[name])
        if command not in {*ELSEWHERE, *PREPARED, *earlier} and not command.startswith("make ")
    ]


def files_shown(text):
    """(path, language, content) of each block that a line with its file's name introduces."""
    name = r"(?:new file `([^`\n]+)` in )?`([^`\n]+)`[^`\n]*"
    blocks = re.findall(rf"{name}:\n\n```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(path + new, language, content) for new, path, language, content in blocks]


def run(command, folder, **variables):
    """As it would be typed in `folder`, in the activated environment; must succeed."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    known = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
    env = known | {"PATH": path, "XDG_CONFIG_HOME": str(folder)} | variables
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder like a checkout, in which the runs are made that the pages speak of."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("jobs", "analysis", "sbatch", "tests"):
        (folder / name).symlink_to(ROOT / name)
    for command in PREPARED:
        run(command, folder)
    return folder


def test_the_pages_have_commands():
    assert sum(len(runnable(name)) for name in BY_NAME) > 30
    assert {c for text in BY_NAME.values() for c in commands(text)} >= {*PREPARED, *ELSEWHERE}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in BY_NAME if name not in CHANGING and runnable(name)]
)
def test_the_commands_of_a_page_run_one_after_the_other(name, prepared, tmp_path):
    folder = tmp_path / "checkout"
    shutil.copytree(prepared, folder, symlinks=True)
    for path, language, content in files_shown(BY_NAME[name]):
        if language in ("json", "csv", "toml", "python") and not path.startswith("~"):
            (folder / path).write_text(content)
    for command in runnable(name):
        run(command, folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "before", "says"),
    [
        ("docs/run-directory.md", "", "HumanEval/7"),
        ("docs/api.md", "", "HumanEval/7"),
        (
            "docs/judging.md",
            "python analysis/outcomes.py runs/a --out outcomes.parquet",
            "finish_reason",
        ),
    ],
)
def test_what_a_page_does_in_python_runs(name, before, says, prepared, tmp_path):
    folder = tmp_path / "checkout"
    shutil.copytree(prepared, folder, symlinks=True)
    if before:
        assert before in commands(BY_NAME[name])
        run(before, folder)
    shown = re.findall(r"[^:]\n\n```python\n(.*?)^```", BY_NAME[name], re.MULTILINE | re.DOTALL)
    assert len(shown) == 1
    done = subprocess.run(
        [sys.executable, "-c", shown[0]], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_the_page_of_judging_names_every_kind_and_every_suspicion():
    page = BY_NAME["docs/judging.md"]
    for kind in filter(None, FAILURE_KINDS):
        assert f"\n| `{kind}` | " in page, kind
    for reason in REASONS:
        assert re.search(rf"^\| .*`{reason}`.* \| ", page, re.MULTILINE), reason


@pytest.mark.parametrize("name", KINDS)
def test_the_page_of_judging_has_every_verifier_with_its_settings(name):
    kind = KINDS[name]
    shown = re.search(rf"^\| `{name}` \| {kind.version} \| (.*)", BY_NAME["docs/judging.md"], re.M)
    for setting, default in kind.defaults.items():
        value = f"{default:g}" if isinstance(default, float) else default
        assert re.search(rf"`{setting}` {value}\b" if value else f"`{setting}`", shown[1]), setting


def apply(text, folder):
    """Do to the toolkit in `folder` what a page says; returns the paths of the files it adds."""
    added = []
    for path, language, content in files_shown(text):
        file = folder / path
        if language != "diff":
            assert not file.exists(), f"{path} is there already"
            file.write_text(content)
            added.append(path)
            continue
        lines = content.splitlines(keepends=True)
        old, new = ("".join(ln[1:] for ln in lines if ln[0] != sign) for sign in "+-")
        assert file.read_text().count(old) == 1, f"{path} has not, or not once:\n{old}"
        file.write_text(file.read_text().replace(old, new))
    return added


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGING)
def test_a_page_that_adds_to_the_toolkit_is_true(name, tmp_path):
    for part in ("toolkit", "jobs", "analysis", "sbatch", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(ROOT / part, tmp_path / part, symlinks=True, ignore=ignored)
    for part in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / part, tmp_path)
    assert apply(BY_NAME[name], tmp_path)
    run("ruff check toolkit && ruff format --check toolkit", tmp_path)
    for command in runnable(name):
        run(command, tmp_path, PYTHONPATH=str(tmp_path))


def test_every_command_is_run_by_a_test():
    for command, test in ELSEWHERE.items():
        file, function = test.split("::")
        assert f"\ndef {function}(" in (ROOT / file).read_text(), command
    for name in BY_NAME:
        for command in runnable(name):
            assert re.match(r"(python (jobs|analysis)/\w+\.py|pytest)\b", command), (name, command)


MAKES = sorted({c for text in BY_NAME.values() for c in commands(text) if c.startswith("make ")})


@pytest.mark.parametrize("command", MAKES)
def test_make_knows_its_targets(command):
    said = subprocess.run(f"{command} -n", shell=True, cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_make_run_is_the_quickstart():
    said = subprocess.run(
        ["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wanted = "jobs/launch.py --preset quickstart --launcher local"
    assert any(line.endswith(wanted) for line in said.stdout.splitlines())


@pytest.mark.slow
def test_the_walk_asks_why_problem_32_fails(tmp_path):
    """From a checkout in under five commands. What `make run` samples does not hold problem 32."""
    walk = README.split("## Why does a problem fail?")[1].split("\n## ")[0]
    assert len(commands(walk)) < 4, "and git clone before them"
    assert PROBLEM_32 in commands(walk)
    assert "`python jobs/browse.py --problem HumanEval/32`" in walk
    for name in ("jobs", "toolkit"):
        (tmp_path / name).symlink_to(ROOT / name)
    assert "1 of humaneval, n = 40" in run(f"{PROBLEM_32} --dry-run", tmp_path)


def test_readme_or_contributing_leads_to_every_page():
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", README + CONTRIBUTING))
    assert linked == {name for name in BY_NAME if name.startswith("docs/")}


def test_ci_runs_make_test():
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_environment_is_the_one_that_make_makes():
    assert "\nVENV ?= .venv\n" in (ROOT / "Makefile").read_text()


def test_every_extra_that_a_page_names_exists():
    extras = (ROOT / "setup.cfg").read_text().split("[options.extras_require]")[1]
    named = {extra for text in BY_NAME.values() for extra in re.findall(r"'\.\[(\w+)\]'", text)}
    assert named
    for extra in named:
        assert re.search(rf"^{extra} =", extras.split("\n[")[0], re.MULTILINE), extra


def test_every_benchmark_named_is_one():
    known = re.findall(r'^    "(\w+)": ', (ROOT / "tests/bench/__main__.py").read_text(), re.M)
    named = {
        bench
        for text in BY_NAME.values()
        for names in re.findall(r"python tests/bench ([\w ]+)", text)
        for bench in names.split()
    }
    assert {"execution", "sampling"} < named <= set(known)


@pytest.mark.slow
@pytest.mark.slurm
def test_a_dry_run_on_a_cluster_shows_the_script(cluster, tmp_path):
    (command,) = {c for c in commands(README) if "--array" in c and "--dry-run" in c}
    for name in ("jobs", "toolkit"):
        (tmp_path / name).symlink_to(ROOT / name)
    slurm = {k: v for k, v in cluster.items() if k.startswith("SLURM")}
    said = run(command, tmp_path, **slurm)
    for wanted in ("preset llama-8b-a100", "#SBATCH --partition=gpu", "#SBATCH --array=0-9"):
        assert wanted in said
    assert not (tmp_path / "runs").exists()


def test_the_site_file_that_a_page_shows_is_one(tmp_path):
    shown = {path: content for path, _, content in files_shown(BY_NAME["docs/cluster.md"])}
    site = tmp_path / "site.toml"
    site.write_text(shown["~/.config/inference-scaling/site.toml"])
    assert read_site(site)["engine"] == {"stage_model": "auto"}


def headings(text):
    """The anchors of a page, as the usual viewers name them."""
    found = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_link_leads_somewhere(name):
    for link in re.findall(r"\]\(([^)\s]+)\)", BY_NAME[name]):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), link
        assert not anchor or anchor in headings(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", BY_NAME)
def test_every_path_of_the_checkout_exists(name):
    added = [
        Path(path).stem for path, language, _ in files_shown(BY_NAME[name]) if language == "python"
    ]
    folders = "toolkit|jobs|analysis|tests|docs|sbatch"
    for path in re.findall(rf"`((?:{folders})/[^`\s*<>]*)`", BY_NAME[name]):
        new = any(stem in path for stem in added)
        assert new or (ROOT / path).exists(), path


def test_the_tree_names_what_is_there_and_every_room():
    tree = README.split("## Where things are")[1].split("```")[1]
    paths = [line.split()[0] for line in tree.splitlines()[1:] if line]
    for path in paths:
        assert (ROOT / path).exists(), path
    rooms = {f"toolkit/{p.parent.name}/" for p in (ROOT / "toolkit").glob("*/__init__.py")}
    assert rooms <= set(paths)


def test_what_a_room_may_import_is_what_the_layers_test_holds():
    said = {GROUND: set()}
    for room, inner in re.findall(r"^\| `(\w+)` \| (.*) \|$", CONTRIBUTING, re.MULTILINE):
        said[room] = set(re.findall(r"`(\w+)`", inner)) | {GROUND}
        for below in re.findall(r"`(\w+)` and what it may", inner):
            said[room] |= said[below]
    assert said == BELOW


@pytest.mark.slow
def test_the_page_of_the_run_directory_names_all_that_a_run_has(prepared):
    page = BY_NAME["docs/run-directory.md"]
    parts = re.split(r"^## ", page, flags=re.MULTILINE)
    sections = {part.split("\n", 1)[0]: set(re.findall(r"`([\w.]+)`", part)) for part in parts}
    folder = prepared / "runs" / "a"
    for path in folder.iterdir():
        assert f"\n  {path.name}" in page, path.name
    assert set(json.loads((folder / "manifest.json").read_text())) <= sections["manifest.json"]
    launch = json.loads((folder / "launches.jsonl").read_text().splitlines()[0])
    assert set(launch) <= sections["launches.jsonl"]
    for where in ("problems.parquet", "samples/", "answers/", "verdicts/", "results/"):
        found = sorted((folder / where).glob("*.parquet")) if where[-1] == "/" else [folder / where]
        assert found, where
        for path in found:
            assert types(pl.read_parquet_schema(path)) <= types_shown(where), path.name
    keys = re.findall(r"`([\w.]+)`", BY_NAME["docs/numbers.md"].split("## The keys of fit.json")[1])
    assert set(json.loads((folder / "results/fit.json").read_text())) <= set(keys)


def types(schema):
    """{(column, name of its type)}; an Enum without its values."""
    return {(c, "Enum" if isinstance(t, pl.Enum) else str(t)) for c, t in schema.items()}


def types_shown(where):
    """The same, from the tables of a section of the page of the run directory."""
    section = BY_NAME["docs/run-directory.md"].split(f"\n## {where}\n")[1].split("\n## ")[0]
    found = set()
    for names, kinds in re.findall(r"^\| (`.*`) \| ([A-Z][\w(), ]+) \| ", section, re.MULTILINE):
        columns, each = re.findall(r"`(\w+)`", names), kinds.split(", ")
        found |= set(zip(columns, each * len(columns) if len(each) == 1 else each, strict=True))
    return found


@pytest.mark.parametrize(
    ("where", "schema"),
    [
        ("problems.parquet", PHRASED_SCHEMA),
        ("samples/", LOGPROB_SCHEMA),
        ("answers/", ANSWER_SCHEMA),
        ("verdicts/", VERDICT_SCHEMA),
        ("scores/", SCORE_SCHEMA),
        ("predictions/", PREDICTION_SCHEMA),
        ("results/", CACHE_SCHEMA),
        ("results/", COUNT_COLUMNS),
    ],
)
def test_the_page_of_the_run_directory_has_the_type_of_every_column(where, schema):
    assert types(schema) <= types_shown(where)


def long_sentences(text, most=30):
    """Sentences of more words than `most`. Code, headings and tables are no sentences."""
    text = re.sub(r"^ *```.*?```", "", text, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\s*\n|\n(?=\s*[-*#|>] )|\n(?=\|)", text):
        if not block.lstrip().startswith(("|", "#")):
            sentences = re.split(r"(?<=[.!?:])\s+", " ".join(block.split()))
            yield from (s for s in sentences if len(s.split()) > most)


def docstrings(tree):
    """Of modules, classes and functions, and those that stand under a value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                yield inspect.cleandoc(text)


def without_tables(docstring):
    """Indented lines of a docstring are tables and formulas."""
    return "\n".join("" if line.startswith("    ") else line for line in docstring.splitlines())


def test_a_long_sentence_would_be_found():
    long = " ".join(["word"] * 31)
    assert list(long_sentences(f"Short.\n\n- A list: {long}.\n")) == [f"{long}."]
    assert not list(long_sentences(f"| {long} |\n\n```sh\n{long}\n```\n\n# {long}\n"))
    source = f'"""{long}"""\nclass A:\n    x = 1\n    """{long}"""\n'
    assert len([s for d in docstrings(ast.parse(source)) for s in long_sentences(d)]) == 2


@pytest.mark.parametrize("name", [*BY_NAME, "CHANGELOG.md"])
def test_no_sentence_of_a_page_is_long(name):
    assert not list(long_sentences((ROOT / name).read_text(encoding="utf-8")))


def test_no_sentence_of_a_docstring_is_long():
    found = [
        f"{path.relative_to(ROOT)}: {sentence[:80]} ..."
        for folder in ("toolkit", "jobs", "analysis")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for docstring in docstrings(ast.parse(path.read_text(encoding="utf-8")))
        for sentence in long_sentences(without_tables(docstring))
    ]
    assert not found, f"{len(found)} long sentences:\n" + "\n".join(found)
