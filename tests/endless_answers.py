"""LaTeX answers that take sympy very long, much memory, or for ever."""

SPREAD = " + ".join(f"x^{{{n}}}" for n in range(60, 1, -1))
MATRIX = r" \\ ".join(" & ".join(f"a_{{{i}{j}}}" for j in range(9)) for i in range(9))
CRAFTED = {
    "tower": "9^{9^{9^9}}",
    "factorial": "(10^7)!",
    "double factorial": "100000!!",
    "factorial of a factorial": "((7!)!)!",
    "sum": r"\sum_{k=1}^{10^9} \frac{1}{k}",
    "sum of factorials": r"\sum_{k=1}^{99999} k!",
    "product": r"\prod_{k=1}^{50000} k^{k}",
    "integral": r"\int_0^1 x^{x} \sin(x^{x}) e^{x^{x}} dx",
    "integral in an integral": r"\int_0^1 \int_0^y \int_0^z e^{x^2 y^3 z^4} dx dz dy",
    "binomial": r"\binom{10^7}{5000000}",
    "binomials": r"\binom{9999}{4999}^{9999}",
    "power of powers": "((((9^{999})^{999})^{999})^{999})",
    "exponent": "2^{2^{40}}",
    "expansion": "(x + y + z)^{3000} - (x - y)^{3000}",
    "limit": r"\lim_{x \to 0} \frac{\sin(x^{x^{x}})}{\tan(x^{x}) - x^{\sin x}}",
    "determinant": rf"\det \begin{{pmatrix}} {MATRIX} \end{{pmatrix}}",
}
"""The kinds that made math-verify alone run to any limit, and their neighbours."""
OURS = {
    "small power": "10^{-10^{10}}",
    "power of a factorial": "(2000!)^{2000}",
    "roots of a polynomial": f"{SPREAD} = 17",
    "nested sines": r"\sin(" * 50 + "x" + ")" * 50,
    "nested roots": r"\sqrt{x + " * 55 + "1" + "}" * 55,
    "continued fraction": r"\frac{1}{1 + " * 55 + "x" + "}" * 55,
    "tower of a symbol": "x^{" * 50 + "x" + "}" * 50,
    "root of a long number": r"\sqrt{" + "7" * 999 + "}",
    "sum of many": " + ".join(["1"] * 4000),
    "product of many": r" \cdot ".join(f"(x + {n})" for n in range(600)),
    "large set": r"\{" + ", ".join(map(str, range(3000))) + r"\}",
    "open brackets": "(" * 10_000,
    "fractions of nothing": r"\frac" * 3000,
    "nested indices": "a_{" * 3000 + "b" + "}" * 3000,
    "large percent": r"10^{99999}\%",
    "logarithm of logarithms": r"\log_{2}(3^{99999} + 7^{59999})^{1000}",
}
ENDLESS = CRAFTED | OURS
