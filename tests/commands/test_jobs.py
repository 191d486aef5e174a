"""The jobs as a user meets them: one line and the right exit code for each mistake."""

import json
import os
import resource
import subprocess
import sys

import pytest
from run_jobs import ROOT, SMOKE, files, job, samples

from toolkit import __version__

JOBS = sorted(p for p in (ROOT / "jobs").glob("*.py") if not p.name.startswith("_"))


def assert_refused(done, code, says):
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if "Z " not in line[:24]]
    assert len(lines) == 1, done.stderr
    assert says in lines[0]


@pytest.mark.parametrize("path", JOBS, ids=lambda p: p.name)
def test_help_says_what_the_job_is_for(path, tmp_path):
    done = job(path.name, "--help", cwd=tmp_path)
    assert done.returncode == 0
    command = (ROOT / "toolkit" / "commands" / path.name).read_text()
    assert command.split('"""')[1].splitlines()[0].rstrip(".") in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", JOBS, ids=lambda p: p.name)
def test_a_job_tells_its_version(path, tmp_path):
    done = job(path.name, "--version", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"inference-scaling-toolkit {__version__}\n")


def test_a_run_is_given_without_a_flag_where_it_is_an_argument(tmp_path):
    done = job("status.py", "--run", "runs/a", cwd=tmp_path)
    assert_refused(done, 2, "--run: give the directory of the run without a flag")


