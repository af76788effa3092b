"""Who is labelled, with which masks: true masks of labelled images alone, pseudo-labels for the joined ones."""

import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fewmask.core.errors import ArtefactError, DataError
from fewmask.learning.config import JoinedLabelsConfig, TwoDomainsConfig, UnlabelledConfig
from fewmask.learning.data import (
    TrainingData,
    joined_batches,
    labelled_batches,
    pseudo_labelled_batches,
    tagged_batches,
)
from fewmask.nets.base.normalise import Normalise
from fewmask.stores.images import Images, write_images
from fewmask.stores.labels import Labelled, write_labels
from fewmask.stores.split import Split
from stages import fit

UNIT = Normalise((0.0, 0.0, 0.0), (1 / 255,) * 3)
STILL = {"scales": [1.0], "flip": 0.0, "shift": 0}


BUILDERS = {"join": joined_batches, "labels": pseudo_labelled_batches}


class Config(JoinedLabelsConfig, TwoDomainsConfig, UnlabelledConfig):
    """Every key that has a say in batches; each is used by the builders it concerns."""

    unlabelled: int = 0


def config(**changes) -> Config:
    return Config.model_validate({"steps": 1, "batch": 4, "optimiser": {"lr": 0.1}, "views": STILL, **changes})


def data(images: Images, split: Split, source: Images | None = None) -> TrainingData:
    return TrainingData(images, split, UNIT, 0, source)


@pytest.fixture
def images(image_store):
    with Images(image_store(train=6, validation=1, test=1)) as store:
        yield store


@pytest.fixture
def split(images):
    return Split(0, images.ids[:2], images.ids[2:6], images.ids[6:7], images.ids[7:], "test")


def constant(stems, value, size=(12, 16)) -> list[Labelled]:
    return [Labelled(stem, np.full(size, value, np.uint8), np.zeros(size, np.uint8)) for stem in stems]


def test_joined_images_are_one_shuffled_set_and_count_for_no_weight(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled, 2))
    alone = labelled_batches(data(images, split), config())
    joined = joined_batches(data(images, split), config(), store)
    ((pool, count),) = joined.streams
    assert (len(pool.images), count) == (6, 4)
    assert (pool.masks[2:] == 2).all()
    assert np.array_equal(pool.masks[:2].numpy(), images.stack(split.labelled, "mask"))
    assert joined.counts.per_class.tolist() == alone.counts.per_class.tolist()
    assert joined.counts.total == alone.counts.total


def test_a_fixed_number_of_pseudo_labelled_images_a_batch(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled, 2))
    batches = joined_batches(data(images, split), config(pseudo=1), store)
    y = batches(0).y_l
    assert len(y) == 4
    assert (y[3] == 2).all()
    assert batches(0).joined == 1
    true = images.stack(split.labelled, "mask").tolist()
    assert all(mask.tolist() in true for mask in y[:3])


def test_joining_nothing_gives_the_supervised_batches(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled, 255))
    alone = labelled_batches(data(images, split), config())
    for pseudo in (None, 2):
        joined = joined_batches(data(images, split), config(pseudo=pseudo), store)
        assert all((joined(step).x_l == alone(step).x_l).all() for step in range(3))
        assert all((joined(step).y_l == alone(step).y_l).all() for step in range(3))
        assert joined(0).joined == 0


def test_a_store_of_another_split_or_class_list_is_refused_before_training(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled[1:], 0))
    with pytest.raises(ArtefactError, match=r"lacks 1 of 4 images, such as 'i002'"):
        joined_batches(data(images, split), config(), store)
    images.class_names = ["sky", "road", "lorry"]
    with pytest.raises(ArtefactError, match=r"expected .*lorry"):
        joined_batches(data(images, split), config(), store)


def test_masks_without_a_label_are_refused(image_store, image_rows):
    rows = [(name, role, image, np.full_like(mask, 255)) for name, role, image, mask in image_rows(train=2)]
    with Images(image_store(rows=rows)) as images, pytest.raises(DataError, match="no labelled pixel"):
        labelled_batches(data(images, Split(0, images.ids[:2], [], [], [], "test")), config())


