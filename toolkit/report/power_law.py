"""The report's section on the power law: the verdict, its reasons, and the slopes."""

from collections.abc import Iterator

from toolkit.report.blocks import Block, Bullets, Paragraph, Table, number, span
from toolkit.report.document import FitDocument
from toolkit.stats.inference import FLOOR_CRITICAL
from toolkit.stats.power_law import PowerLaw, in_words


def power_law_blocks(document: FitDocument) -> Iterator[Block]:
    """The verdict on the tail and on all k, the slopes, and what the beta-binomial says."""
    found = document.power_law
    yield Paragraph(f"Power law{_tail(found)}: {found.verdict}.", warning=found.supported is False)
    if found.reasons:
        yield Bullets(found.reasons)
    if found.tail_from:
        yield Paragraph(
            f"Straight from k = 1 on: {in_words(found.from_one)}, since {found.from_one_reason}."
        )
        yield from _slope_range(found)
        yield Paragraph(
            "*Supported* says that no floor and no bend that the counts leave open changes the "
            "slope much; *not supported* says that a test rejects a power law; *cannot tell* says "
            "neither. How often each is given for known laws is in docs/power-law.md."
        )
    rows = [[f"{s.from_} to {s.to}", number(s.estimate), span(s.lo, s.hi)] for s in document.slopes]
    if rows:
        yield Table(["k", "slope", "95 %"], rows)
    else:
        yield Paragraph("No whole decade of k has a slope whose error can be estimated.")
    yield from _beta_binomial(document)


def _tail(found: PowerLaw) -> str:
    """Of which k the verdict speaks; nothing in older results."""
    if found.tail_from is None or found.tail_to is None:
        return ""
    if found.tail_to <= found.tail_from:
        return f", in the tail (from k = {found.tail_from} on)"
    return f", in the tail (k = {found.tail_from} to {found.tail_to})"


def _beta_binomial(document: FitDocument) -> Iterator[Block]:
    """Where its slope goes, whether it fits, and whether there is a floor."""
    if document.law is None:
        why = "Of a single problem" if document.problems == 1 else "Where all samples agree,"
        yield Paragraph(
            f"{why} the counts say nothing of how pass probabilities are spread. So there is no "
            "exponent, and no test of a law."
        )
        return
    exponent = document.exponent
    yield Paragraph(
        "For large k the beta-binomial (MAP: maximum a posteriori) tends to a slope of "
        f"-{number(exponent.estimate)} (95 %: -{number(exponent.hi)} to "
        f"-{number(exponent.lo)}). A measured slope may still be on its way there."
    )
    if document.goodness_of_fit is not None:
        yield Paragraph(
            f"Goodness of fit of the beta-binomial, by parametric bootstrap: "
            f"p = {document.goodness_of_fit:.3f}. It says whether that model can be used, and "
            "nothing on a power law."
        )
    ratio = document.floor_likelihood_ratio
    if ratio is not None:
        said = "A floor is found" if ratio > FLOOR_CRITICAL else "No floor is found"
        yield Paragraph(
            "A floor is a share of problems that can never be solved. Likelihood-ratio test for a "
            f"floor: {ratio:.2f}. {said} (critical at 5 %: {FLOOR_CRITICAL}). The test takes the "
            "rest for a Beta. It is weak: with 164 problems of one Beta it found a floor of 3 % in "
            "20 % of simulations at n = 100, in 47 % at n = 1,000 and in 76 % at n = 10,000."
        )


def _slope_range(found: PowerLaw) -> Iterator[Block]:
    """The effect size; nothing where there are under two decades."""
    for name, spread in (("in the tail", found.slope_range), ("over all k", found.from_one_range)):
        if spread:
            yield Paragraph(
                f"Range of the slopes of decades {name} (largest less smallest): "
                f"{number(spread.estimate)}; 95 %, simultaneous over decades: "
                f"{span(spread.lo, spread.hi)}."
            )
