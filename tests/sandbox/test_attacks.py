"""Attacks of a wrong program upon its own verdict, in a process of its own.

Each file of tests/attacks is a program that is wrong. It fails, or its pass is suspect. The kind of
the failure says how far it came: code of the program that waits as if it had passed ends with
status 7. docs/limits-of-verdicts.md says what remains possible.
"""

from collections.abc import Iterator

import pytest
from run_jobs import ROOT

from toolkit.problems.humaneval import python_problem
from toolkit.records import Answer, Verdict, answer_digest
from toolkit.sandbox.executor import Executor, Limits
from toolkit.verifiers.python_tests import endings

ATTACKS = ROOT / "tests" / "attacks"
PROBLEM = python_problem("t/0", "", "def check(candidate):\n    assert candidate() == 1\n", "f")
WAITED = "its process ended with status 7 before the tests did"
"""The detail of a program that waited, after its failure or elsewhere, and was not taken for a
pass."""

FAILED = {
    # What runs after the failure waits too deep in the stack, or on another one.
    "async_generator_hook": WAITED,
    "chain_again": WAITED,
    "chain_again_after_failure": WAITED,
    "chain_in_thread": WAITED,
    "codec_error_handler": "ValueError: \\udc80",
    "context_of_a_failure": WAITED,
    "copy_goes_on": WAITED,
    "describe_generates": WAITED,
    "errno_property": WAITED,
    "exception_group": WAITED,
    "format_method": WAITED,
    "harness_again": WAITED,
    "interrupt_main": WAITED,
    "kind_compares": WAITED,
    "name_of_type": WAITED,
    "pending_calls": WAITED,
    "profiler_clock": WAITED,
    "replaced_marks": WAITED,
    "segfault_handler": WAITED,
    "shallow_stack": WAITED,
    "suspended_generator": WAITED,
    "text_is_a_subclass": WAITED,
    "threads_of_three_kinds": WAITED,
    "unawaited_coroutine": WAITED,
    # No way leads from the failure to the return.
    "endless_traceback": "timed out",
    "everything_is_a_timeout": "status 1",
    "import_hook": "test line",
    "jump_before_the_failure": "test line",
    "jump_from_describe": "no jump",
    "jump_from_thread": "no jump, the thread tried: True",
    "ctypes_at_exit": "test line",
    "lying_positions": "the lines were taken",
    "nothing_is_an_exception": "status 1",
    "source_finalizer": "test line",
    "thread_replaces_check": "test line",
    # Without memory, stack or calls, a failure stays one.
    "no_memory_by_test_module": "",
    "no_memory_left": "",
    "recursion_limit": "status 1",
    "stack_exhausted": "SIGSEGV",
    # The kernel tells one process from another.
    "copy_reports": "status 1",
    "exec_from_thread": "status 0",
    "exec_itself": "timed out",
    "faulthandler_reports": "",
    "harness_in_thread": "status 1",
    "limits_of_the_worker": "test line",
    "module_of_its_own": "failed to map segment",
    "name_of_process": "test line",
    "signal_the_worker": "test line",
    "wakeup_descriptor": "status 1",
    # What was told stays told.
    "fill_the_pipe": "status 1",
    "shut_the_report": "status 1",
    # A text that is not one with the tests.
    "future_of_the_tests": "SyntaxError",
    "unending_text": "SyntaxError",
}
"""name -> a part of the detail."""

SUSPECT = {
    # Memory of the interpreter is written to.
    "constants_out_of_bounds": "code",
    "ctypes_writes": "native",
    "marshalled_code": "code",
    "memory_file": "frames",
    "numpy_interface": "frames",
    "numpy_strides": "native",
    "subinterpreter": "frames",
    # Suspicion is to be taken back.
    "callers_of_eval": "code",
    "deaf_audit_hook": "gc",
    "drain_the_reports": "gc",
    "replace_the_pipe": "reports",
    "report_in_parts": "reports",
    "sockets_out_of_band": "reports",
    # The tests are doctored.
    "async_tests": "text",
    "builtins_of_the_tests": "equality",
    "decorate_the_tests": "text",
    "docstring_of_a_number": "equality",
    "poison_by_pickle": "code",
    "trace_replaces_check": "trace",
}
"""name -> one of the reasons."""

ODD_BUT_RIGHT = (
    "",
    "import numpy\nnumpy.ones((50, 50)) @ numpy.ones((50, 50))\n",
    "def deep(n): return n and deep(n - 1)\ndeep(900)\n",
    "import sys\nsys.setrecursionlimit(10**6)\ndef deep(n): return n and deep(n - 1)\ndeep(20000)\n",
    "nested = []\nfor _ in range(200): nested = [nested]\nrepr(nested)\n",
    "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\n",
    "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n",
    "import signal\nsignal.signal(signal.SIGUSR1, print)\nsignal.raise_signal(signal.SIGUSR1)\n",
    "import asyncio\nasyncio.run(asyncio.sleep(0))\n",
    "import sys\nsys.settrace(lambda *_: None)\n",
    "import sys\nsys.setprofile(lambda *_: None)\n",
    "import sys\nsys.addaudithook(lambda *_: None)\n",
    "import gc\ngc.set_threshold(1)\n",
    "import cProfile\ncProfile.Profile().enable()\n",
    "try: 1 / 0\nexcept ZeroDivisionError as error: kept = error\n",
)


def answer(text: str) -> Answer:
    return Answer("t/0", answer_digest(text), text)


def program(name: str) -> Answer:
    return answer((ATTACKS / "_begin.py").read_text() + (ATTACKS / f"{name}.py").read_text())


@pytest.fixture(scope="module")
def verdicts() -> Iterator[dict[str, Verdict]]:
    names = {program(name).digest: name for name in (*FAILED, *SUSPECT)}
    with Executor(endings([PROBLEM]), workers=2, limits=Limits(timeout=1.0)) as executor:
        found = executor.run(program(name) for name in names.values())
        yield {names[verdict.answer]: verdict for verdict in found}


def test_every_attack_has_its_expectation() -> None:
    names = {path.stem for path in ATTACKS.glob("*.py")} - {"_begin"}
    assert names == FAILED.keys() | SUSPECT.keys()


@pytest.mark.parametrize("name", FAILED)
def test_a_wrong_program_fails(verdicts: dict[str, Verdict], name: str) -> None:
    verdict = verdicts[name]
    assert verdict.outcome in ("failed", "timed_out")
    assert FAILED[name] in verdict.detail


@pytest.mark.parametrize("name", SUSPECT)
def test_a_wrong_program_that_passes_is_suspect(verdicts: dict[str, Verdict], name: str) -> None:
    verdict = verdicts[name]
    assert verdict.outcome == "passed", verdict  # else it tries nothing any more
    assert SUSPECT[name] in verdict.suspect


@pytest.mark.slow
def test_a_pass_is_seen_wherever_the_stack_has_been() -> None:
    """In every worker a program comes to rest at the same place, whatever it did before."""
    texts = [f"class A: pass\n{text}def f(): return 1\n" for text in ODD_BUT_RIGHT]
    with Executor(endings([PROBLEM]), workers=8) as executor:
        for _ in range(3):
            found = list(executor.run(map(answer, texts)))
            assert [v for v in found if v.outcome != "passed"] == []
