"""The document of a fit: `results/fit.json` as a frozen record, with its one reader and writer.

Figures, report, terminal text, planning and analysis/ all take what they show from here. In JSON a
record is an object, a k that is a key is a string, and None is null. Numbers are finite: what is
undefined is null.
"""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from toolkit.cli import job_command
from toolkit.errors import CorruptShard, ToolkitError, UsageError
from toolkit.files import replace_file
from toolkit.report.facts import JudgeFacts, SamplingFacts
from toolkit.report.findings import (
    Band,
    Bracket,
    FamilyStanding,
    FittedModels,
    ForecastPoint,
    OutputTokens,
    Overtakes,
    PartialPoint,
    Slope,
)
from toolkit.report.json_records import as_json, of_json
from toolkit.runs.provenance import Provenance
from toolkit.runs.roof import RunRoof
from toolkit.runs.taxonomy import Taxonomy
from toolkit.runs.usage import Cost
from toolkit.stats.consistency import Consistency
from toolkit.stats.forecast import Interval
from toolkit.stats.laws import BetaBinomial
from toolkit.stats.power_law import PowerLaw
from toolkit.stats.stopping import StoppingRule
from toolkit.stats.weak_tests import WeakTests

FIT_JSON = "fit.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FitContext:
    """What was fitted. Without a run (`jobs/fit.py --counts`) only the title is known."""

    title: str
    complete: bool = True
    """Nothing that was planned is missing."""
    planned: int | None = None
    """Samples; so are the next two."""
    sampled: int | None = None
    evaluated: int | None = None
    tokens: int | None = None
    """Output tokens of all samples; None where they are not known."""
    full_humaneval: bool = False
    """The problems are all of HumanEval, so that published figures are comparable."""
    chosen: bool = False
    """The problems were picked to show a slope with a small model."""
    sampling: SamplingFacts | None = None
    judge: JudgeFacts | None = None
    """None also in results of version 0.1.0."""
    taxonomy: Taxonomy | None = None
    """Of all samples with a verdict; None also in results from before there were kinds."""
    cost: Cost | None = None
    """What the run is paid for, as it was known at the fit."""
    roof: RunRoof | None = None
    """Speed as a share of the roof; None where the card or the model's shape is not known."""
    out_of_budget: str | None = None
    """What was spent, and how to go on, where a budget has ended sampling; else None."""
    provenance: Provenance | None = None
    """Where the samples come from; None also in older results."""
    weak_tests: dict[str, WeakTests] | None = None
    """By the name of each judge beside the run's own that is taken as the truth; None without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitDocument(FitContext):
    """What was fitted and what was found. The keys of fit.json are these fields."""

    inputs: str
    """Digest of counts, context, rule, replicates and version: the same inputs, the same file."""
    date: str | None = None
    """The day on which this was found: ISO, UTC. None in older results."""
    problems: int
    """Problems with at least one verdict; only these are fitted."""
    n_min: int
    n_max: int
    unsolved: int
    """Problems with c = 0."""
    stopping: StoppingRule | None
    """The rule by which sampling stopped; None for a fixed n."""
    k_max: int
    """Largest k that all problems support: n_min, or the cap of the rule."""
    pass_at_k: dict[int, float]
    """The unbiased curve, up to k_max; so are the next four."""
    without_suspect: dict[int, float] | None = None
    """pass@1 and pass@k of the largest k, a suspect pass counted as a failure; None without one.

    Under a stopping rule the largest k may be under k_max: see `toolkit.stats.suspect`.
    """
    output_tokens: OutputTokens | None = None
    """What coverage costs; None where the tokens of a sample are not known."""
    fail_at_k: dict[int, float]
    se_fixed_set: dict[int, float | None]
    """Standard error for these problems; None where 2k is not supported."""
    se_superpopulation: dict[int, float | None]
    """Standard error for such problems; None for a single problem."""
    support: dict[int, int]
    """Problems that support k."""
    band: dict[int, Band]
    """95 % of fail@k, by a bootstrap over problems."""
    partial: dict[int, PartialPoint] = dataclasses.field(default_factory=dict)
    """For k over k_max, of the problems that have as many samples."""
    short: dict[str, int] = dataclasses.field(default_factory=dict)
    """task_id -> n of the problems with under half of the median n; none where a rule stopped."""
    fits: FittedModels
    exponent: Interval
    """a of the MAP fit: the slope that fail@k tends to is -a."""
    slopes: tuple[Slope, ...]
    """Of each whole decade of k."""
    forecast: dict[int, ForecastPoint]
    """Up to 10 k_max; up to k_max only, where `no_forecast` says why."""
    same_problems: dict[int, float]
    """fail@k of these problems, up to 10 k_max; where there is a forecast."""
    same_problems_band: dict[int, Band] | None = None
    """Its 95 % intervals; None in older results."""
    model_free: dict[int, Band] | None = None
    """95 % of fail@k for such problems without any law of p, from k_max on; None likewise."""
    families: tuple[FamilyStanding, ...] | None = None
    """The families behind the forecast; None likewise."""
    no_forecast: str | None = None
    """Why nothing is forecast beyond k_max; None where something is."""
    bracket: dict[int, Bracket]
    """For k over k_max."""
    overtakes: Overtakes | None
    """None without the whole of HumanEval."""
    goodness_of_fit: float | None
    """p-value of the beta-binomial by a parametric bootstrap; None where it would take minutes."""
    floor_likelihood_ratio: float | None
    """For problems that can never be solved; None where the counts cannot say."""
    replicates: int
    """Of the bootstrap."""
    power_law: PowerLaw
    estimand: str
    """What the intervals speak of."""
    consistency: Consistency | None = None
    """pass^k, G-Pass@k, mG-Pass@k, Cover@tau; None for adaptive runs and in older results."""
    files: dict[str, str] | None = None
    """SHA-256 of each other file of the results, by its path; None in older results."""

    @property
    def samples_differ(self) -> bool:
        """Whether some samples pass and others fail. If not, most figures would be empty."""
        return 0 < self.pass_at_k[1] < 1

    @property
    def law(self) -> BetaBinomial | None:
        """The beta-binomial (MAP); None where it would show its prior and not the counts.

        That is so where all samples agree, and of a single problem.
        """
        found = self.fits.beta_binomial_map
        return found.model if found and self.fits.beta_binomial and self.problems > 1 else None


def read_fit(results: Path) -> FitDocument:
    """The document in a run's `results` directory, also one that version 0.1.0 wrote.

    Raises `UsageError` where it is missing and `CorruptShard` where it is damaged. Both name the
    command that writes it.
    """
    path = results / FIT_JSON
    remedy = f"run `{fit_command(results)}`"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        document: FitDocument = of_json(FitDocument, found, "the document")
    except FileNotFoundError:
        raise UsageError(f"{path}: missing: {remedy}") from None
    except OSError as error:
        raise ToolkitError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, UsageError) as error:
        raise CorruptShard(f"{path}: cannot be read ({error}): {remedy}") from None
    return document


def fit_command(results: Path) -> str:
    """What writes these results: of a run, or of one of its judges (`results/NAME`)."""
    if results.parent.name == "results":
        run, judge = results.parents[1], f" --judge {shlex.quote(results.name)}"
    else:
        run, judge = results.parent, ""
    return f"{job_command('fit')} {shlex.quote(str(run))}{judge}"


def write_fit(document: FitDocument, results: Path) -> None:
    """Write fit.json into `results`, whole or not at all. Raises `WriteFailure`."""
    text = json.dumps(as_json(document), indent=1, allow_nan=False)
    replace_file(results / FIT_JSON, f"{text}\n".encode())
