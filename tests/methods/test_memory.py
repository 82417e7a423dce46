from __future__ import annotations

import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.stream.phases import ClassStream
from cimbench.datasets.stream.split import ProtocolParameters, make_split
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import HEADER_BYTES, Format
from cimbench.methods.compression.exemplars.store import ExemplarStore
from cimbench.methods.compression.none import NoCompression, NoneParameters
from cimbench.methods.memory.budget import Budget, BudgetParameters, mean_plain_cost
from cimbench.methods.memory.memory import BudgetExceededError, ExemplarMemory
from cimbench.methods.networks.network import Network, NetworkParameters
from tests.conftest import coloured_store, textured_images

UNITS = ("paper_units", "raw_bytes", "coded_bytes")


class DiagonalBoxes(Compressor):
    """Boxes that differ from image to image, from the pixels alone."""

    def __init__(self, ratio: float = 4.0) -> None:
        self.ratio = ratio

    def format(self, codec: Codec) -> Format:
        return Format(ratio=self.ratio, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        corners = torch.stack([images.image(i)[:, 0, 0].long() for i in range(len(images))])
        height, width = images.sizes.unbind(1)
        zero = torch.zeros_like(height)
        return Boxes.of(
            torch.stack([zero, zero, corners[:, 0] % (width // 2) + 1, corners[:, 0] % (height // 2) + 1], 1)
        )


def network() -> Network:
    values = NetworkParameters(architecture="resnet8", stem="small", width=2, input_side=16)
    made = Network(values, torch.Generator().manual_seed(0))
    made.head.grow(4, torch.Generator().manual_seed(0))
    return made


def ragged_store() -> ImageStore:
    images, labels, names, is_test = [], [], [], []
    for label in range(4):
        for number in range(10):
            images.append(textured_images(1, 12 + number % 3, 16 - label, 100 * label + number)[0])
            labels.append(label)
            names.append(f"{label}/{number}")
            is_test.append(number >= 8)
    classes = tuple("abcd")
    return ImageStore.from_images(
        images, labels, class_names=classes, names=tuple(names), is_test=torch.tensor(is_test)
    )


class ByMeanColour(ExemplarMemory):
    """Herding by colours, which no network has to learn."""

    def features(self, exemplars: ExemplarStore, network: Network) -> torch.Tensor:  # noqa: ARG002
        return mean_colour(exemplars)


def mean_colour(exemplars: ExemplarStore) -> torch.Tensor:
    return exemplars.batch(torch.arange(len(exemplars)), 16).float().mean((2, 3))


def memory_after(
    phases: int,
    unit: str,
    per_class: float,
    compressor: Compressor,
    sharing: str = "fixed_total",
    store: ImageStore | None = None,
    codec: str = "jpeg",
    fill: str | None = None,
) -> tuple[ExemplarMemory, ClassStream]:
    store = store or coloured_store()
    stream = ClassStream(store, make_split(store, ProtocolParameters(name="lfs", phases=4), 0))
    parameters = BudgetParameters(unit=unit, exemplars_per_class=per_class, sharing=sharing, codec=codec, fill=fill)
    budget = Budget(parameters=parameters, plain_cost=mean_plain_cost(store, parameters), classes=4)
    memory = ByMeanColour(budget, compressor, "herding")
    for index in range(phases):
        memory.remember(stream.phase(index), network(), torch.Generator())
        memory.audit(index + 1)
    return memory, stream


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("stores", ["uniform", "ragged"])
def test_the_budget_holds_in_every_unit_and_compression_holds_more(unit: str, stores: str) -> None:
    store = coloured_store() if stores == "uniform" else ragged_store()
    plain, _ = memory_after(4, unit, 2.0, NoCompression(NoneParameters()), store=store)
    packed, _ = memory_after(4, unit, 2.0, DiagonalBoxes(), store=store)
    assert plain.budget.total == packed.budget.total
    for memory in (plain, packed):
        account = memory.audit(4)
        assert account.spent <= account.limit <= account.budget
        assert account.bytes_held == len(memory.store.buffer) + account.shared_bytes
        assert account.shared_bytes == (625 if unit == "coded_bytes" else 0)
    if unit == "raw_bytes":
        assert len(packed) > len(plain)


def test_plain_exemplars_fill_their_raw_budget_exactly() -> None:
    memory, _ = memory_after(4, "raw_bytes", 3.0, NoCompression(NoneParameters()))
    account = memory.audit(4)
    assert account.exemplars == (3, 3, 3, 3)
    assert account.bytes_held == account.budget == 4 * 3 * (16 * 16 * 3 + HEADER_BYTES)


def test_paper_units_count_area_and_bytes_are_reported_beside_them() -> None:
    memory, _ = memory_after(1, "paper_units", 1.0, DiagonalBoxes())
    total = 0.0
    for index in range(len(memory)):
        x1, y1 = memory.store.content(index)[16:20].clone().view(torch.uint16).tolist()
        total += 1 - (1 - 1 / 4) * (1 - x1 * y1 / 256)
    assert memory.audit(1).spent == pytest.approx(total, abs=1e-12)
    assert total <= 4


def test_old_classes_shrink_to_prefixes_of_their_own_order() -> None:
    first, _ = memory_after(1, "raw_bytes", 2.0, DiagonalBoxes())
    later, _ = memory_after(4, "raw_bytes", 2.0, DiagonalBoxes())
    kept = [name for name, label in zip(later.names, later.store.labels.tolist(), strict=True) if label == 0]
    assert 0 < len(kept) < len(first)
    assert kept == first.names[: len(kept)]
    for index, name in enumerate(kept):
        assert torch.equal(later.store.content(index), first.store.content(first.names.index(name)))


def test_fixed_per_class_does_not_shrink() -> None:
    one, _ = memory_after(1, "raw_bytes", 2.0, NoCompression(NoneParameters()), "fixed_per_class")
    four, _ = memory_after(4, "raw_bytes", 2.0, NoCompression(NoneParameters()), "fixed_per_class")
    assert one.audit(1).exemplars == (2,)
    assert four.audit(4).exemplars == (2, 2, 2, 2)


def test_a_class_smaller_than_its_share_is_kept_whole_and_reported() -> None:
    memory, stream = memory_after(1, "raw_bytes", 12.0, NoCompression(NoneParameters()))
    account = memory.audit(1)
    assert account.exemplars == (len(stream.phase(0).train),) == (12,)
    assert account.exhausted_classes == 1
    assert account.spent < account.class_share


def test_replay_is_what_was_shown_to_herding_and_comes_from_the_buffer_alone() -> None:
    memory, stream = memory_after(2, "raw_bytes", 2.0, DiagonalBoxes())
    phase = stream.phase(1)
    label = int(phase.new_labels[0])
    mine = phase.train.subset(torch.nonzero(phase.train.labels == label).flatten())
    shown = memory.candidates(mine, network(), torch.Generator()).images()
    replay = memory.store.images()
    for index, name in enumerate(memory.names):
        if int(replay.labels[index]) == label:
            assert torch.equal(replay.image(index), shown.image(mine.names.index(name)))
    state = {name: value.clone() for name, value in memory.state_dict().items()}
    fresh, _ = memory_after(0, "raw_bytes", 2.0, DiagonalBoxes())
    fresh.load_state_dict(state)
    assert fresh.store.images().digest == replay.digest
    assert fresh.names == memory.names
    emptied = ExemplarStore(memory.store.buffer.zero_(), memory.store.lengths, memory.store.format)
    with pytest.raises(InputError, match="impossible header"):  # with the buffer everything is gone
        emptied.images()
    state["buffer"][50] ^= 1
    with pytest.raises(InputError, match="the saved memory does not match its digest"):
        fresh.load_state_dict(state)


@pytest.mark.parametrize("unit", UNITS)
def test_the_audit_raises_over_budget(unit: str) -> None:
    memory, _ = memory_after(4, unit, 2.0, NoCompression(NoneParameters()))
    memory.store = ExemplarStore.joined([memory.store, memory.store.subset(torch.tensor([0]))])
    with pytest.raises(BudgetExceededError, match="its share is"):
        memory.audit(4)


def test_the_audit_raises_for_bytes_without_a_header() -> None:
    memory, _ = memory_after(1, "raw_bytes", 2.0, NoCompression(NoneParameters()))
    more = torch.cat([memory.store.buffer, torch.zeros(5, dtype=torch.uint8)])
    memory.store = ExemplarStore(more, memory.store.lengths, memory.store.format)
    with pytest.raises(InputError, match=r"holds \d+ bytes, its exemplars account for"):
        memory.audit(1)


@pytest.mark.parametrize("value", [0, 0.5, -3, float("nan"), float("inf")])
def test_budgets_below_one_exemplar_are_refused(value: float) -> None:
    with pytest.raises(InputError, match=r"budget.exemplars_per_class is .* give 1 or more"):
        BudgetParameters(unit="raw_bytes", exemplars_per_class=value)


class EveryThirdUnguided(DiagonalBoxes):
    """Knows where to look on all but each class's every third image."""

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:
        found = super().boxes(images, network, random)
        return Boxes(found.xyxy, torch.arange(len(images)) % 3 == 0)

    def report(self) -> dict[str, float]:
        return {"third": 3.0}


def test_images_without_guidance_are_counted_phase_by_phase() -> None:
    memory, stream = memory_after(0, "raw_bytes", 2.0, EveryThirdUnguided())
    for index in range(4):
        memory.remember(stream.phase(index), network(), torch.Generator())
        account = memory.audit(index + 1)
        assert account.stored_whole == 4  # of the phase's 12 images
        assert account.chosen == {"third": 3.0}


def test_unknown_units_get_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"budget.fill is 'everything'; known: global"):
        BudgetParameters(unit="raw_bytes", exemplars_per_class=2, fill="everything")
    with pytest.raises(InputError, match="did you mean 'raw_bytes'"):
        BudgetParameters(unit="raw_byte", exemplars_per_class=2)


def test_shares_never_exceed_the_total() -> None:
    """LUCIR rounds the share up and overshoots (2040 of 2000)."""
    budget = Budget(
        parameters=BudgetParameters(unit="paper_units", exemplars_per_class=20), plain_cost=1.0, classes=100
    )
    assert budget.total == 2000
    for seen in range(1, 101):
        assert budget.limit(seen) <= budget.total
        assert budget.share(seen) == 2000 // seen


RAGGED = ragged_store()


@settings(max_examples=340, deadline=None)  # of three memories each
@given(
    unit=st.sampled_from(UNITS),
    per_class=st.floats(1, 6),
    ratio=st.floats(1.1, 64),
    sharing=st.sampled_from(["fixed_total", "fixed_per_class"]),
    codec=st.sampled_from(["jpeg", "webp"]),
    fill=st.sampled_from([None, "global"]),
)
def test_never_over_budget_and_always_prefixes(
    unit: str, per_class: float, ratio: float, sharing: str, codec: str, fill: str | None
) -> None:
    """Counted here by hand, from the bytes: headers by struct, the budget from the plain images' own cost."""
    shared = {"jpeg": 625, "webp": 27}[codec] if unit == "coded_bytes" else 0
    before: dict[str, list[str]] = {}
    for phases in (1, 2, 4):
        memory, _ = memory_after(phases, unit, per_class, DiagonalBoxes(ratio), sharing, RAGGED, codec, fill)
        spent = dict.fromkeys(range(phases), 0.0)
        content, position = memory.store.buffer.numpy().tobytes(), 0
        while position < len(content):
            height, width, *_, x0, y0, x1, y1, label, crop, small = struct.unpack_from("<10H3I", content, position)
            position += 32 + crop + small
            share = (x1 - x0) * (y1 - y0) / (height * width)
            spent[label] += share + (1 - share) / ratio if unit == "paper_units" else 32 + crop + small
        plain = {"paper_units": 1.0, "raw_bytes": 32 + 3 * 13 * 14.5}.get(unit, memory.budget.plain_cost)
        limit = per_class * (4 / phases if sharing == "fixed_total" else 1) * plain
        assert fill or max(spent.values()) <= limit * 1.01 + 1e-6  # sizes vary about their mean
        assert sum(spent.values()) <= max(0, memory.budget.total - shared)
        if sharing == "fixed_per_class":
            assert sum(spent.values()) <= max(0, memory.budget.total - shared) * phases / 4
        assert memory.budget.total <= per_class * 4 * plain * 1.01
        names: dict[str, list[str]] = {}
        for name in memory.names:
            names.setdefault(name.split("/")[0], []).append(name)
        for label, kept in names.items():
            assert label not in before or before[label][: len(kept)] == kept
        before |= names


@pytest.mark.parametrize(("sharing", "expected"), [("fixed_total", [200, 100, 50, 20]), ("fixed_per_class", [20] * 4)])
def test_nominal_exemplars_are_the_references_count(sharing: str, expected: list[int]) -> None:
    """floor(M / classes seen), whatever a whole image costs on average."""
    parameters = BudgetParameters(unit="raw_bytes", exemplars_per_class=20.0, sharing=sharing)
    budget = Budget(parameters=parameters, plain_cost=12320.37, classes=100)
    assert [budget.nominal(seen) for seen in (10, 20, 40, 100)] == expected