@pytest.mark.parametrize("path", JOBS, ids=lambda p: p.name)
def test_an_unknown_flag_is_refused_with_the_valid_ones(path, tmp_path):
    required = {
        "ingest.py": ("x.jsonl", "--run", "r"),
        "plan.py": ("--samples", "3"),
        "campaign.py": ("study.toml",),
        "export.py": ("--to", "bundle", "--output", "x"),
    }
    done = job(path.name, *required.get(path.name, ()), "--frobnicate", cwd=tmp_path)
    assert_refused(done, 2, "unknown flag --frobnicate; valid: --")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--preset", "nope"), "--preset nope: no such preset; a TOML file, or one of"),
        (("runs/a",), "one argument too many: runs/a; write --run runs/a"),
        (("llama-8b-a100",), "one argument too many: llama-8b-a100; write --preset llama-8b-a100"),
        (("org/model",), "one argument too many: org/model; write --model org/model"),
        (("200",), "one argument too many: 200; write --samples 200"),
        (
            ("--gpus", "all"),
            "argument --gpus: all: give a number, or a type and a number, such as a100:1",
        ),
        (("--preset", "smoke", "--array", "many"), "argument --array: invalid int value: 'many'"),
        (("--preset", "smoke", "--samples", "0"), "--samples 0: must be 1 or more"),
        (("--preset", "smoke", "--backend", "magic"), "invalid choice: 'magic'"),
        (
            ("--model", "/no/such/model", "--launcher", "inline"),
            "--model /no/such/model: no such directory",
        ),
        (
            ("--model", "org/x", "--problems", "none.jsonl"),
            "--problems none.jsonl: no such file",
        ),
        (("--preset", "smoke", "--task-ids", "HumanEval/777"), "--task-ids HumanEval/777: not in"),
        (("--backend", "replay"), "name the file of completions with --replay-file"),
    ],
)
def test_bad_input_is_one_line_and_touches_nothing(flags, says, tmp_path):
    done = job("launch.py", *flags, cwd=tmp_path)
    assert_refused(done, 2, says)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_unknown_preset_key_is_named(tmp_path):
    (tmp_path / "p.toml").write_text("[sampling]\ntemprature = 1.0\n")
    done = job("launch.py", "--preset", "p.toml", cwd=tmp_path)
    assert_refused(done, 2, "p.toml: [sampling] temprature: unknown key; valid: ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["evaluate.py", "fit.py", "status.py"])
def test_no_run_is_said_in_one_line(name, tmp_path):
    assert_refused(job(name, cwd=tmp_path), 2, "no run here (no manifest.json)")


@pytest.mark.slow
def test_a_dry_run_touches_nothing(tmp_path):
    done = job("launch.py", *SMOKE, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 to sample" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished smoke run; tests that change it copy it first."""
    folder = tmp_path_factory.mktemp("finished")
    done = job("launch.py", *SMOKE, "--run", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "run (new)\n" in done.stdout
    return folder


@pytest.fixture
def smoke(finished, tmp_path):
    subprocess.run(["cp", "-a", f"{finished}/run", tmp_path], check=True)
    return tmp_path


@pytest.mark.slow
def test_the_same_launch_again_finds_everything_done(smoke):
    before = files(smoke / "run" / "samples") | files(smoke / "run" / "verdicts")
    done = job("launch.py", *SMOKE, "--run", "run", cwd=smoke)
    assert done.returncode == 0, done.stderr
    assert "run (exists)\n" in done.stdout
    assert "0 to sample" in done.stdout
    assert files(smoke / "run" / "samples") | files(smoke / "run" / "verdicts") == before


@pytest.mark.slow
def test_another_configuration_on_the_run_is_refused(smoke):
    before = files(smoke)
    done = job("launch.py", *SMOKE, "--run", "run", "--base-seed", "1", cwd=smoke)
    assert_refused(done, 2, "made with another configuration: base_seed (run: 0, launch: 1)")
    assert files(smoke) == before


def damage(path, how):
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[:100])
    elif how == "flipped":  # one bit of each of forty bytes of the first pages
        path.write_bytes(data[:40] + bytes(byte ^ 1 for byte in data[40:80]) + data[80:])
    else:
        path.write_bytes(b"")


@pytest.mark.slow
@pytest.mark.parametrize("how", ["truncated", "flipped", "empty"])
def test_a_damaged_shard_is_named_then_moved_aside_and_sampled_anew(smoke, how):
    run = smoke / "run"
    whole = samples(run)
    shard = next((run / "samples").glob("*.parquet"))
    damage(shard, how)
    before = files(smoke)
    done = job("status.py", "run", "--verify", cwd=smoke)
    assert done.returncode == 1
    assert f"{shard.name}: " in done.stdout
    assert "1 corrupt" in done.stdout
    assert files(smoke) == before
    if how != "flipped":  # evaluation and fit work on the rest
        done = job("evaluate.py", "run", cwd=smoke)
        assert done.returncode == 1
        assert f"{shard.name}: cannot be read" in done.stderr
        assert f"launch.py --resume --run {run}" in done.stderr
        assert "1 file is damaged: the log says what to do about each" in done.stdout
        assert shard.read_bytes() == before[shard]
    before = files(smoke)
    done = job("launch.py", "--resume", "--run", "run", "--base-seed", "1", cwd=smoke)
    assert done.returncode == 2
    assert files(smoke) == before  # refused: nothing is moved
    done = job("launch.py", "--resume", "--run", "run", cwd=smoke)
    assert done.returncode == 0, done.stderr
    assert "moved to" in done.stdout
    assert len(list((run / "quarantine").glob(f"{shard.stem}.*.parquet"))) == 1
    assert samples(run).equals(whole)
    assert job("status.py", "run", "--verify", cwd=smoke).returncode == 0
    assert job("status.py", "run", cwd=smoke).returncode == 0


@pytest.mark.slow
def test_resume_takes_the_configuration_of_the_last_launch(smoke):
    whole = samples(smoke / "run")
    for shard in (smoke / "run" / "samples").glob("*.parquet"):
        shard.unlink()
    for flags, says in (
        (("--preset", "smoke"), "--resume takes the run's own configuration"),
        (("--base-seed", "1"), "made with another configuration: base_seed"),
    ):
        done = job("launch.py", "--resume", "--run", "run", *flags, cwd=smoke)
        assert_refused(done, 2, says)
    done = job("launch.py", "--resume", "--run", "run", "--array", "2", cwd=smoke)
    assert done.returncode == 0, done.stderr
    assert samples(smoke / "run").equals(whole)


@pytest.mark.slow
def test_a_site_file_gives_defaults_below_preset_and_flags(tmp_path):
    site = tmp_path / "inference-scaling" / "site.toml"
    site.parent.mkdir()
    site.write_text('[resources]\npartition = "a100"\ncpus = 3\nmem_gib = 7\n')
    env = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    script = (
        "import sys; from toolkit.commands import launch\n"
        "flags = {'preset': sys.argv[1] or None, 'model': 'a/b', 'cpus': 5}\n"
        "r = launch.configure(flags).resources; print(r.partition, r.cpus, r.mem)"
    )

    def resources(preset):
        command = [sys.executable, "-c", script, preset]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    assert resources("").stdout.split() == ["a100", "5", "7G"]
    assert resources("smoke").stdout.split() == ["a100", "5", "2G"]
    site.write_text("[sampling]\ntemperature = 1.0\n")
    assert "a site file cannot have the table [sampling]" in resources("").stderr


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_next_launch_goes_on(smoke):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    flags = [*SMOKE[:-1], "400", "--run", "run"]
    before = files(smoke / "run" / "samples")
    import signal

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        small_files()

    done = job("launch.py", *flags, cwd=smoke, preexec_fn=limited)
    assert done.returncode == 1
    assert files(smoke / "run" / "samples").items() >= before.items()
    done = job("launch.py", *flags, cwd=smoke)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_directory_is_said(tmp_path):
    (tmp_path / "runs").mkdir(mode=0o500)
    assert_refused(
        job("launch.py", *SMOKE, cwd=tmp_path), 1, "cannot be written: Permission denied"
    )


@pytest.mark.slow
def test_a_run_path_that_is_a_file_is_said(tmp_path):
    (tmp_path / "run").write_text("")
    assert_refused(job("launch.py", *SMOKE, "--run", "run", cwd=tmp_path), 1, "cannot be written")


def test_a_job_without_the_package_says_how_to_install_it(tmp_path):
    done = subprocess.run(
        ["/usr/bin/env", "python3", "-I", "-S", str(ROOT / "jobs" / "_installed.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert_refused(done, 1, "the package is not installed in")


OWN = {
    "task_id": "own/0",
    "prompt": "def add(x, y):\n",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
    "entry_point": "add",
    "canonical_solution": "    return x + y\n",
}


@pytest.mark.slow
def test_a_run_is_resumed_without_its_problems_file(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(OWN) + "\n")
    flags = ("--preset", "smoke", "--launcher", "inline", "--samples", "4", "--limit", "9")
    done = job("launch.py", *flags, "--problems", "own.jsonl", "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = samples(tmp_path / "run")
    next((tmp_path / "run" / "samples").glob("*.parquet")).unlink()
    file.unlink()
    done = job("launch.py", "--resume", "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert samples(tmp_path / "run").equals(whole)


@pytest.mark.slow
def test_a_problems_file_without_a_model_is_taken_whole(tmp_path):
    (tmp_path / "own.jsonl").write_text(json.dumps(OWN) + "\n")
    flags = ("--problems", "own.jsonl", "--launcher", "local", "--dry-run")
    done = job("launch.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "problems   1 of own.jsonl" in done.stdout


@pytest.mark.slow
def test_an_ingested_run_has_nothing_to_resume(tmp_path):
    line = '{"task_id": "HumanEval/53", "completion": "    return x + y\\n"}\n'
    (tmp_path / "s.jsonl").write_text(line)
    assert job("ingest.py", "s.jsonl", "--run", "run", cwd=tmp_path).returncode == 0
    done = job("launch.py", "--resume", "--run", "run", cwd=tmp_path)
    assert_refused(done, 2, "its samples were ingested, none is missing")
