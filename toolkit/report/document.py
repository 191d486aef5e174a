"""The document of a fit: `results/fit.json` as a frozen record, with its one reader and writer.

Figures, report, terminal text, planning and analysis/ all take what they show from here. In JSON a
record is an object, a k that is a key is a string, and None is null. Numbers are finite: what is
undefined is null.
"""

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from toolkit.cli import job_command
from toolkit.errors import CorruptShard, ToolkitError, UsageError
from toolkit.files import replace_file
from toolkit.records import Judge, Setting, judge_line
from toolkit.runs.roof import RunRoof
from toolkit.runs.taxonomy import Taxonomy
from toolkit.runs.usage import Cost
from toolkit.stats.consistency import Consistency
from toolkit.stats.forecast import Interval
from toolkit.stats.laws import BetaBinomial, ExpPower, LogLogLine
from toolkit.stats.power_law import PowerLaw
from toolkit.stats.stopping import StoppingRule
from toolkit.stats.weak_tests import WeakTests

FIT_JSON = "fit.json"
TABLES_AND_REPORTS = ("counts.parquet", "curve.parquet", "report.md", "report.html")


@dataclass(frozen=True, slots=True)
class SamplingFacts:
    """How the run was sampled; null where its backend has no such setting."""

    model: str
    backend: str | None
    prompt_style: str | None
    temperature: float | None
    top_p: float | None
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class JudgeFacts:
    """How the run was judged: the kind of verifier, its version, and all its settings."""

    verifier: str
    version: int
    settings: dict[str, Setting]

    @classmethod
    def of(cls, judge: Judge) -> "JudgeFacts":
        """What a report says of a judge."""
        return cls(judge.verifier, judge.version, judge.settings)

    def line(self) -> str:
        """For people: `python_tests, version 1, timeout 3.0`."""
        return judge_line(self.verifier, self.version, self.settings)


@dataclass(frozen=True, slots=True)
class Band:
    """95 % interval of fail@k."""

    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class PartialPoint:
    """pass@k of the problems that support k, where not all do; 95 % interval of such problems."""

    problems: int
    pass_at_k: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class AgainstReference:
    """pass@k less the pass@1 of a reference, with its 95 % interval.

    The reference has one try of each of 164 problems, and so an error of its own. Its outcomes by
    problem are not known: the two are taken as independent.
    """

    k: int
    difference: float
    lo: float
    hi: float

    @property
    def differs(self) -> bool:
        """Whether 0 is outside of the interval."""
        return self.lo > 0 or self.hi < 0


@dataclass(frozen=True, slots=True)
class Slope:
    """d log fail@k / d log k over the decade from `from_` to `to`, with its 95 % interval."""

    from_: int
    to: int
    estimate: float
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class ForecastPoint:
    """fail@k of such problems with its 95 % interval, and the method in words."""

    estimate: float
    lo: float
    hi: float
    method: str


@dataclass(frozen=True, slots=True)
class FamilyStanding:
    """How a family of laws did on held-out samples of these counts.

    - weight: its say in the forecast, 0 where it is rejected.
    - error: of log fail@k_max, forecast from half of the samples; None where nothing was held out.
    - z: the largest such error in units of its standard error.
    """

    name: str
    weight: float
    error: float | None
    z: float
    rejected: bool


