"""How far a preparation has come: a file that grows with it, and never says of more than is safely on the disk."""

from __future__ import annotations

import json
import os
from array import array
from pathlib import Path

import torch
from torch import Tensor

Size = tuple[int, int]


class Journal:
    """Of each picture so far its length in bytes and its sizes (height, width), or what is wrong with it.

    On the disk it is a line of JSON for each picture, appended: a cut in the last line costs that picture alone.
    damaged: place -> reason. bytes: of all pictures so far.
    """

    def __init__(self, path: Path, held: int) -> None:
        """Go on from what `path` has, but no further than the `held` bytes of pictures that are there."""
        self.damaged: dict[int, str] = {}
        self.bytes = 0
        self._numbers = array("q")
        self._waiting: list[str] = []
        path.touch()
        self._file = path.open("r+b")
        end = 0
        for line in self._file:
            entry = _entry(line)
            if entry is None or (isinstance(entry, list) and self.bytes + entry[0] > held):
                break
            self._note(entry)
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)

    def __len__(self) -> int:
        return len(self._numbers) // 5

    def add(self, length: int, size: Size, original: Size) -> None:
        """The next picture."""
        self._append([length, *size, *original])

    def add_damaged(self, reason: str) -> None:
        """The next picture, which is none."""
        self._append(reason)

    def _append(self, entry: list[int] | str) -> None:
        self._note(entry)
        self._waiting.append(json.dumps(entry) + "\n")

    def _note(self, entry: list[int] | str) -> None:
        if isinstance(entry, str):
            self.damaged[len(self)] = entry
            self._numbers.extend((-1, 0, 0, 0, 0))
        else:
            self.bytes += entry[0]
            self._numbers.extend(entry)

    def save(self) -> None:
        """Append what came since the last time, and flush it to the disk; the pictures' bytes have to be there."""
        self._file.write("".join(self._waiting).encode())
        self._waiting.clear()
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Give the file back; what was not saved is lost."""
        self._file.close()

    def table(self) -> Tensor:
        """(N, 5) int64: length (-1 for a damaged picture), height and width as kept, and of the original."""
        return torch.tensor(self._numbers, dtype=torch.int64).reshape(-1, 5)


def _entry(line: bytes) -> list[int] | str | None:
    """A line's content; None where it was cut or is no such line."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    whole = isinstance(entry, list) and len(entry) == 5 and all(isinstance(n, int) and n >= 0 for n in entry)
    return entry if whole or isinstance(entry, str) else None
