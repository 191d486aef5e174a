"""Before GPU-hours are spent: does the cluster have what is asked for, does the model fit?"""

import getpass
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.config import Config, Engine, Resources
from toolkit.errors import UsageError
from toolkit.launch.doctor import Finding
from toolkit.launch.slurm import cluster_answers
from toolkit.models.footprint import read_footprint

USUAL_TOKENS = 400
"""Prompt and completion of a HumanEval sample together, on average, with room."""


def examine_slurm(resources: Resources) -> Iterator[Finding]:
    """Partition, time limit, gres, cores and memory, account: as the controller knows them."""
    if not cluster_answers():
        yield Finding(
            "warn", "slurm", "no cluster answers here", "log in to a submit node to use one"
        )
        return
    partitions = _partitions()
    default = next((n for n, facts in partitions.items() if facts.get("Default") == "YES"), "")
    for name, minutes, gres, cpus, mem in (
        (resources.partition, resources.minutes, resources.gres, resources.cpus, resources.mem_gib),
        (resources.cpu_partition, resources.eval_minutes, "", resources.eval_cpus,
         resources.eval_mem_gib),
    ):  # fmt: skip
        partition = name or default
        if partition not in partitions:
            listed = ", ".join(sorted(partitions))
            yield Finding("fail", "partition", f"{partition or 'no default'}: not there",
                          f"choose one of {listed}")  # fmt: skip
            continue
        yield _time_limit(partition, partitions[partition], minutes)
        yield _nodes(partition, gres or "", cpus, mem)
    if resources.account:
        yield _account(resources.account)


def _partitions() -> dict[str, dict[str, str]]:
    found = {}
    for line in _ask("scontrol", "--oneliner", "show", "partition").splitlines():
        facts = dict(word.split("=", 1) for word in line.split() if "=" in word)
        found[facts["PartitionName"]] = facts
    return found


def _time_limit(partition: str, facts: dict[str, str], minutes: int) -> Finding:
    limit = facts.get("MaxTime", "UNLIMITED")
    most = _minutes(limit)
    if facts.get("State", "UP") != "UP":
        return Finding("fail", "partition", f"{partition} is {facts['State']}", "choose another")
    if most is not None and minutes > most:
        return Finding("fail", "time", f"{minutes} min; {partition} allows {most}",
                       "ask for less: a task that runs out of time goes on by itself")  # fmt: skip
    return Finding("ok", "partition", f"{partition}: up, {minutes} min asked, {limit} allowed")


def _minutes(limit: str) -> int | None:
    """Slurm's [days-]hours:minutes:seconds; None for UNLIMITED."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", limit)
    if not found:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + minutes


def _nodes(partition: str, gres: str, cpus: int, mem_gib: int) -> Finding:
    """Whether any node of the partition has what one task asks for."""
    kind, count = _gres(gres)
    offers = []
    for line in _ask("sinfo", "-h", "-N", "-p", partition, "-o", "%c|%m|%G").splitlines():
        cores, memory, has = line.split("|")
        offers.append(line)
        if int(cores) >= cpus and int(memory) >= mem_gib * 1024 and _offers(has, kind, count):
            asked = f"{cpus} cores, {mem_gib} GiB" + (f", {gres}" if gres else "")
            return Finding("ok", "nodes", f"{partition} has nodes with {asked}")
    largest = max(offers, default="none")
    return Finding("fail", "nodes", f"no node of {partition} has {cpus} cores, {mem_gib} GiB, "
                   f"{gres or 'no gres'}", f"cores|MiB|gres of its nodes: {largest}")  # fmt: skip


def _gres(gres: str) -> tuple[str, int]:
    """("gpu:a100", 2) of "gpu:a100:2"; the count is 1 where none is given."""
    name, _, last = gres.rpartition(":")
    return (name, int(last)) if last.isdigit() else (gres, 1)


def _offers(has: str, kind: str, count: int) -> bool:
    if not kind:
        return True
    for item in re.sub(r"\([^)]*\)", "", has).split(","):
        name, number = _gres(item)
        if (name == kind or name.split(":")[0] == kind) and number >= count:
            return True
    return False


def _account(account: str) -> Finding:
    listed = _ask("sacctmgr", "-nP", "show", "assoc", f"user={getpass.getuser()}", "format=account")
    mine = sorted(set(listed.split()))
    if not mine:
        return Finding("warn", "account", f"{account}: accounting names none for this user")
    if account not in mine:
        return Finding("fail", "account", f"{account} is not yours", f"yours: {', '.join(mine)}")
    return Finding("ok", "account", account)


def _ask(*command: str) -> str:
    """What a command of Slurm prints; nothing where it fails (no accounting, say)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def examine_model(model: str, engine: Engine, gpu_gib: float) -> Iterator[Finding]:
    """Whether a local model directory is complete, and weights and KV cache fit the GPU."""
    if not model:
        yield Finding("ok", "model", "the embedded model, for the CPU")
        return
    path = Path(model)
    if not path.is_dir():
        yield Finding("warn", "model", f"{model}: a hub model, read through the hub's cache",
                      "download it once and give its directory; --stage-model auto copies it to "
                      "each node's disk")  # fmt: skip
        return
    try:
        need = read_footprint(path, engine.dtype)
    except UsageError as error:
        yield Finding("fail", "model", str(error), "download it again")
        return
    gpus = engine.tensor_parallel_size
    tokens = need.kv_tokens(gpus * gpu_gib * 2**30, engine.gpu_memory_utilization)
    found = (
        f"{need.weights / 2**30:.1f} GiB of weights, {need.kv_per_token / 1024:.0f} KiB of KV "
        f"cache a token: room for {max(0, tokens):,} tokens on {gpus} x {gpu_gib:g} GiB"
    )
    if tokens < engine.max_model_len:
        yield Finding("fail", "model", found, "take a larger GPU or --tensor-parallel-size")
    elif tokens < engine.max_num_seqs * USUAL_TOKENS:
        fit = tokens // USUAL_TOKENS
        yield Finding("warn", "model", found, f"enough for --max-num-seqs {fit}")
    else:
        yield Finding("ok", "model", found)


def examine_sampling(flags: Sequence[str]) -> Finding:
    """A dozen samples of the model, evaluated: the whole path, in a directory that is removed."""
    launch = Path(__file__).resolve().parents[1] / "jobs" / "launch.py"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(launch), "--launcher", "inline", "--run", f"{folder}/run",
             "--limit", "4", "--samples", "3", *flags],
            capture_output=True, text=True,
        )  # fmt: skip
        fit = Path(folder) / "run" / "results" / "fit.json"
        if done.returncode != 0 or not fit.is_file():
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            return Finding("fail", "sampling", f"a dozen samples failed: {last[-300:]}")
        passed = json.loads(fit.read_text(encoding="utf-8"))["pass_at_k"]["1"]
    return Finding("ok", "sampling", f"a dozen samples drawn and evaluated, {passed:.0%} pass")


def sampling_flags(config: Config) -> list[str]:
    """The flags that make `examine_sampling` sample as this configuration does."""
    s, e = config.sampling, config.engine
    flags = ["--model", s.model] if s.model else ["--preset", "quickstart"]
    if s.model:
        flags += ["--max-model-len", str(e.max_model_len), "--max-tokens", str(s.max_tokens)]
    return flags
