"""Does vLLM have the options that are asked of its engine? A part of `jobs/doctor.py`."""

from collections.abc import Iterator

from toolkit.config import Config
from toolkit.errors import EngineRefused, UsageError
from toolkit.launch.doctor import Finding
from toolkit.stages.engine_options import check_options, options_of

LATER = "each array task checks them when its engine starts, and names what is missing in its log"


def examine_engine(config: Config) -> Iterator[Finding]:
    """--engine-arg and --speculation, by the installed vLLM's own list. Nothing without them."""
    options = options_of(config.engine) if config.sampling.backend == "vllm" else []
    if not options:
        return
    named = ", ".join(options)
    if config.resources.container:
        yield Finding("warn", "engine", f"{named}: not checked, vLLM is in the container", LATER)
        return
    try:
        version = check_options(config.engine)
    except UsageError as error:
        what, _, remedy = str(error).partition("; ")
        yield Finding("fail", "engine", what, remedy)
    except EngineRefused as error:
        yield Finding("warn", "engine", f"{named}: not checked: {error}", LATER)
    else:
        if version is None:
            yield Finding("warn", "engine", f"{named}: not checked, no vLLM is here", LATER)
        else:
            yield Finding("ok", "engine", f"vLLM {version} has {named}")
