"""The package from outside: public names load when they are used; a wheel stands alone."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from run_jobs import ROOT
from test_layers import TOOLKIT

import toolkit
from toolkit import cli
from toolkit.commands import console

NAME = "inference-scaling-toolkit"


def test_importing_the_package_loads_nothing_heavy():
    code = "import toolkit, sys; print(toolkit.__version__, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"polars", "numpy", "scipy", "matplotlib", "submitit"}


@pytest.mark.parametrize("name", toolkit.__all__)
def test_a_public_name_is_there(name):
    assert getattr(toolkit, name) is not None
    assert name in dir(toolkit)


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        toolkit.frobnicate  # noqa: B018 - asked for its error


def typed(*words, monkeypatch):
    """What the console command does with these words, in this process: its exit code."""
    monkeypatch.setattr(sys, "argv", ["/some/bin/inference-scaling", *words])
    monkeypatch.setenv(cli.STARTED_BY, "")
    with pytest.raises(SystemExit) as end:
        console.main()
    return end.value.code


def test_the_console_command_has_every_job_and_says_what_it_does(monkeypatch, capsys):
    assert set(console.job_names()) == {p.stem for p in (ROOT / "jobs").glob("[!_]*.py")}
    assert typed("--help", monkeypatch=monkeypatch) == 0
    said = capsys.readouterr().out
    for name in console.job_names():
        assert f"\n  {name} " in said
    assert "\n  launch    Sample, evaluate and fit: the main job.\n" in said


def test_it_names_its_version_and_the_sbatch_scripts(monkeypatch, capsys):
    assert typed("--version", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"{NAME} {toolkit.__version__}\n"
    assert typed("--sbatch", monkeypatch=monkeypatch) == 0
    assert (Path(capsys.readouterr().out.strip()) / "evaluate.sh").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "name a job: launch, status, "),
        (("lauch",), "unknown job lauch; the nearest is launch; "),
        (("jobs/fit.py",), "unknown job jobs/fit.py; the nearest is fit; "),
        (("console",), "unknown job console; "),
        (("--preset", "smoke"), "unknown flag --preset; flags stand after the job"),
    ],
)
def test_what_is_no_job_is_refused_in_one_line(words, says, monkeypatch, capsys):
    assert typed(*words, monkeypatch=monkeypatch) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"inference-scaling: {says}")


def test_usage_and_errors_name_the_console_command(monkeypatch, capsys, tmp_path):
    assert typed("fit", "--help", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.startswith("usage: inference-scaling fit ")
    (tmp_path / "rounds").mkdir()
    (tmp_path / "rounds" / "r000.json").touch()
    assert typed("fit", "--frob", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err.startswith("inference-scaling fit: unknown flag --frob; ")
    assert cli.job_command("fit") == "inference-scaling fit"


def test_a_checkout_is_told_its_scripts(monkeypatch):
    monkeypatch.delenv(cli.STARTED_BY, raising=False)
    assert cli.job_command("fit") == "python jobs/fit.py"
    monkeypatch.setattr(cli, "__file__", "/usr/lib/python3/site-packages/toolkit/cli.py")
    assert cli.job_command("fit") == "inference-scaling fit"
    monkeypatch.setattr(sys, "argv", ["jobs/launch.py"])
    assert cli.job_command("fit") == "python jobs/fit.py"


def test_no_message_names_a_script_by_itself():
    """Whoever has no checkout could not follow it: `job_command` has the one place that knows."""
    for path in TOOLKIT:
        text = path.read_text(encoding="utf-8")
        assert "python jobs/" not in text or path.name in ("cli.py", "console.py"), path


@pytest.mark.parametrize("script", ["jobs/fit.py", "analysis/curves.py"])
def test_a_script_without_the_package_says_how_to_install_it(script, tmp_path):
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / script), "run"],
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "the package is not installed in " in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as pip builds it, from a copy: setuptools leaves its work beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "toolkit", source / "toolkit", ignore=shutil.ignore_patterns("__py*"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    return next(folder.glob("*.whl"))


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_wheel_stands_alone(wheel, tmp_path):
    """In a bare environment outside the checkout, and nothing of it is left after it is removed.

    Its libraries are those of this environment: a line in a .pth file spares their download.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    before = set((tmp_path / "venv").rglob("*"))
    pip("--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel)

    elsewhere = tmp_path / "work"
    elsewhere.mkdir()
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", cli.STARTED_BY)}

    def console_command(*words):
        command = [str(python.with_name("inference-scaling")), *words]
        return subprocess.run(
            command, cwd=elsewhere, env=env, capture_output=True, text=True, timeout=300
        )

    few = ("--limit", "1", "--samples", "2")
    done = console_command("launch", "--preset", "smoke", "--launcher", "inline", *few)
    assert done.returncode == 0, done.stderr
    run = (elsewhere / "runs" / "latest").resolve()
    assert (run / "results" / "report.html").is_file()
    versions = (run / "launches.jsonl").read_text()
    assert f'"executable": "{python}"' in versions
    assert '"commit": "unknown"' in versions
    by_hand = subprocess.run(
        ["bash", packages / "toolkit" / "sbatch" / "fit.sh", run, "--judge", "humaneval+"],
        cwd=elsewhere,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (by_hand.returncode, by_hand.stderr.count("\n")) == (2, 1)
    assert f"`inference-scaling evaluate {run} --task humaneval+` adds it" in by_hand.stderr

    pip("--python", python, "uninstall", "-y", NAME)
    left = {p for p in (tmp_path / "venv").rglob("*") if "pycache" not in str(p)} - before
    assert not left


def test_a_script_for_sbatch_says_which_python_lacks_the_package(tmp_path):
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    done = subprocess.run(
        ["bash", console.SBATCH / "evaluate.sh", "run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHON": str(bare)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"evaluate.sh: {bare} has no inference-scaling-toolkit: name one" in done.stderr
