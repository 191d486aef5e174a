"""Staging: copy a model to the node's own disk, once for all array tasks on the node.

When ten engines each read 16 GB from a shared file system, they wait for it. From the node's own
disk they do not. The name of the copy depends on the model's path and on the sizes and times of its
files. So a changed model is copied again.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from toolkit.config import Config
from toolkit.errors import UsageError
from toolkit.models.node_disk import alone_in, node_folder, publish_folder

log = logging.getLogger(__name__)

READERS = 4
"""Files copied at the same time. A parallel file system is faster with several than with one."""
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx", ".ot")
ENDINGS = ("*.safetensors", "*.bin", "*.pt")
"""The kinds of weights that vLLM reads. It takes the first kind that exists."""


def stage_model(config: Config) -> Config:
    """The configuration with the model replaced by its copy on this node.

    It is unchanged if nothing is staged: without --stage-model, for another backend than vllm, for
    the embedded model. A hub model is given by its directory in the hub's cache. Raises
    `UsageError` if the model is not whole or does not fit.
    """
    model, where = config.sampling.model, config.engine.stage_model
    if not (where and model and config.sampling.backend == "vllm"):
        return config
    source = Path(model).resolve()
    copy = stage(source, node_folder("models", "" if where == "auto" else where))
    return replace(config, sampling=replace(config.sampling, model=str(copy), revision=""))


def needed_files(source: Path) -> list[Path]:
    """The files of a model directory that an engine reads.

    As vLLM chooses them: weights of one format, only those that their index names, and all other
    files beside them. Subdirectories are left out. Raises `UsageError` if there are no weights, or
    if one of their files is missing.
    """
    consolidated = sorted(source.glob("consolidated*.safetensors"))
    index = source / ("consolidated" if consolidated else "model")
    index = index.with_suffix(".safetensors.index.json")
    if index.is_file():
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        weights = [source / name for name in sorted(set(named))]
    else:
        found = [consolidated, *(sorted(source.glob(ending)) for ending in ENDINGS)]
        weights = next((paths for paths in found if paths), [])
    others = [
        p
        for p in sorted(source.iterdir())
        if p.is_file() and p.suffix not in WEIGHTS and not p.name.startswith(".")
    ]
    missing = [p.name for p in weights if not p.is_file()]
    if missing or not weights:
        what = f"{missing[0]} is missing" if missing else "no weights (*.safetensors or *.bin)"
        raise UsageError(f"{source}: {what}; download the model again")
    return weights + others


def stage(source: Path, models: Path) -> Path:
    """The copy of the model directory `source` in the folder `models`, made if it is missing.

    Of several array tasks one copies and the others wait. Links are followed, so that the copy
    needs no other directory. Raises `UsageError` if there is no room.
    """
    files = needed_files(source)
    sizes = {p.name: p.stat().st_size for p in files}
    target = models / f"{source.name}-{_digest(source, files)}"
    with alone_in(models):
        if _whole(target, sizes):
            log.info("model: staged already as %s", target)
            return target
        _check_room(source, models, sum(sizes.values()))
        began = time.monotonic()
        try:
            publish_folder(target, lambda folder: _copy(files, folder))
        except OSError as error:
            raise UsageError(
                f"{models}: {source} cannot be copied there ({error.strerror}); make room, name "
                "another directory with --stage-model, or leave out --stage-model"
            ) from None
    seconds = time.monotonic() - began
    log.info("model: %.1f GB staged as %s in %.1f s", sum(sizes.values()) / 1e9, target, seconds)
    return target


def _digest(source: Path, files: Sequence[Path]) -> str:
    facts = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hashlib.sha256(json.dumps([str(source), facts]).encode()).hexdigest()[:12]


def _whole(target: Path, sizes: dict[str, int]) -> bool:
    """Whether all files are there. A crash of the node, or a cleaner, may have removed some."""
    found = {p.name: p.stat().st_size for p in target.iterdir()} if target.is_dir() else {}
    return found == sizes


def _check_room(source: Path, models: Path, size: int) -> None:
    free = shutil.disk_usage(models).free
    if free < size:
        raise UsageError(
            f"{models}: {free / 1e9:.1f} GB free, but {source} takes {size / 1e9:.1f} GB; remove "
            "older copies there, name another directory with --stage-model, or leave it out"
        )


def _copy(files: Sequence[Path], folder: Path) -> None:
    with ThreadPoolExecutor(READERS) as readers:
        list(readers.map(lambda path: shutil.copyfile(path, folder / path.name), files))