def test_unlabelled_images_are_wanted_but_there_are_none(images, split):
    bare = Split(0, split.labelled, [], split.validation, split.test, "test")
    with pytest.raises(DataError, match="no unlabelled image"):
        labelled_batches(data(images, bare), config(unlabelled=2))
    batches = labelled_batches(data(images, bare), config(unlabelled=2, unlabelled_pool="all"))
    shown = {tuple(image.flatten().tolist()) for image in batches.unlabelled[0].images}
    assert shown == {tuple(image.flatten().tolist()) for image in images.stack(split.labelled)}
    assert (batches.unlabelled[0].masks == 255).all()


def test_labels_stand_beside_the_masks_and_true_masks_of_unlabelled_images_are_never_read(images, split, label_store):
    training = [*split.labelled, *split.unlabelled]
    items = [item for number, stem in enumerate(training) for item in constant([stem], number % 3)]
    store = label_store([], items=items)
    batches = pseudo_labelled_batches(data(images, split), config(unlabelled=3), store)
    alone = labelled_batches(data(images, split), config(unlabelled=3))
    batch, bare = batches(0), alone(0)
    assert bare.p_l is None
    assert bare.p_u is None
    assert (batch.x_l == bare.x_l).all()
    assert (batch.y_l == bare.y_l).all()
    assert (batch.x_u == bare.x_u).all()
    stack = {name: images.stack([name])[0].transpose(2, 0, 1) for name in training}
    for x, p in [*zip(batch.x_l, batch.p_l, strict=True), *zip(batch.x_u, batch.p_u, strict=True)]:
        (number,) = [n for n, name in enumerate(training) if np.abs(x.numpy() - stack[name]).max() < 0.01]
        assert (p == number % 3).all()
    assert (alone.unlabelled[0].masks == 255).all()


@pytest.mark.parametrize(("who", "first"), [("unlabelled", 2), ("all", 0)])
def test_who_the_unlabelled_images_are(images, split, who, first):
    """``all``: the whole training set; a long epoch visits each of its images once."""
    chosen = config(unlabelled=1, unlabelled_pool=who)
    batches = labelled_batches(data(images, split), chosen)
    training = images.ids[first:6]
    seen = {tuple(batches(step).x_u[0].round().flatten().int().tolist()) for step in range(len(training))}
    assert seen == {tuple(images.stack([name])[0].transpose(2, 0, 1).flatten().tolist()) for name in training}


def test_labels_have_to_cover_labelled_images_too(images, split, label_store):
    store = label_store([], items=constant(split.unlabelled, 0))
    with pytest.raises(ArtefactError, match=r"labels.h5: lacks 2 of 2 images, such as 'i000'"):
        pseudo_labelled_batches(data(images, split), config(), store)


@pytest.mark.parametrize("option", ["join", "labels"])
def test_a_store_labelled_after_another_split_is_refused(images, split, tmp_path, option):
    """The same images, but a network that saw other true masks: its labels would leak them."""
    path = tmp_path / "labels.h5"
    other = Split(1, split.unlabelled, split.labelled, split.validation, split.test, "test")
    items = constant([*split.labelled, *split.unlabelled], 0)
    write_labels(path, items, images.class_names, "f" * 64, {"split": split.digest})
    BUILDERS[option](data(images, split), config(), path)
    write_labels(path, items, images.class_names, "f" * 64, {"split": other.digest})
    with pytest.raises(ArtefactError, match=r"labels.h5: labelled by a network of another split"):
        BUILDERS[option](data(images, split), config(), path)


def test_labels_of_another_size_are_refused(images, split, label_store):
    store = label_store([], items=constant([*split.labelled, *split.unlabelled], 0, (6, 8)))
    with pytest.raises(ArtefactError, match=r"labels images of \[\[6, 8\]\]; expected \[12, 16\]"):
        pseudo_labelled_batches(data(images, split), config(), store)


