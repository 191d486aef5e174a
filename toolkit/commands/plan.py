"""Plan from a pilot: what a coverage costs, or what a budget buys, before it is spent.

The pilot is a fitted run. Its counts, tokens and speed tell what a larger run would give. With
--target: the k at which pass@k reaches that coverage, and what it costs. With --samples,
--budget-usd or --gpu-hours: the coverage that they buy. The pilot's samples count: what is priced
is what is still to be sampled, by the command that is printed.

Each answer is given for a fixed number of samples and for adaptive sampling (launch's --adaptive).
The 95 % intervals hold for other problems of the same kind too ("such problems"). If the pilot is
on the whole of HumanEval, the plan also says where it overtakes one try of GPT-4o.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli import LATEST, Parser, job_command, run_job
from toolkit.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    from toolkit.runs.run import Run


def main() -> int:
    """Make one question from the flags, and print its answer as text or JSON."""
    flags = parser().parse_args()
    # Imported after parsing, so that --help and a wrong flag answer at once.
    from toolkit.planning.advice import Question, advice_document, advice_text
    from toolkit.planning.budget import Prices, read_pilot
    from toolkit.runs.run import open_run

    question = Question(
        target=flags.target,
        samples=flags.samples,
        usd=flags.budget_usd,
        gpu_hours=flags.gpu_hours,
        stop_r=flags.stop_r,
        stop_min=flags.stop_min,
    )
    prices = Prices(flags.usd_per_gpu_hour, flags.tokens_per_second, flags.tokens_per_sample)
    for name in ("usd_per_gpu_hour", "tokens_per_second", "tokens_per_sample"):
        value = getattr(prices, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be over 0")
    question.check()
    print("reading the pilot and fitting its resamples ...", file=sys.stderr)
    run = open_run(flags.pilot)
    refuse_other_judge(run)
    pilot = read_pilot(run)
    document = advice_document(pilot, question, prices)
    print(json.dumps(document, indent=2) if flags.json else advice_text(document))
    return EXIT_DONE


def refuse_other_judge(run: "Run") -> None:
    """Raise `UsageError` if the results were fitted from verdicts of another judge."""
    from toolkit.report.document import read_fit
    from toolkit.report.facts import JudgeFacts
    from toolkit.verifiers.judges import judge_of_run

    fitted, own = read_fit(run.results_dir).judge, JudgeFacts.of(judge_of_run(run))
    if fitted and fitted != own:
        raise UsageError(
            f"{run.results_dir}: fitted from verdicts of {fitted.line()}; the run's judge is "
            f"{own.line()}; run `{job_command('fit')} {run.path}` first"
        )


def parser() -> Parser:
    """The flags."""
    found = Parser(__doc__ or "")
    found.add_argument(
        "--pilot", type=Path, default=LATEST, help=f"directory of a fitted run [{LATEST}]"
    )
    wish = found.add_mutually_exclusive_group(required=True)
    wish.add_argument("--target", type=float, help="coverage to reach, such as 0.95")
    wish.add_argument("--samples", type=int, help="samples of each problem")
    wish.add_argument("--budget-usd", type=float, help="US dollars to spend")
    wish.add_argument("--gpu-hours", type=float, help="GPU hours to spend")
    found.add_argument(
        "--usd-per-gpu-hour", type=float, default=2.0, help="price of a GPU hour, in dollars [2.0]"
    )
    found.add_argument(
        "--tokens-per-second", type=float, help="output tokens of one GPU [as in the pilot]"
    )
    found.add_argument(
        "--tokens-per-sample",
        type=float,
        help="output tokens of a sample [each problem's as in the pilot; ingested samples have "
        "none]",
    )
    found.add_argument(
        "--stop-r",
        type=int,
        default=5,
        help="adaptive: a problem is finished when it has this many passes [5]",
    )
    found.add_argument(
        "--stop-min",
        type=int,
        default=50,
        help="adaptive: minimum number of samples of each problem [50]",
    )
    found.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return found


if __name__ == "__main__":
    run_job(main)
