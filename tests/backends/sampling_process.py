"""A sampling task as a script: of all slices of a run, by an engine that is named."""

SCRIPT = """
import pickle, sys
from pathlib import Path
import toolkit.backends
from toolkit.errors import ToolkitError
from toolkit.launch.tasks import sampling_task
from toolkit.runs.run import open_run

run, toolkit.backends.VLLM, config = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
try:
    names = [s.name for s in open_run(run).slices()]
    sampling_task(run, names, pickle.loads(bytes.fromhex(config)))
except ToolkitError as error:
    sys.exit(str(error))
"""
"""Its arguments: the run, "module:class" of the engine, the pickled configuration in hex."""
