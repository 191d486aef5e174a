"""Before GPU-hours are spent: does the cluster have what is asked for, and do a dozen samples go
the whole way?
"""

import getpass
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from toolkit.config import Config, Stopping
from toolkit.errors import SlurmFailure, ToolkitError
from toolkit.launch.amounts import (
    gres_items,
    mebibytes_of,
    memory_in_words,
    minutes_of,
    time_in_words,
)
from toolkit.launch.doctor import Finding
from toolkit.launch.local import launch_inline
from toolkit.launch.model import with_model
from toolkit.launch.prepare import freeze_launch, plan_launch
from toolkit.launch.queue import accounts_of, cluster_answers, nodes_of, partitions
from toolkit.launch.sbatch_options import Options, gres_asked, job_options
from toolkit.report.document import read_fit
from toolkit.runs.run import Run

TRIAL_PROBLEMS = 4
TRIAL_SAMPLES = 3


def examine_slurm(config: Config) -> Iterator[Finding]:
    """Partition, time limit, gres, cores and memory, account: as the controller knows them."""
    try:
        if not cluster_answers():
            remedy = "log in to a submit node to use one"
            yield Finding("warn", "slurm", "this machine belongs to no cluster", remedy)
            return
    except SlurmFailure as error:
        found = str(error).partition(";")[0]
        remedy = "a launch is refused here until it answers, but for --launcher local"
        yield Finding("warn", "slurm", found, remedy)
        return
    try:
        known = partitions()
        for stage in ("sample", "evaluate"):
            yield from _job(known, job_options(config, stage))
    except SlurmFailure as error:
        yield Finding("fail", "slurm", str(error))
        return
    if config.resources.account:
        yield _account(config.resources.account)


def _job(known: Mapping[str, Mapping[str, str]], options: Options) -> Iterator[Finding]:
    """Whether each partition of a job is there, allows the time, and has a node for it."""
    default = next((n for n, facts in known.items() if facts.get("Default") == "YES"), "")
    for name in str(options.get("partition", default)).split(","):
        if name not in known:
            listed = ", ".join(sorted(known))
            found = f"{name or 'no default'}: not there"
            yield Finding("fail", "partition", found, f"choose one of {listed}")
            continue
        yield _time_limit(name, known[name], str(options["time"]))
        yield _nodes(name, options)


def _time_limit(partition: str, facts: Mapping[str, str], time: str) -> Finding:
    limit = facts.get("MaxTime", "UNLIMITED")
    most, minutes, asked = minutes_of(limit), minutes_of(time), time_in_words(time)
    if facts.get("State", "UP") != "UP":
        return Finding("fail", "partition", f"{partition} is {facts['State']}", "choose another")
    if most is not None and (minutes is None or minutes > most):
        remedy = "ask for less: an array task that runs out of time goes on by itself"
        return Finding("fail", "time", f"{asked}; {partition} allows {most} min", remedy)
    return Finding("ok", "partition", f"{partition}: up, {asked} asked, {limit} allowed")


def _nodes(partition: str, options: Options) -> Finding:
    """Whether any node of the partition has what one array task asks for."""
    gres = gres_asked(options, "")
    cpus, mem = str(options.get("cpus-per-task", "1")), str(options.get("mem", "0"))
    nodes = nodes_of(partition)
    asked = f"{cpus} cores, {memory_in_words(mem)}" + (f", {gres}" if gres else "")
    for node in nodes:
        large = node.cores >= int(cpus) and node.memory >= mebibytes_of(mem)
        if large and _offers(node.gres, gres):
            return Finding("ok", "nodes", f"{partition} has nodes with {asked}")
    largest = max(nodes, key=lambda node: (node.cores, node.memory), default=None)
    has = (
        f"its largest has {largest.cores} cores, {largest.memory / 1024:.0f} GiB, {largest.gres}"
        if largest
        else "it has no nodes"
    )
    return Finding("fail", "nodes", f"no node of {partition} has {asked}", has)


def _offers(has: str, wanted: str) -> bool:
    """Whether a node with the generic resources `has` could give those that are `wanted`."""
    offered = gres_items(re.sub(r"\([^)]*\)", "", has))
    return all(
        any(kind in (name, name.split(":")[0]) and number >= count for name, number in offered)
        for kind, count in gres_items(wanted)
    )


def _account(account: str) -> Finding:
    try:
        mine = accounts_of(getpass.getuser())
    except SlurmFailure:  # a cluster without accounting
        mine = []
    if not mine:
        return Finding("warn", "account", f"{account}: accounting names none for this user")
    if account not in mine:
        return Finding("fail", "account", f"{account} is not yours", f"yours: {', '.join(mine)}")
    return Finding("ok", "account", account)


def examine_sampling(config: Config) -> Finding:
    """Some samples as configured, evaluated and fitted, in a directory that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = run_trial(config, Path(folder))
            fit = read_fit(run.results_dir)
        except ToolkitError as error:
            return Finding("fail", "sampling", f"a trial launch failed: {error}")
    if not fit.complete:
        found = f"{fit.sampled} samples drawn, but only {fit.evaluated} evaluated"
        return Finding("fail", "sampling", found, "read the log above")
    found = f"{fit.sampled} samples drawn and evaluated, {fit.pass_at_k[1]:.0%} pass"
    return Finding("ok", "sampling", found)


def run_trial(config: Config, folder: Path) -> Run:
    """Launch `trial_config(config)` in this process; the run lies in `folder`.

    Raises `ToolkitError` for whatever a launch of this configuration would fail with.
    """
    plan = with_model(plan_launch(trial_config(config), folder, folder / "run"))
    run = freeze_launch(plan)
    launch_inline(plan, run, lambda: None)
    return run


def trial_config(config: Config) -> Config:
    """What is configured, but few problems, few samples of each, and all in this process."""
    limit = min(config.problem_set.limit or TRIAL_PROBLEMS, TRIAL_PROBLEMS)
    return replace(
        config,
        problem_set=replace(config.problem_set, limit=limit),
        quantity=replace(config.quantity, samples=TRIAL_SAMPLES),
        stopping=Stopping(),
        resources=replace(
            config.resources, launcher="inline", array=1, engines_per_task=1, eval_array=1
        ),
    )
