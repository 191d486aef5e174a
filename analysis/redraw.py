"""Draw a figure of a fit anew, in today's style, from its fit.json alone.

python analysis/redraw.py RESULTS --figure fail_at_k [--out FIGURE]

The fonts of the PDF are TrueType, as journals want them.

RESULTS is a directory with fit.json, such as RUN/results. README's figures are of
analysis/readme/quickstart (fail_at_k) and analysis/readme/codegen (outcomes).
"""

from pathlib import Path

import matplotlib as mpl

from toolkit.cli import Parser, run_job
from toolkit.errors import EXIT_DONE, UsageError
from toolkit.report.document import read_fit
from toolkit.report.figures import figures_of
from toolkit.report.style import PAPER, save


def main() -> int:
    """One figure, to three files."""
    parser = Parser(__doc__ or "")
    parser.add_argument("results", type=Path, help="directory with a fit.json")
    parser.add_argument("--figure", default="fail_at_k", help="its name [fail_at_k]")
    parser.add_argument("--out", type=Path, help="figure, no suffix [the figure's name]")
    flags = parser.parse_args()
    with mpl.rc_context(PAPER):
        known = figures_of(read_fit(flags.results), None)
        if flags.figure not in known:
            names = ", ".join(known)
            raise UsageError(f"--figure {flags.figure}: {flags.results} has {names}")
        out = flags.out or Path(flags.figure)
        save(known[flags.figure], out)
    print(f"figure: {out}.png, .svg, .pdf")
    return EXIT_DONE


if __name__ == "__main__":
    run_job(main)
