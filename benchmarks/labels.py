"""Label maps as gzip-1 HDF5, written and read at random, against one PNG file an image."""

import h5py
import numpy as np
from PIL import Image

from benchmarks.inputs import NAMES, labelled_items
from benchmarks.timing import Bench, Result, take_turns
from fewmask.stores.hdf5 import add_image, create
from fewmask.stores.labels import Labels, write_labels


def measure(bench: Bench) -> list[Result]:
    """Writing and random reading of label maps, against one PNG file per image."""
    items = labelled_items(bench.some(96, 48), bench.some(48, 24))
    order = np.random.default_rng(0).permutation(len(items))
    pictures, bare, store = bench.folder / "png", bench.folder / "bare.h5", bench.folder / "labels.h5"
    pictures.mkdir()

    def write_png() -> None:
        for item in items:
            Image.fromarray(item.label).save(pictures / f"{item.stem}.png")

    def write_bare() -> None:
        with create(bare, "bare", 1) as file:
            group = file.create_group("label")
            for item in items:
                add_image(group, item.stem, item.label)

    def write_store() -> None:
        write_labels(store, items, NAMES)

    def read_png() -> list[np.ndarray]:
        return [np.array(Image.open(pictures / f"{items[i].stem}.png")) for i in order]

    rounds = bench.some(9)
    written = take_turns(rounds, png=write_png, label=write_bare, both=write_store)
    with Labels(store) as labels, h5py.File(bare) as file:
        group = file["label"]

        def read_bare() -> list[np.ndarray]:
            return [group[items[i].stem][:] for i in order]

        def read_store() -> list[np.ndarray]:
            return [labels.label(items[i].stem) for i in order]

        assert all(np.array_equal(a, b) for a, b in zip(read_png(), read_store(), strict=True)), "labels differ"
        read = take_turns(rounds, png=read_png, label=read_bare, both=read_store)
        sizes = {f"{kind}_kb": stored_kb(labels.file[kind]) for kind in ("label", "confidence")}
    count = len(items)
    sizes["png_kb"] = float(np.mean([path.stat().st_size for path in pictures.iterdir()])) / 1000
    note = "without histograms and CRCs"
    return [
        written.against("write labels 360x480 gzip-1, against PNG", "png", "label", 4, count),
        read.against("read labels at random, against PNG", "png", "label", 2, count),
        written.against("write all that a store holds, against PNG labels", "png", "both", each=count),
        read.against("Labels.label, checked by CRC with its confidence, against PNG labels", "png", "both", each=count),
        Result("size of a label against PNG", sizes["label_kb"] / sizes["png_kb"], absolute=sizes, note=note),
    ]


def stored_kb(group: h5py.Group) -> float:
    """Mean compressed size of the images of a group."""
    return sum(image.id.get_storage_size() for image in group.values()) / len(group) / 1000
