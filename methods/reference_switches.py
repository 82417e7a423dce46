"""For each known defect of a reference code: mend it, or reproduce it."""

from __future__ import annotations

# of a defect of a reference code: mended, or as it is there
FIDELITIES = ("corrected", "reference")
