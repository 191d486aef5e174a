"""The identity of a run: everything that decides which samples are drawn.

Two launches with the same identity belong to the same run.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.config import Config, Engine, Sampling
from toolkit.errors import UsageError
from toolkit.models.embedded import EMBEDDED_MODEL_NAME
from toolkit.passed_on import CHANGE_SAMPLES, chat_arguments, engine_arguments
from toolkit.problems.load import problems_digest
from toolkit.records import Problem, Prompt
from toolkit.verifiers.base import prompts_of


def run_identity(
    config: Config, problems: Sequence[Problem], held: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The identity of a run, as values that JSON can hold.

    It includes a digest of the prompts, so that another wording makes another run. It does not
    include where the run is computed, how many samples are drawn, and how they are judged.

    held: the identity that a resumed run holds. It tells what a model or a file of completions was
    that is not there any more. Raises `UsageError` if one is not there and nothing tells.
    """
    sampling = config.sampling
    prompts = prompts_of(problems)
    identity: dict[str, Any] = {
        "backend": sampling.backend,
        "model": sampling.model,
        "prompt_style": sampling.prompt_style,
        "base_seed": sampling.base_seed,
        "problems": problems_digest(problems),
        "prompts": prompts_digest(sampling.prompt_style, prompts),
    }
    match sampling.backend:
        case "synthetic":
            law = {"synthetic_a": sampling.synthetic_a, "synthetic_b": sampling.synthetic_b}
            return identity | {"model": "synthetic"} | law
        case "replay":
            completions = _or_held(held, ("completions",), replay_identity, config.engine)
            return identity | {"model": sampling.model or "replay"} | completions
        case "vllm":
            keys = ("model", "revision")
            identity |= _or_held(held, keys, model_identity, sampling.model, sampling.revision)
            given = engine_arguments(config.engine)
            if changing := {k: v for k, v in sorted(given.items()) if k in CHANGE_SAMPLES}:
                identity["engine_args"] = changing
    # A key at its default is left out, as above: the same flags find the same run as before.
    if arguments := chat_arguments(sampling):
        identity["chat_args"] = arguments
    return identity | {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(_stop_strings(sampling, prompts)),
    }


def _or_held(
    held: Mapping[str, Any] | None,
    keys: Sequence[str],
    find: Callable[..., dict[str, str]],
    *arguments: Any,
) -> dict[str, str]:
    """What `find` gives, or where it finds nothing what the run holds under these keys."""
    try:
        return find(*arguments)
    except UsageError:
        if held is None or not held.keys() >= set(keys):
            raise
        return {key: held[key] for key in keys}


def replay_identity(engine: Engine) -> dict[str, str]:
    """The digest of the file of completions. Raises `UsageError` if there is none."""
    if not engine.replay_file:
        raise UsageError("--backend replay: name the file of completions with --replay-file")
    path = Path(engine.replay_file)
    if not path.is_file():
        raise UsageError(f"--replay-file {path}: no such file; give a JSONL(.gz) file")
    facts = path.stat()
    return {"completions": _file_digest(path, facts.st_size, facts.st_mtime_ns)}


@cache
def _file_digest(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file of this size and time; a large one is read once, however often asked."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_identity(model: str, revision: str) -> dict[str, str]:
    """Name and revision of a Hugging Face model, or name and digest of a local one.

    A local directory may move to another file system, but its content may not change. Of weights
    only names and sizes are part of the digest, because reading them would take minutes. Raises
    `UsageError` if there is no such model.
    """
    if not model:
        return {"model": EMBEDDED_MODEL_NAME, "revision": "embedded"}
    path = Path(model)
    if not path.is_dir():
        if path.is_absolute() or model.startswith(".") or model.count("/") != 1:
            raise UsageError(
                f"--model {model}: no such directory; give one, or a Hugging Face name such as "
                "ORGANISATION/NAME"
            )
        return {"model": model, "revision": revision or "main"}
    if not (path / "config.json").is_file():
        raise UsageError(
            f"--model {model}: has no config.json, so it is not a Hugging Face model; give the "
            "directory of one"
        )
    files = sorted(p for p in path.iterdir() if p.suffix in (".json", ".safetensors", ".bin"))
    parts = [
        (
            p.name,
            hashlib.sha256(p.read_bytes()).hexdigest() if p.suffix == ".json" else p.stat().st_size,
        )
        for p in files
    ]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return {"model": path.resolve().name, "revision": digest[:16]}


def prompts_digest(style: str, prompts: Mapping[str, Prompt]) -> str:
    """SHA-256 over what the model is asked, before its chat template.

    prompts: task_id -> prompt.
    """
    asked = sorted(
        json.dumps([task_id, prompt.chat() if style == "chat" else prompt.text])
        for task_id, prompt in prompts.items()
    )
    return hashlib.sha256("\n".join(asked).encode()).hexdigest()


def _stop_strings(sampling: Sampling, prompts: Mapping[str, Prompt]) -> Sequence[str]:
    """The stop strings of all prompts, each once, in the order of their first appearance."""
    each = (p.stop_strings(sampling.prompt_style, sampling.stop) for p in prompts.values())
    return tuple(dict.fromkeys(stop for stops in each for stop in stops))
