"""A run as a log of inspect_ai, in JSON, which its `read_eval_log` and its viewer open.

A problem is a sample of inspect, and a seed is an epoch, from 1.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.errors import UsageError
from toolkit.files import replacing
from toolkit.runs.history import launches
from toolkit.sharing.shared_run import SharedRun, refuse_existing
from toolkit.verifiers.base import prompts_of

SCORER = "passed"
REASONS = {"stop": "stop", "length": "max_tokens", "abort": "unknown"}
"""Why a completion ended, in inspect's words."""


def write_inspect_log(shared: SharedRun, output: Path) -> None:
    """Write the log. Raises `UsageError` unless `output` is a new file that ends in .json."""
    if output.suffix != ".json":
        raise UsageError(f"--output {output}: a log of inspect_ai is a file that ends in .json")
    refuse_existing(output)
    head = _json(_log(shared)).removesuffix("}")
    with replacing(output) as temporary, temporary.open("wb") as file:
        file.write(f'{head}, "samples": ['.encode("utf-8", "replace"))
        for i, sample in enumerate(_samples(shared)):
            file.write(f"{', ' if i else ''}{_json(sample)}".encode("utf-8", "replace"))
        file.write(b"]}")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _log(shared: SharedRun) -> dict[str, Any]:
    """All but the samples."""
    samples = shared.samples
    passed = int((samples["outcome"] == "passed").sum())
    times = [launch.time for launch in launches(shared.run)]
    made = times[0] if times else datetime.now(UTC).isoformat(timespec="seconds")
    accuracy = {"name": "accuracy", "value": passed / samples.height, "params": {}}
    return {
        "version": 2,
        "status": "success",
        "eval": _eval(shared, made),
        "plan": {"name": "plan", "steps": [], "config": _generation(shared)},
        "results": {
            "total_samples": samples.height,
            "completed_samples": samples.height,
            "scores": [
                {
                    "name": SCORER,
                    "scorer": SCORER,
                    "params": {},
                    "metrics": {"accuracy": accuracy},
                }
            ],
        },
        "stats": {
            "started_at": made,
            "completed_at": times[-1] if times else made,
            "model_usage": {},
        },
    }


def _eval(shared: SharedRun, made: str) -> dict[str, Any]:
    epochs = int(shared.samples.group_by("task_id").len()["len"].cast(int).to_numpy().max())
    name = shared.provenance.task or "task"
    ids = [p.task_id for p in shared.problems]
    one = hashlib.sha256(shared.run.manifest()["digest"].encode()).hexdigest()[:22]
    return {
        "eval_id": one,
        "run_id": one,
        "created": made,
        "task": name,
        "task_id": one,
        "task_version": 0,
        "task_args": {},
        "dataset": {"name": name, "samples": len(ids), "sample_ids": ids, "shuffled": False},
        "model": f"toolkit/{shared.model}",
        "model_args": {},
        "config": {"epochs": epochs},
        "packages": {"inference-scaling-toolkit": __version__},
        "metadata": {"judge": shared.judge.line(), "commit": shared.provenance.commit},
    }


def _generation(shared: SharedRun) -> dict[str, Any]:
    identity = shared.run.manifest()["identity"]
    names = ("temperature", "top_p", "max_tokens")
    return {name: identity[name] for name in names if identity.get(name) is not None}


def _samples(shared: SharedRun) -> Iterator[dict[str, Any]]:
    prompts = prompts_of(shared.problems)
    chat = shared.run.prompt_style() == "chat"
    asked = {
        p.task_id: prompts[p.task_id].chat()
        if chat
        else [{"role": "user", "content": prompts[p.task_id].text}]
        for p in shared.problems
    }
    for part in shared.parts(shared.samples):
        for row in part.iter_rows(named=True):
            yield _sample(row, asked[row["task_id"]], shared)


def _sample(row: dict[str, Any], asked: list[dict[str, str]], shared: SharedRun) -> dict[str, Any]:
    said = {"role": "assistant", "content": row["completion"], "source": "generate"}
    usage = {"input_tokens": 0, "output_tokens": row["n_tokens"], "total_tokens": row["n_tokens"]}
    reason = REASONS[row["finish_reason"]]
    return {
        "id": row["task_id"],
        "epoch": row["seed"] + 1,
        "input": asked,
        "target": "",
        "messages": [*asked, said],
        "output": {
            "model": shared.model,
            "choices": [{"message": said, "stop_reason": reason}],
            **({} if row["n_tokens"] is None else {"usage": usage}),
        },
        "scores": {
            SCORER: {
                "value": "C" if row["outcome"] == "passed" else "I",
                "answer": row["text"],
                "explanation": row["detail"] or None,
                "metadata": {
                    "outcome": row["outcome"],
                    "kind": row["kind"],
                    "suspect": row["suspect"],
                },
            }
        },
        "metadata": {"seed": row["seed"]},
    }
