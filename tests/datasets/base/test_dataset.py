"""The section ``dataset`` as people write it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fewmask.core.errors import ConfigError
from fewmask.core.params import Params
from fewmask.datasets.base.dataset import DatasetConfig, FilesConfig, NoSource, SourceConfig, StreetsConfig


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{kind: foldr, root: x}", "dataset.kind: found 'foldr'; expected: one of 'streets', 'folder'"),
        ("{root: x}", "dataset: "),
        ("{kind: folder, classes: [a, b]}", "dataset.root: missing"),
        ("{kind: folder, root: x, classes: [a]}", "dataset.classes: found ['a']; expected: "),
        ("{kind: folder, root: x, classes: [a, 3]}", "dataset.classes.1: found 3; expected: a valid string"),
        ("{kind: folder, root: x, classes: [a, b], ignore: -1}", "dataset.ignore: found -1"),
        ("{kind: folder, root: x, classes: [a, b], ignore: 256}", "dataset.ignore: found 256"),
        ("{kind: folder, root: x, classes: [a, b], ignor: 1}", "dataset.ignor: unknown key, did you mean 'ignore'?"),
        (
            "{kind: camvid, root: x, image_depth: clip}",
            "dataset.image_depth: found 'clip'; expected: 'refuse' or 'scale'",
        ),
        ("{kind: camvid, root: x, size: [360]}", "dataset.size.1: missing"),
        ("{kind: camvid, root: x, tags: [a]}", "dataset.tags: found ['a']; expected: a valid string"),
        ("{kind: streets, tags: tags.csv}", "dataset.tags: found 'tags.csv'; expected: 'masks'"),
        (
            "{kind: streets, source: {kind: streets, look: game, tags: masks}}",
            "dataset.source: found tags in a source; expected none, since its masks are learned. Remove its 'tags'",
        ),
        ("{kind: camvid, root: x, size: [0, 480]}", "dataset.size.0: found 0"),
        ("{kind: camvid, root: x, colours: [[1, 2, 3]]}", "dataset.colours: unknown key"),
        ("{kind: streets, train: 0}", "dataset.train: found 0"),
        ("{kind: streets, sparse: 2}", "dataset.sparse: found 2"),
        ("{kind: cityscapes, root: x, fit: crop}", "dataset.fit: found 'crop'; expected: 'stretch', 'blocks' or 'pad'"),
        ("{kind: cityscapes, root: x, augmented: true}", "dataset.augmented: unknown key"),
        ("{kind: voc, root: x, augmented: 1}", "dataset.augmented: found 1"),
        ("{kind: voc}", "dataset.root: missing"),
        ("{kind: none}", "dataset.kind: found 'none'; expected: one of 'streets', 'folder'"),
        ("{kind: streets, source: {kind: voc}}", "dataset.source.root: missing"),
        (
            "{kind: streets, source: {kind: streets, trian: 1}}",
            "dataset.source.trian: unknown key, did you mean 'train'",
        ),
        (
            "{kind: streets, source: {kind: streets, source: {kind: none}}}",
            "dataset.source: found a source inside a source; expected one source domain. Remove the inner 'source'.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_key(write_params: Callable[[str], Path], text: str, problem: str) -> None:
    path = write_params(f"dataset: {text}\n")
    with pytest.raises(ConfigError) as caught:
        Params(path).section("dataset", DatasetConfig)
    assert f"{path}:1: {problem}" in str(caught.value)


def test_a_source_alone_has_no_source_either(write_params: Callable[[str], Path]) -> None:
    """`prepare-source` reads dataset.source and nothing above it."""
    path = write_params("dataset:\n  source: {kind: streets, source: {kind: none}}\n")
    with pytest.raises(ConfigError, match=r":2: dataset\.source: found a source inside a source"):
        Params(path).section("dataset.source", SourceConfig)


def test_without_a_word_there_is_no_source(write_params: Callable[[str], Path]) -> None:
    config = Params(write_params("dataset: {kind: streets}")).section("dataset", DatasetConfig)
    assert config.source == NoSource()
    assert Path(config.source.root).is_file()


def test_without_a_word_there_are_no_tags(write_params: Callable[[str], Path]) -> None:
    for text in ("{kind: streets}", "{kind: camvid, root: x}", "{kind: camvid, root: x, tags: null}"):
        assert Params(write_params(f"dataset: {text}")).section("dataset", DatasetConfig).tags is None


def test_a_size_is_height_and_width(write_params: Callable[[str], Path]) -> None:
    config = Params(write_params("dataset: {kind: streets, size: [96, 128]}")).section("dataset", DatasetConfig)
    assert isinstance(config, StreetsConfig)
    assert config.size == (96, 128)


@pytest.mark.parametrize(
    ("text", "fit", "size"),
    [
        ("{kind: folder, root: x, classes: [a, b]}", "stretch", None),
        ("{kind: camvid, root: x}", "stretch", None),
        ("{kind: cityscapes, root: x}", "blocks", None),
        ("{kind: voc, root: x}", "pad", (505, 505)),
        ("{kind: pascal_context, root: x}", "pad", (505, 505)),
        ("{kind: gta5, root: x}", "stretch", (526, 957)),
    ],
)
def test_each_kind_has_its_way_to_the_working_size(
    write_params: Callable[[str], Path], text: str, fit: str, size: tuple[int, int] | None
) -> None:
    config = Params(write_params(f"dataset: {text}\n")).section("dataset", DatasetConfig)
    assert isinstance(config, FilesConfig)
    assert (config.fit, config.size) == (fit, size)
