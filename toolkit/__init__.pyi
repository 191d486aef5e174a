from toolkit.api.fits import fit as fit
from toolkit.api.fits import forecast as forecast
from toolkit.api.judging import Judge as Judge
from toolkit.api.judging import judge as judge
from toolkit.api.run import open_run as open_run
from toolkit.problems.load import load_problems as load_problems
from toolkit.runs.outcomes import count_outcomes as count_outcomes
from toolkit.runs.outcomes import sample_outcomes as sample_outcomes
from toolkit.sandbox.executor import Executor as Executor
from toolkit.stats.passk import fail_at_k as fail_at_k
from toolkit.stats.passk import pass_at_k as pass_at_k
from toolkit.verifiers.judges import judge_of_run as judge_of_run

__version__: str
__all__: list[str]