@dataclass(frozen=True, slots=True)
class Bracket:
    """Bounds of fail@k that need no model, of these problems and without sampling error."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class BetaBinomialFit:
    """A `BetaBinomial` fitted to the counts, and its fail@k up to 10 k_max."""

    a: float
    b: float
    pi0: float
    neg_log_lik: float
    fail_at_k: dict[int, float]

    @property
    def model(self) -> BetaBinomial:
        """Its fail@k for any k."""
        return BetaBinomial(self.a, self.b, self.pi0, self.neg_log_lik)


@dataclass(frozen=True, slots=True)
class ScaledFit:
    """A `ScaledBetaBinomial` fitted to the counts, and its fail@k up to 10 k_max."""

    a: float
    b: float
    s: float
    neg_log_lik: float
    fail_at_k: dict[int, float]


@dataclass(frozen=True, slots=True)
class FittedModels:
    """The models of `toolkit.stats.laws`; None where the counts have no maximum."""

    log_log_line: LogLogLine | None
    exp_power: ExpPower | None
    beta_binomial: BetaBinomialFit | None
    beta_binomial_map: BetaBinomialFit | None
    zero_inflated_beta_binomial: BetaBinomialFit | None
    scaled_beta_binomial: ScaledFit | None


@dataclass(frozen=True, slots=True)
class Overtakes:
    """The k whose pass@k reaches a reference's one try; None for one beyond all forecasts.

    `pass_at_1` is taken as exact for k, lo and hi. Its own error is in `against`.
    """

    reference: str
    pass_at_1: float
    k: int | None
    lo: int | None
    hi: int | None
    pass_at_1_lo: float | None = None
    """Exact binomial 95 % interval of `pass_at_1`; None in older results, as the next."""
    pass_at_1_hi: float | None = None
    against: tuple[AgainstReference, ...] = ()
    """At each k of the curve."""


@dataclass(frozen=True, slots=True)
class OutputTokens:
    """What samples cost in output tokens, as means over problems (`toolkit.stats.tokens`).

    a_sample: of one sample, with its standard error for such problems; None for a single problem.
    at_k: expected tokens a problem where each gets k samples, for the k of the unbiased curve.
    """

    a_sample: float
    standard_error: float | None
    at_k: dict[int, float]


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
    weak_tests: dict[str, WeakTests] | None = None
    """By the name of each judge beside the run's own that is taken as the truth; None without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitDocument(FitContext):
    """What was fitted and what was found. The keys of fit.json are these fields."""

    inputs: str
    """Digest of counts, context, rule, replicates and version: the same inputs, the same file."""
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
    remedy = f"run `{_fit_command(results)}`"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        document: FitDocument = _parsed(FitDocument, found, "the document")
    except FileNotFoundError:
        raise UsageError(f"{path}: missing: {remedy}") from None
    except OSError as error:
        raise ToolkitError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, UsageError) as error:
        raise CorruptShard(f"{path}: cannot be read ({error}): {remedy}") from None
    return document


def _fit_command(results: Path) -> str:
    """What writes these results: of a run, or of one of its judges (`results/NAME`)."""
    if results.parent.name == "results":
        run, judge = results.parents[1], f" --judge {shlex.quote(results.name)}"
    else:
        run, judge = results.parent, ""
    return f"{job_command('fit')} {shlex.quote(str(run))}{judge}"


def write_fit(document: FitDocument, results: Path) -> None:
    """Write fit.json into `results`, whole or not at all. Raises `WriteFailure`."""
    text = json.dumps(_plain(document), indent=1, allow_nan=False)
    replace_file(results / FIT_JSON, f"{text}\n".encode())


def digests_of_results(results: Path) -> dict[str, str]:
    """The SHA-256 of each file that fit writes into `results` before fit.json."""
    paths = [results / name for name in TABLES_AND_REPORTS]
    paths += sorted(p for p in (results / "figures").iterdir() if p.suffix in (".svg", ".png"))
    found = ((p, hashlib.sha256(p.read_bytes()).hexdigest()) for p in paths)
    return {path.relative_to(results).as_posix(): digest for path, digest in found}


def damaged_results(results: Path, document: FitDocument) -> list[Path]:
    """The files beside fit.json that are missing, or are not what was written."""
    damaged = []
    for name, digest in (document.files or {}).items():
        path = results / name
        try:
            whole = hashlib.sha256(path.read_bytes()).hexdigest() == digest
        except OSError:
            whole = False
        if not whole:
            damaged.append(path)
    return damaged


def verify_results(results: Path) -> Iterator[ToolkitError]:
    """What is wrong with the results of a run: one error for each file. None without results."""
    if not (results / FIT_JSON).is_file():
        return
    try:
        document = read_fit(results)
    except ToolkitError as error:
        yield error
        return
    for path in damaged_results(results, document):
        remedy = f"`{_fit_command(results)}` makes it anew"
        yield CorruptShard(f"{path}: missing or damaged; {remedy}")


def _plain(value: Any) -> Any:
    """What `json` takes: records as objects, k's as strings."""
    if dataclasses.is_dataclass(value):
        return {_key(f): _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value


def _key(field: "dataclasses.Field[Any]") -> str:
    """Its name in JSON: `from_` is "from", a word that Python keeps for itself."""
    return field.name.rstrip("_")


def _parsed(kind: Any, value: Any, where: str) -> Any:
    """`value` of a JSON file as `kind`; `ValueError` names the place where it is something else."""
    origin, inner = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value, where)
    if origin is dict and isinstance(value, dict):
        return {inner[0](k): _parsed(inner[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is tuple and isinstance(value, list):
        return tuple(_parsed(inner[0], v, where) for v in value)
    if origin is UnionType:
        # What comes first is tried where no type is the value's own: an object, an int as a float.
        own = [k for k in inner if k is type(value)]
        return _parsed((own or inner)[0], value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{where} is {str(value)[:40]!r}")
    return value


def _record(kind: Any, found: dict[str, Any], where: str) -> Any:
    hints, values = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        key = _key(field)
        if key in found:
            values[field.name] = _parsed(hints[field.name], found[key], f"{where}: {key}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} lacks {key!r}")
    return kind(**values)
