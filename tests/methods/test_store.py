"""The byte store: what it holds, what it refuses, and that it comes back from the disk as it was."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from cimbench.datasets.arrays import save_arrays
from cimbench.datasets.errors import InputError
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import FIELDS, Format
from cimbench.methods.compression.exemplars.packing import pack
from cimbench.methods.compression.exemplars.store import ExemplarStore
from tests.conftest import textured_images

FORMS = [Format(ratio=4.0), Format(ratio=4.0, codec=Codec(name="jpeg")), Format(ratio=9.0, codec=Codec(name="webp"))]


def store(form: Format = FORMS[0]) -> ExemplarStore:
    """Three exemplars of 20 x 30 and two of 12 x 12."""
    one = pack(
        textured_images(3, 20, 30, 0), torch.tensor([[2, 3, 9, 9], [0, 0, 0, 0], [0, 0, 30, 20]]), torch.arange(3), form
    )
    two = pack(
        textured_images(2, 12, 12, 1), torch.tensor([[0, 0, 5, 12], [11, 11, 12, 12]]), torch.tensor([3, 0]), form
    )
    return ExemplarStore.joined([ExemplarStore.from_packed(batch, form) for batch in (one, two)])


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.codec.name)
def test_it_comes_back_from_the_disk(form: Format, tmp_path: Path) -> None:
    held = store(form)
    held.save(tmp_path / "memory.npz")
    back = ExemplarStore.load(tmp_path / "memory.npz")
    assert back.format == form
    assert back.digest == held.digest
    assert torch.equal(back.buffer, held.buffer)
    assert back.images().digest == held.images().digest
    assert back.labels.tolist() == [0, 1, 2, 3, 0]
    assert b"pickle" not in (tmp_path / "memory.npz").read_bytes()


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_flipped_bit_on_the_disk_is_seen(tmp_path: Path, place: float) -> None:
    path = tmp_path / "memory.npz"
    store().save(path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"memory.npz: (is damaged|content does not match its digest)"):
        ExemplarStore.load(path)
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"memory.npz: is damaged"):
        ExemplarStore.load(path)


def test_altered_content_with_good_checksums_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewritten archive passes its own checksums; the digest is over what was packed."""
    held = store()
    altered = ExemplarStore(held.buffer.clone(), held.lengths, held.format)
    altered.buffer[40] ^= 1
    monkeypatch.setattr(ExemplarStore, "digest", held.digest)
    altered.save(tmp_path / "memory.npz")
    monkeypatch.undo()
    with pytest.raises(InputError, match="content does not match its digest; it was altered"):
        ExemplarStore.load(tmp_path / "memory.npz")


def test_subsets_keep_bytes_and_order() -> None:
    held = store()
    part = held.subset(torch.tensor([4, 0, 2]))
    assert part.labels.tolist() == [0, 0, 2]
    for index, origin in enumerate([4, 0, 2]):
        assert torch.equal(part.content(index), held.content(origin))
        assert torch.equal(part.images().image(index), held.images().image(origin))
    both = ExemplarStore.joined([part, held.subset(torch.tensor([1]))])
    assert both.labels.tolist() == [0, 0, 2, 1]
    assert len(both.buffer) == int(both.lengths.sum())


def test_batches_are_squashed_to_one_side() -> None:
    held = store()
    batch = held.batch(torch.tensor([3, 0, 4]), 12)
    assert batch.shape == (3, 3, 12, 12)
    assert torch.equal(batch[0], held.images().image(3))
    assert torch.equal(batch[2], held.images().image(4))
    assert torch.equal(batch[1], held.images().resized(12)[0])


def test_exemplars_of_several_sizes_are_not_decoded_as_one_batch() -> None:
    with pytest.raises(InputError, match=r"sizes \[\[12, 12\], \[20, 30\]\]: decode those of one size at a time"):
        store().decoded(torch.tensor([0, 4]))
    assert store().decoded(torch.tensor([], dtype=torch.int64)).shape == (0, 3, 0, 0)


def test_another_file_is_no_store(tmp_path: Path) -> None:
    save_arrays(tmp_path / "images.npz", {"pixels": store().images().pixels.bytes.numpy()}, {})
    with pytest.raises(InputError, match=r"images.npz: holds no exemplars; name a file that ExemplarStore.save wrote"):
        ExemplarStore.load(tmp_path / "images.npz")


def test_an_empty_store() -> None:
    nothing = ExemplarStore.empty(FORMS[0])
    assert len(nothing) == 0
    assert nothing.labels.tolist() == []
    assert len(nothing.images()) == 0
    assert nothing.subset(torch.tensor([], dtype=torch.int64)).digest == nothing.digest


@pytest.mark.parametrize("kept", [3, 31, 40])
def test_cut_bytes_are_told(kept: int) -> None:
    held = store()
    with pytest.raises(InputError, match=r"holds \d+ bytes, its exemplars account for \d+; it is damaged"):
        ExemplarStore(held.buffer[:-kept], held.lengths, held.format).images()
    lengths = torch.tensor([kept])
    with pytest.raises(InputError, match=r"(of \d+ bytes has no header|has 40 bytes, its header says)"):
        ExemplarStore(held.buffer[:kept], lengths, held.format).images()


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in ("label", "crop_bytes", "small_bytes")])
@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_a_damaged_header_is_told(field: str, codec: str) -> None:
    """Any size or corner that is changed by 9 no longer belongs to the rest."""
    form = Format(ratio=4.0, codec=Codec(name=codec))
    held = store(form).subset(torch.tensor([0]))
    table = held.headers.table.clone()
    table[0, FIELDS.index(field)] += 9
    front = type(held.headers)(table).to_bytes()[0]
    broken = ExemplarStore(torch.cat([front, held.buffer[32:]]), held.lengths, form)
    with pytest.raises(InputError, match=r"impossible header|no jpeg picture|picture has"):
        broken.images()


def test_bytes_that_are_no_picture_are_told() -> None:
    """Of JPEG's own bytes nearly any are a picture: there the digest tells."""
    held = store(FORMS[2]).subset(torch.tensor([2]))
    held.buffer[32:] = 7
    with pytest.raises(InputError, match="bytes are no webp picture"):
        held.images()


def test_an_older_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """Version 1 stored hidden pixels and every picture's own tables."""
    held = store(FORMS[1])
    arrays = {"buffer": held.buffer.numpy(), "lengths": held.lengths.numpy()}
    save_arrays(tmp_path / "memory.npz", arrays, {"format": asdict(held.format), "digest": held.digest})
    with pytest.raises(InputError, match=r"memory.npz: exemplars in format 1; .* in format 2: .* cimbench run"):
        ExemplarStore.load(tmp_path / "memory.npz")


def test_a_library_with_other_tables_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures lack what their codec shares: with other tables they would be decoded to something else."""
    store(FORMS[1]).save(tmp_path / "memory.npz")
    monkeypatch.setattr(Codec, "shared", b"other tables")
    with pytest.raises(InputError, match=r"memory.npz: .* jpeg .* 12 bytes .* 625 .* the library that wrote it"):
        ExemplarStore.load(tmp_path / "memory.npz")
