"""The roof: the most output tokens a second that a model can give on a GPU.

Each decoding step makes one token of each of B running sequences. It must

- read the weights once: W bytes;
- multiply: two operations for each weight and sequence, 2 P B;
- read the keys and values of all sequences: B C kv bytes, for a context of C tokens.

With memory of M bytes a second and F operations a second a step takes at least

    t = max(W / M, 2 P B / F) + B C kv / M      (`Roof.step_seconds`)

Here reading weights overlaps with multiplying, but attention with neither. No prompt is shared. So
it is a reference, not a strict bound. The strict bound has full overlap:

    t = max((W + B C kv) / M, 2 P B / F)        (`Roof.overlapped_seconds`)

This is the roofline (Williams, Waterman and Patterson, CACM 52(4), 2009) of decoding, see Pope et
al., arXiv 2211.05102, section 2. What attention multiplies is left out: it is small beside what it
reads. So are embeddings of the input: a step reads B rows of them.

Of a mixture of experts a step reads the experts that any sequence needs. With k of E experts for
each token, at random, that is a share 1 - (1 - k/E)^B of them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """What a decoding step reads and multiplies.

    - dense: weights that every token needs, without the input's embeddings.
    - experts: weights of all experts together; 0 without experts.
    - expert_share: the share of the experts that one token needs, k / E.
    - weight_bytes: bytes of one weight. kv_bytes: bytes of the keys and values of one token.
    """

    dense: float
    kv_bytes: float
    weight_bytes: float = 2.0
    experts: float = 0.0
    expert_share: float = 1.0

    def multiplied(self) -> float:
        """Weights that one token is multiplied with."""
        return self.dense + self.experts * self.expert_share

    def read(self, sequences: float) -> float:
        """Bytes of weights that a step of so many sequences reads, on average."""
        touched: float = 1 - (1 - self.expert_share) ** sequences
        return (self.dense + self.experts * touched) * self.weight_bytes


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU by its data sheet. Both rates are of one second; flops: dense, in 16 bits."""

    name: str
    bandwidth: float
    flops: float
    memory_gib: float
    source: str


CARDS = (
    Card("A10", 600e9, 125e12, 24, "NVIDIA A10 data sheet, 2021"),
    Card("L4", 300e9, 121e12, 24, "NVIDIA L4 data sheet, 2023: 242 TFLOPS with sparsity"),
    Card("L40S", 864e9, 362e12, 48, "NVIDIA L40S data sheet, 2023"),
    Card("A100-40GB", 1.555e12, 312e12, 40, "NVIDIA A100 data sheet, 2021: SXM and PCIe, 40 GB"),
    Card("A100-80GB", 2.039e12, 312e12, 80, "NVIDIA A100 data sheet, 2021: SXM, 80 GB"),
    Card("A100-80GB-PCIe", 1.935e12, 312e12, 80, "NVIDIA A100 data sheet, 2021: PCIe, 80 GB"),
    Card("H100", 3.35e12, 989e12, 80, "NVIDIA H100 data sheet, 2023: SXM; half of the sparse rate"),
    Card("H100-PCIe", 2.0e12, 756e12, 80, "NVIDIA H100 data sheet, 2023: PCIe"),
    Card("H100-NVL", 3.9e12, 835e12, 94, "NVIDIA H100 data sheet, 2023: NVL"),
    Card("H200", 4.8e12, 989e12, 141, "NVIDIA H200 data sheet, 2024: SXM"),
    Card("B200", 8.0e12, 2250e12, 180, "NVIDIA DGX B200 data sheet, 2024: an eighth of it"),
)
"""The cards that are known, with the source of their rates."""


@dataclass(frozen=True, slots=True)
class Roof:
    """A model on so many cards that hold it together.

    sequences: how many run at the same time. context: tokens of each, prompt and completion so far,
    on average over the steps.
    """

    shape: Shape
    card: Card
    sequences: float
    context: float
    cards: int = 1

    def _parts(self) -> tuple[float, float, float]:
        """Seconds to read the weights, to multiply, and to read keys and values."""
        bandwidth, flops = self.card.bandwidth * self.cards, self.card.flops * self.cards
        return (
            self.shape.read(self.sequences) / bandwidth,
            2 * self.shape.multiplied() * self.sequences / flops,
            self.sequences * self.context * self.shape.kv_bytes / bandwidth,
        )

    @property
    def step_seconds(self) -> float:
        """The reference: weights and multiplication overlap, attention comes after them."""
        read, multiply, attend = self._parts()
        return max(read, multiply) + attend

    @property
    def overlapped_seconds(self) -> float:
        """The bound: everything overlaps."""
        read, multiply, attend = self._parts()
        return max(read + attend, multiply)

    @property
    def tokens_per_second(self) -> float:
        """Output tokens a second of all cards together, by `step_seconds`."""
        return self.sequences / self.step_seconds

    @property
    def bound(self) -> float:
        """Output tokens a second of all cards together, by `overlapped_seconds`."""
        return self.sequences / self.overlapped_seconds


def card_of(device: str) -> Card | None:
    """The card of a device's name, as the driver or a data sheet writes it. None: not known.

    Such as "NVIDIA A100-SXM4-40GB", "NVIDIA H100 80GB HBM3", "NVIDIA L40S", or a name in `CARDS`.
    """
    by_name = {card.name: card for card in CARDS}
    if device in by_name:
        return by_name[device]
    words = device.upper().replace("-", " ").split()
    known = [card for card in CARDS if card.name.upper().split("-")[0] in words]
    if not known:
        return None
    family = known[0].name.split("-")[0]
    variants = [family]
    if family == "A100":
        size = "80GB" if "80GB" in words else "40GB"
        variants = [f"A100-{size}"]
    for form in ("PCIE", "NVL"):
        if form in words:
            variants.insert(0, f"{variants[-1]}-{'PCIe' if form == 'PCIE' else form}")
    return next((by_name[name] for name in variants if name in by_name), None)
