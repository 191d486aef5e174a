"""What programs in place of Slurm's answer."""


def shows(*rows):
    """squeue's answer in shell."""
    return "cat <<'END'\n" + "".join(f"{row}|\n" for row in rows) + "END"
