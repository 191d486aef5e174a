"""Amounts as people say them."""


def how_many(number: int, one: str, many: str = "") -> str:
    """`1 problem`, `12 problems`. many: what follows other numbers; not given, `one` with an s."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def samples_each(low: int, high: int) -> str:
    """How many samples a problem has, the fewest and the most: `n = 50`, or `n = 3 to 50`."""
    return f"n = {low}" if low == high else f"n = {low} to {high}"
