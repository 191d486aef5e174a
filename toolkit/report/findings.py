"""What a fit finds, as records: intervals, slopes, forecasts, models; a document holds them."""

from dataclasses import dataclass

from toolkit.stats.laws import BetaBinomial, ExpPower, LogLogLine


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
