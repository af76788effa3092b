"""Two domains that are learned from together have one class list; what differs is said by name."""

import pytest

from fewmask.core.errors import DataError
from fewmask.stores.images import require_same_classes


def test_one_class_list_is_fine() -> None:
    assert require_same_classes(["sky", "road"], ["sky", "road"]) is None


@pytest.mark.parametrize(
    ("source", "target", "difference"),
    [
        (["sky", "tram", "road"], ["sky", "road"], "source: only in the source: tram; expected"),
        (["sky"], ["sky", "road", "car"], "source: only in the target: road, car; expected"),
        (["sky", "van"], ["sky", "car"], "source: only in the source: van; only in the target: car; expected"),
        (
            ["sky", "car", "road"],
            ["sky", "road", "car"],
            "source: another order: where the target has road, the source has car; expected",
        ),
    ],
)
def test_what_differs_is_named(source: list[str], target: list[str], difference: str) -> None:
    with pytest.raises(DataError) as caught:
        require_same_classes(source, target)
    assert f"dataset.{difference}" in str(caught.value)
