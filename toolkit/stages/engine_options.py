"""The options of vLLM's engine, checked before any engine starts, where that can be done."""

from toolkit.backends.engine_arguments import checked, speculation_of
from toolkit.backends.installed_vllm import installed_vllm, is_installed
from toolkit.config import Engine
from toolkit.passed_on import engine_arguments


def options_of(engine: Engine) -> list[str]:
    """The options that only vLLM can check, in words: `--speculation ngram`."""
    named = [f"--engine-arg {name}" for name in engine_arguments(engine)]
    return named + [f"--speculation {engine.speculation}"] * (engine.speculation != "off")


def check_options(engine: Engine) -> str | None:
    """The version of the installed vLLM, which has these options. None: no vLLM is installed.

    Raises `UsageError` for an option that it has not, `EngineRefused` if it cannot be imported.
    """
    if not is_installed():
        return None
    found = installed_vllm()
    checked(engine_arguments(engine), found.arguments)
    speculation_of(engine.speculation, found.speculation, on_cpu=False)
    return found.version
