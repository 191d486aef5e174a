"""What a report cites: the sources of its methods, and the toolkit itself as BibTeX."""

from collections.abc import Iterator

from toolkit import __version__
from toolkit.report.blocks import Block, Bullets, Code, Heading, Paragraph
from toolkit.report.document import FitDocument

AUTHORS = "Inference scaling toolkit contributors"
BEFORE_DATES = "2026"
"""The year of results that do not know their date."""


def reference_blocks(document: FitDocument) -> Iterator[Block]:
    """The methods that this report has used, each with a link, and how to cite the toolkit."""
    yield Heading("Methods and citation")
    yield Bullets([f"{what}: [{who}]({link})." for what, who, link in _sources(document)])
    yield Paragraph("To cite the toolkit (CITATION.cff in its repository says the same):")
    yield Code(bibtex((document.date or BEFORE_DATES)[:4]))


def bibtex(year: str) -> str:
    """The entry of this version of the toolkit."""
    return (
        "@software{inference_scaling_toolkit,\n"
        f"  author  = {{{{{AUTHORS}}}}},\n"
        "  title   = {Inference scaling toolkit},\n"
        f"  version = {{{__version__}}},\n"
        f"  year    = {{{year}}}\n"
        "}"
    )


def _sources(document: FitDocument) -> Iterator[tuple[str, str, str]]:
    """What is used, who has described it, and where."""
    arxiv = "https://arxiv.org/abs/"
    yield "Unbiased pass@k", "Chen et al. 2021, equation 1", f"{arxiv}2107.03374"
    yield "Repeated sampling, exp(a k^b)", "Brown et al. 2024", f"{arxiv}2407.21787"
    doi = "https://doi.org/"
    yield "Bayesian bootstrap", "Rubin 1981", f"{doi}10.1214/aos/1176345338"
    yield "Exact binomial interval", "Clopper and Pearson 1934", f"{doi}10.1093/biomet/26.4.404"
    yield "Power laws from single problems", "Schaeffer et al. 2025", f"{arxiv}2502.17578"
    yield "Scaled beta-binomial", "Kazdan et al. 2025", f"{arxiv}2510.05197"
    if document.model_free:
        where = f"{doi}10.1080/01621459.2021.2008403"
        yield "Model-free interval (F-localisation)", "Ignatiadis and Wager 2022", where
    if document.consistency:
        yield "pass^k", "Yao et al. 2024", f"{arxiv}2406.12045"
        yield "G-Pass@k", "Liu et al. 2024", f"{arxiv}2412.13147"
        yield "Cover@tau", "Dragoi et al. 2025", f"{arxiv}2510.08325"
        yield "Credible intervals of these problems", "Hariri et al. 2025", f"{arxiv}2510.04265"
    if document.weak_tests:
        yield "Ceiling by weak tests", "Stroebl et al. 2024", f"{arxiv}2411.17501"