def test_a_damaged_store_is_refused(images, split, label_store):
    store = label_store([], items=constant([*split.labelled, *split.unlabelled], 0))
    content = bytearray(store.read_bytes())
    content[len(content) // 2] ^= 1
    store.write_bytes(content)
    with pytest.raises(ArtefactError, match=r"labels.h5"):
        pseudo_labelled_batches(data(images, split), config(), store)


def test_a_class_that_no_labelled_image_shows_is_named(images, split, capsys):
    images.class_names = [*images.class_names, "tram"]
    labelled_batches(data(images, split), config())
    assert "class 'tram' is in no labelled image; it cannot be learned" in capsys.readouterr().err


def test_pixels_that_every_labelled_mask_leaves_void_can_be_void_in_pseudo_labels_too(images, split, label_store):
    """The first row of every mask of the store is void, as the camera's own car is in road scenes."""
    store = label_store([], items=constant([*split.labelled, *split.unlabelled], 1))
    for fixed in (False, True):
        batch = pseudo_labelled_batches(data(images, split), config(unlabelled=2, fixed_void=fixed), store)(0)
        for p in (batch.p_l, batch.p_u):
            assert (p[:, 0] == (255 if fixed else 1)).all()
            assert (p[:, 1:] == 1).all()


def test_a_label_that_is_no_class_is_refused(images, split, label_store):
    store = label_store([], items=constant([*split.labelled, *split.unlabelled], 50))
    with pytest.raises(ArtefactError, match=r"labels.h5: image 'i000' is labelled 50; expected ids below 3, or 255"):
        pseudo_labelled_batches(data(images, split), config(), store)


def test_a_store_without_a_single_label_is_warned_of(images, split, label_store, capsys):
    store = label_store([], items=constant([*split.labelled, *split.unlabelled], 255))
    pseudo_labelled_batches(data(images, split), config(unlabelled=1), store)
    assert "labels no pixel of the training images" in capsys.readouterr().err


@pytest.fixture
def source(image_store, image_rows):
    """Five brighter images of another size, one of them without a mask that says anything."""
    rows = [
        (f"s{n}", "train", np.full((8, 20, 3), 200 + n, np.uint8), np.full((8, 20), n % 3, np.uint8)) for n in range(5)
    ]
    with Images(image_store("source.h5", rows=rows)) as store:
        yield store


def test_a_share_of_the_steps_learns_from_the_source_domain(images, split, source):
    """Of 8 steps the first six alternate; the images' sizes differ, the views' do not."""
    chosen = config(steps=8, source=0.5, source_until=0.75, unlabelled=3, views={**STILL, "crop": [8, 12]})
    batches = labelled_batches(data(images, split, source), chosen)
    made = [batches(step) for step in range(8)]
    assert [batch.source for batch in made] == [False, True] * 3 + [False] * 2
    for batch in made:
        assert batch.x_l.shape == (4, 3, 8, 12)
        assert batch.x_u.shape == (3, 3, 8, 12)
        if batch.source:
            assert torch.equal((batch.x_l[:, 0].round().long() - 200) % 3, batch.y_l)
    alone = labelled_batches(data(images, split), config())
    assert batches.counts.per_class.tolist() == alone.counts.per_class.tolist()
    assert (batches.labelled_images, batches.unlabelled_images) == (2, 4)
    assert alone.unlabelled_images == 0


def test_without_a_share_the_source_is_never_read(images, split, source, monkeypatch):
    monkeypatch.setattr(source, "_read", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(source, "class_names", ["other"])
    batches = labelled_batches(data(images, split, source), config())
    assert torch.equal(batches(1).x_l, labelled_batches(data(images, split), config())(1).x_l)


def test_a_source_step_has_no_pseudo_labels(images, split, source, label_store):
    store = label_store([], items=constant([*split.labelled, *split.unlabelled], 1))
    chosen = config(steps=2, source=0.5, unlabelled=2, views={**STILL, "crop": [8, 12]})
    batches = pseudo_labelled_batches(data(images, split, source), chosen, store)
    assert (batches(0).p_l == 1).all()
    assert (batches(1).p_l == 255).all()
    assert (batches(1).p_u == 1).all()


def test_a_source_step_has_no_joined_images(images, split, source, label_store):
    store = label_store([], items=constant(split.unlabelled, 2))
    chosen = config(source=0.5, steps=4, pseudo=2, views={**STILL, "crop": [8, 12]})
    batch = joined_batches(data(images, split, source), chosen, store)(1)
    assert len(batch.x_l) == 4
    assert (batch.x_l.round() >= 200).all()
    assert batch.joined == 0


def test_a_share_of_no_source_is_refused(images, split, image_store, tmp_path):
    with pytest.raises(
        DataError, match=r"source: 0.5 of the steps, but the stage is given no --source; .* dataset.source"
    ):
        labelled_batches(data(images, split), config(source=0.5))
    write_images(tmp_path / "empty.h5", [], 0, images.class_names, images.colours, images.size)
    with (
        Images(tmp_path / "empty.h5") as empty,
        pytest.raises(DataError, match=r"empty.h5 holds no image; .* dataset.source"),
    ):
        labelled_batches(data(images, split, empty), config(source=0.5))


def test_a_source_that_does_not_fit_is_refused(images, split, source, image_store):
    with pytest.raises(
        DataError, match=r"source.h5: images of \[8, 20\]; expected the target's \[12, 16\].* views.crop"
    ):
        labelled_batches(data(images, split, source), config(source=0.5))
    source.class_names = ["sky", "car", "road"]
    with pytest.raises(DataError, match=r"another order: where the target has road, the source has car"):
        labelled_batches(data(images, split, source), config(source=0.5, views={"crop": [8, 12]}))
    void = [("s", "train", np.zeros((12, 16, 3), np.uint8), np.full((12, 16), 255, np.uint8))]
    with (
        Images(image_store("void.h5", rows=void)) as store,
        pytest.raises(DataError, match=r"void.h5: .* no labelled pixel"),
    ):
        labelled_batches(data(images, split, store), config(source=0.5))


def test_a_class_of_the_source_alone_can_be_learned(images, split, source, image_store, capsys):
    for store in (images, source):
        store.class_names = [*store.class_names, "tram", "bus"]
    rows = [("s", "train", np.zeros((12, 16, 3), np.uint8), np.full((12, 16), 3, np.uint8))]
    with Images(image_store("tram.h5", rows=rows)) as trams:
        trams.class_names = images.class_names
        labelled_batches(data(images, split, trams), config(source=0.5))
    told = capsys.readouterr().err
    assert "class 'tram' is in no labelled image; it is learned from the source domain alone" in told
    assert "class 'bus' is in no labelled image; it cannot be learned" in told


@pytest.mark.parametrize("wrong", [{"source": 1}, {"source": -0.1}, {"source_until": 1.1}, {"source_until": -1}])
def test_a_share_is_a_share(wrong):
    with pytest.raises(ValidationError):
        config(**wrong)


SAID = {"i003": [1, 0, 1], "i005": [0, 0, 0], "i001": [1, 1, 1]}  # i001 is labelled: its mask is what counts


@pytest.fixture
def tagged(image_store, image_rows):
    """Two labelled images, the second of road alone, four others, of which two have tags and the last no mask."""
    rows = image_rows(train=5, bare=1, validation=1, test=1)
    rows[1] = (*rows[1][:3], np.full_like(rows[1][3], 1))
    rows = [(*row, None, np.array(SAID[row[0]], np.uint8) if row[0] in SAID else None) for row in rows]
    with Images(image_store("tagged.h5", rows=rows)) as store:
        yield store


def test_tagged_images_join_the_labelled_ones(tagged, split):
    batches = tagged_batches(data(tagged, split), config(unlabelled=2))
    ((pool, count),) = batches.streams
    assert count == 4
    assert np.array_equal(pool.images.numpy(), tagged.stack(["i000", "i001", "i003", "i005"]))
    assert np.array_equal(pool.masks[:2].numpy(), tagged.stack(["i000", "i001"], "mask"))
    assert (pool.masks[2:] == 255).all()
    first = [float(number in tagged.mask("i000")) for number in range(3)]
    assert pool.tags.tolist() == [first, [0, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert np.array_equal(batches.unlabelled[0].images.numpy(), tagged.stack(split.unlabelled))
    alone = labelled_batches(data(tagged, split), config(unlabelled=2))
    assert alone(0).z_l is None
    assert (batches.labelled_images, batches.unlabelled_images) == (2, 4)
    assert batches.counts.per_class.tolist() == alone.counts.per_class.tolist()
    assert batches.counts.total == alone.counts.total
    for step in range(4):
        assert torch.equal(batches(step).x_u, alone(step).x_u)
        order = pool.indices(step * count, count)
        assert torch.equal(batches(step).z_l, pool.tags[order])


def test_a_fixed_number_of_tagged_images_a_batch(tagged, split):
    batches = tagged_batches(data(tagged, split), config(pseudo=1))
    for step in range(4):
        batch = batches(step)
        assert (batch.y_l[:3] != 255).any((1, 2)).all()
        assert (batch.y_l[3] == 255).all()
        assert batch.z_l[3].tolist() in ([1, 0, 1], [0, 0, 0])
        for y, z in zip(batch.y_l[:3], batch.z_l[:3], strict=True):
            assert z.tolist() == [float((y == number).any()) for number in range(3)]


def test_where_nothing_is_tagged_the_batches_are_the_same_and_say_what_masks_show(images, split):
    alone = labelled_batches(data(images, split), config())
    for pseudo in (None, 2):
        batches = tagged_batches(data(images, split), config(pseudo=pseudo))
        for step in range(3):
            assert torch.equal(batches(step).x_l, alone(step).x_l)
            for y, z in zip(batches(step).y_l, batches(step).z_l, strict=True):
                assert z.tolist() == [float((y == number).any()) for number in range(3)]


def test_of_a_mask_of_void_nobody_said_what_it_shows(image_store, image_rows):
    first, second = image_rows(train=2, validation=0, test=0)
    void = (*second[:3], np.full_like(second[3], 255), None, np.ones(3, np.uint8))
    with Images(image_store(rows=[first, void])) as images:
        split = Split(0, images.ids, [], [], [], "test")
        batches = tagged_batches(data(images, split), config())
        ((pool, _),) = batches.streams
        assert len(pool.images) == len(pool.tags) == batches.labelled_images == 1


def test_the_true_masks_of_tagged_images_are_never_read(tagged, split, monkeypatch):
    read = tagged._read

    def watched(kind, name, column):
        assert kind == "image" or name in split.labelled
        return read(kind, name, column)

    monkeypatch.setattr(tagged, "_read", watched)
    tagged_batches(data(tagged, split), config(unlabelled=2))


@pytest.mark.parametrize("other", ["--join", "--labels", "--source"])
def test_tags_are_not_combined_with_another_store(monkeypatch, capsys, other):
    words = "fit --learner a.B --section a --out a --history b --tags"
    monkeypatch.setattr(sys, "argv", [*words.split(), other, "x.h5"])
    with pytest.raises(SystemExit) as ended:
        fit.main()
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert "not allowed with argument" in err
    assert "--tags" in err.splitlines()[-1]


def test_views_of_padded_images_are_of_the_image_alone(image_store, image_rows, label_store):
    """In every stream: images are 200 inside their extents and 100 outside, masks and pseudo-labels 1 and 2."""
    rows = []
    for number, (name, role, _, _) in enumerate(image_rows()):
        extent = (12 - number % 3, 9 + number) if number < 8 else None
        height, width = extent or (12, 16)
        mask = np.full((12, 16), 2, np.uint8)
        mask[:height, :width] = 1
        rows.append(
            (name, role, np.repeat(np.where(mask == 1, 200, 100).astype(np.uint8)[..., None], 3, 2), mask, extent)
        )
    with Images(image_store(rows=rows)) as images:
        split = Split(0, images.ids[:2], images.ids[2:6], images.ids[6:8], images.ids[8:], "test")
        items = [Labelled(name, mask, np.zeros_like(mask)) for name, _, _, mask, _ in rows]
        store = label_store([], items=items)
        chosen = config(unlabelled=2, views={"crop": [6, 6], "scales": [0.5, 1.0, 1.5]})
        mixed = chosen.model_copy(update={"pseudo": 1})
        for build, options in ((pseudo_labelled_batches, chosen), (joined_batches, chosen), (joined_batches, mixed)):
            batches = build(data(images, split), options, store)
            for step in range(8):
                batch = batches(step)
                assert set(batch.x_l.round().unique().tolist()) | {0.0} == {0.0, 200.0}
                assert set(batch.x_u.round().unique().tolist()) | {0.0} == {0.0, 200.0}
                for masks in (batch.y_l, *(p for p in (batch.p_l, batch.p_u) if p is not None)):
                    assert set(masks.unique().tolist()) | {255} == {1, 255}
