"""What the parameters of learned masks may be."""

from __future__ import annotations

from typing import Any

import pytest

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.masks.adaptive import AdaptiveParameters


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate": 0.0}, "compressors.cim.rate is 0.0; give more than 0"),
        ({"gradient_norm": -1.0}, "compressors.cim.gradient_norm is -1.0"),
        ({"batch_size": 0}, "compressors.cim.batch_size is 0"),
        ({"micro_batch": 0}, "compressors.cim.micro_batch is 0"),
        ({"inner_ratio": 5.0}, "compressors.cim.inner_ratio is 5.0; give 1 to 4.0"),
        ({"levels": "three"}, "compressors.cim.levels is 'three'"),
        ({"activations": "last"}, "compressors.cim.activations is 'last'; did you mean 'last_block'"),
        ({"old_branches": "frozen"}, "compressors.cim.old_branches is 'frozen'"),
        ({"size_weight": -0.1}, "compressors.cim.size_weight is -0.1"),
        ({"threshold": 1.0}, "compressors.cim.threshold is 1.0"),
    ],
)
def test_bad_parameters_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        AdaptiveParameters(**values)
