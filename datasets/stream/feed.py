"""Pictures on the learner's device, batch by batch: small sets rest there, large ones are read while it learns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError, check_at_least, check_choice
from cimbench.datasets.images.image_store import ImageStore, resized, squashed
from cimbench.datasets.images.threads import readers, runs, single_threaded_pool

Item = TypeVar("Item")
Made = TypeVar("Made")
DECODERS = ("cpu", "device")
_LAYOUT: dict[str, Any] = {"dtype": torch.uint8, "memory_format": torch.channels_last}  # one for every feed


@dataclass(frozen=True, kw_only=True)
class FeedParameters:
    """resident_bytes: largest set (pixels at the side that is learnt) that rests on the device; larger ones are read
    from the disk batch by batch, `ahead` of them before they are needed. Neither changes a number.

    decoder: of the JPEG bytes that are learnt: "cpu", by threads, or "device", nvJPEG, whose pixels differ in rounding
    and which therefore reads every set batch by batch. Boxes and evaluation see the CPU's pixels in either case.
    """

    resident_bytes: int = 4_000_000_000
    ahead: int = 4
    decoder: str = "cpu"

    def __post_init__(self) -> None:
        check_at_least("feed.resident_bytes", self.resident_bytes, 0)
        check_at_least("feed.ahead", self.ahead, 1)
        check_choice("feed.decoder", self.decoder, DECODERS)


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Small values from the CPU on the device; on a GPU by way of pinned memory, so that the host does not wait."""
    if device.type != "cuda" or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class Feed(ABC):
    """N pictures by their numbers, squashed to `side` pixels, on `device`. ahead: batches to be made early, or 0."""

    ahead: int = 0
    side: int
    device: torch.device

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, indices: Tensor) -> Tensor:
        """(B, 3, side, side) uint8 on the device, channels last on a CPU, for (B,) int64 numbers."""

    def resized_batch(self, indices: Tensor, side: int) -> Tensor:
        """`batch` at another side."""
        images = self.batch(indices)
        return images if side == self.side else resized(images, side)


class Resident(Feed):
    """All pictures rest on the device."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels, self.side, self.device = pixels, pixels.shape[-1], pixels.device

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Tensor) -> Tensor:
        """A copy of these pictures."""
        return self.pixels[sent(indices, self.device)]


class Streamed(Feed):
    """Pictures are read from their store and squashed by threads when they are asked for."""

    def __init__(self, store: ImageStore, side: int, device: torch.device, parameters: FeedParameters) -> None:
        self.store, self.side, self.device, self.ahead = store, side, device, parameters.ahead
        self._decodes_there = parameters.decoder == "device"

    def __len__(self) -> int:
        return len(self.store)

    def batch(self, indices: Tensor) -> Tensor:
        """Read, decoded, squashed and sent now."""
        numbers = indices.tolist()
        if self._decodes_there and numbers:
            return self._decoded_there(numbers)
        there = self.device.type == "cuda"
        images = torch.empty(self._shape(numbers), **_LAYOUT, pin_memory=there)

        def place(positions: range) -> None:
            for position in positions:
                images[position] = squashed(self.store.image(numbers[position]), self.side)

        list(readers().map(place, runs(len(numbers))))
        return images.to(self.device, non_blocking=True) if there else images

    def _shape(self, numbers: list[int]) -> tuple[int, ...]:
        return len(numbers), 3, self.side, self.side

    def _decoded_there(self, numbers: list[int]) -> Tensor:
        """By nvJPEG; squashed there, pictures of one size together."""
        from torchvision.io import ImageReadMode, decode_jpeg

        content = [self.store.pixels.content(number) for number in numbers]
        torch.cuda.current_stream(self.device).synchronize()  # nvJPEG writes on streams of its own
        try:
            decoded = decode_jpeg(content, mode=ImageReadMode.RGB, device=self.device)
        except RuntimeError as error:
            shown = ", ".join(self.store.names[number] for number in numbers[:3])
            raise InputError(
                f"{self.store.pixels.origin}: a picture of {shown}, ... cannot be decoded by nvJPEG ({error}); see "
                "`cimbench verify`, or set feed.decoder to cpu"
            ) from error
        images = torch.empty(self._shape(numbers), **_LAYOUT, device=self.device)
        sizes: dict[tuple[int, ...], list[int]] = {}
        for position, image in enumerate(decoded):
            sizes.setdefault(tuple(image.shape), []).append(position)
        for positions in sizes.values():
            stacked = torch.stack([decoded[position] for position in positions])
            images[positions] = squashed(stacked, self.side)
        return images


def feed_of(store: ImageStore, side: int, device: torch.device, parameters: FeedParameters, copies: int = 1) -> Feed:
    """A store's pictures at `side` pixels: resting on the device where `copies` of them fit into resident_bytes.

    InputError where parameters.decoder is the device and it cannot decode these.
    """
    if parameters.decoder == "device":
        if device.type != "cuda" or store.pixels.encoding != "jpeg":
            raise InputError(
                "feed.decoder is 'device', but nvJPEG decodes JPEG bytes on a GPU alone; set it to cpu, or "
                "dataset.prepare.encoding to jpeg and device to cuda"
            )
        return Streamed(store, side, device, parameters)
    if copies * 3 * side * side * len(store) <= parameters.resident_bytes:
        return Resident(store.resized(side).to(device))
    return Streamed(store, side, device, parameters)


def prefetched(make: Callable[[Item], Made], items: Iterable[Item], ahead: int, device: torch.device) -> Iterator[Made]:
    """make(item) for each item in order, each made by one thread up to `ahead` items before it is asked for.

    What is made may depend on nothing that the taker changes meanwhile. An error is raised where its item's turn comes.
    On a GPU it is made on a stream of its own, for which the taker's waits.
    """
    made = _on_a_stream_of_its_own(make, device) if device.type == "cuda" else lambda item: (make(item), None)
    waiting: deque[Future[tuple[Made, torch.cuda.Event | None]]] = deque()
    readers()  # begun here, since what is begun in another thread takes that one's number of threads
    with single_threaded_pool(1, "prefetcher") as thread:
        try:
            for item in items:
                waiting.append(thread.submit(made, item))
                if len(waiting) > ahead:
                    yield _taken(waiting.popleft(), device)
            while waiting:
                yield _taken(waiting.popleft(), device)
        finally:
            for left in waiting:
                left.cancel()


def _taken(future: Future[tuple[Made, torch.cuda.Event | None]], device: torch.device) -> Made:
    """What was made; the taker's stream waits until it is there."""
    found, done = future.result()
    if done is not None:
        torch.cuda.current_stream(device).wait_event(done)
    return found


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One a device: memory that is kept for a stream is of no use to another."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call, no-any-return]


def _on_a_stream_of_its_own(
    make: Callable[[Item], Made], device: torch.device
) -> Callable[[Item], tuple[Made, torch.cuda.Event | None]]:
    stream, taker = _side_stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(taker)  # what is read there, labels and exemplars, is whole

    def made(item: Item) -> tuple[Made, torch.cuda.Event | None]:
        with torch.cuda.stream(stream):
            found = make(item)
            for part in found if isinstance(found, tuple) else (found,):
                if isinstance(part, Tensor):
                    part.record_stream(taker)  # its memory is not given to another before the taker is done
            return found, stream.record_event()

    return made
