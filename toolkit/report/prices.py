"""What the samples of a run cost in dollars, by what the run knows of itself."""

from dataclasses import dataclass

from toolkit.report.document import FitDocument
from toolkit.runs.run import Run
from toolkit.runs.usage import (
    ASSUMED_TOKENS_PER_SECOND,
    facts_of_work,
    spent_of,
    token_prices,
)
from toolkit.stats.arrays import Floats


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for an output token, and for a sample beside its output tokens; and who says so."""

    usd_per_token: float
    usd_per_sample: float
    source: str

    def of_samples(self, tokens: Floats) -> Floats:
        """Dollars of a sample of each problem. tokens: its output tokens, shape (P,)."""
        return tokens * self.usd_per_token + self.usd_per_sample


def hosted_price(run: Run, samples: int) -> Price | None:
    """By the prices of tokens that the run's launch has named; None where it has named none.

    A sample costs its output tokens, and its prompt at the mean length of all prompts. samples: how
    many the run has.
    """
    prices = token_prices(run)
    if prices is None:
        return None
    spent = spent_of(facts_of_work(run, skip_damaged=True))
    prompt = prices.prompt * (spent.prompt_tokens or 0) / max(1, samples)
    each = f"{1e6 * prices.prompt:g} $ in, {1e6 * prices.output:g} $ out"
    return Price(prices.output, prompt, f"{each}, for a million tokens")


def price_of(run: Run, fit: FitDocument, usd_per_gpu_hour: float) -> Price:
    """By prices of tokens, else by the GPU-hours that were paid for, else by an assumed speed."""
    if hosted := hosted_price(run, fit.sampled or 0):
        return hosted
    hours = fit.cost.gpu_hours if fit.cost else None
    if hours and fit.tokens:
        usd = hours * usd_per_gpu_hour / fit.tokens
        return Price(usd, 0.0, f"{hours:.2f} GPU-hours at {usd_per_gpu_hour:g} $")
    usd = usd_per_gpu_hour / 3600 / ASSUMED_TOKENS_PER_SECOND
    rate = f"{ASSUMED_TOKENS_PER_SECOND:g} tokens/s"
    return Price(usd, 0.0, f"assumed: {rate} of a GPU at {usd_per_gpu_hour:g} $ an hour")
