"""Every command in the README runs: each is found here, with what runs it."""

import re
import shlex
import subprocess
import sys

import pytest
from commands import ROOT, SMOKE, job

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()
]
ELSEWHERE = {
    # what is too large for a test of the README: where it is run instead
    "make run": "test_make_run_is_the_quickstart below, and tests/test_vllm.py",
    "make test": "this very test",
    "make test-fast": "part of `make test`",
    "make bench": "tests/bench",
    "pip install -e '.[vllm]'": "setup.cfg is read by `make install`; CUDA needs a GPU node",
    "python jobs/launch.py --resume": "tests/test_jobs.py, tests/test_slurm.py",
    "python jobs/cancel.py": "tests/test_slurm.py",
    "sbatch sbatch/evaluate.sh": "tests/test_slurm.py",
    "sbatch sbatch/fit.sh": "tests/test_slurm.py",
}
RUN = [c for c in COMMANDS if c not in ELSEWHERE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run as runs/latest, a second one, and samples made elsewhere."""
    path = tmp_path_factory.mktemp("readme")
    for flags in (("--base-seed", "1"), ()):
        done = job("launch.py", *SMOKE, *flags, cwd=path)
        assert done.returncode == 0, done.stderr
    (path / "samples.jsonl").write_text(
        '{"task_id": "HumanEval/53", "completion": "    return x + y\\n"}\n'
    )
    return path


def test_the_readme_has_commands():
    assert len(RUN) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_readme(command, folder):
    words = shlex.split(command)
    assert words[0] == "python", f"not run by any test: {command}"
    first, second = sorted(p.name for p in (folder / "runs").glob("synthetic-*"))
    named = {"A": f"runs/{first}", "B": f"runs/{second}", "RUN": f"runs/{first}"}
    words = [named.get(w, w) for w in words]
    if words[1] == "jobs/launch.py" and "--dry-run" not in words:
        words.append("--dry-run")  # GPUs are not at hand; the launch itself is in test_slurm.py
    if words[1] == "jobs/launch.py":
        # Without a cluster and a GPU: the same command with the preset that it would choose.
        if "--preset" not in words and "--model" not in words and "--backend" not in words:
            words += ["--preset", "llama-8b-a100"]
        words += ["--launcher", "local"]
    done = subprocess.run(
        [sys.executable, str(ROOT / words[1]), *words[2:]],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_make_run_is_the_quickstart():
    said = subprocess.run(
        ["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wanted = "jobs/launch.py --preset quickstart --launcher local"
    assert any(line.endswith(wanted) for line in said.stdout.splitlines())


def test_ci_runs_make_test():
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_path_of_the_tree_exists():
    """The captioned tree names files and folders that are there."""
    tree = re.search(r"^```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert tree, "the README has a captioned tree"
    for line in tree[1].splitlines():
        for path in line.split("  ")[0].split():
            assert (ROOT / path).exists(), path
