"""Image and mask files: what is read to the pixel, and what is refused with its reason."""

import io
import random
import resource
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fewmask.core.errors import DataError
from fewmask.core.masks import IGNORE
from fewmask.datasets.base.dataset import FilesConfig
from fewmask.datasets.base.imagefiles import ImageFiles

Save = Callable[..., Path]
Make = Callable[..., np.ndarray]
LOOKUP = np.full(256, -1, np.int16)
LOOKUP[:3] = range(3)
LOOKUP[[11, IGNORE]] = IGNORE
COLOURS = np.array([(10, 20, 30), (128, 64, 128), (0, 0, 142), (0, 0, 0)], np.uint8)


@pytest.fixture
def config(tmp_path: Path) -> FilesConfig:
    return FilesConfig(root=str(tmp_path))


@pytest.fixture
def refused(config: FilesConfig) -> Callable[[Path], str]:
    """What reading an image is answered with; it names the file."""

    def message(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            ImageFiles(config).read_image(path)
        assert str(caught.value).startswith(f"{path}: ")
        return str(caught.value)

    return message


def encoded(image: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


# images


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG"])
def test_a_lossless_image_is_read_to_the_pixel(config: FilesConfig, save: Save, noise: Make, suffix: str) -> None:
    assert (ImageFiles(config).read_image(save("a" + suffix, noise())) == noise()).all()


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "CMYK"])
def test_other_modes_become_rgb(config: FilesConfig, save: Save, noise: Make, mode: str) -> None:
    picture = Image.fromarray(noise()).convert(mode)
    read = ImageFiles(config).read_image(save("a.tif", picture))
    assert read.dtype == np.uint8
    assert (read == np.asarray(picture.convert("RGB"))).all()


def test_content_counts_not_the_suffix(config: FilesConfig, save: Save, noise: Make) -> None:
    path = save("a.png", encoded(noise(), "BMP"))
    assert (ImageFiles(config).read_image(path) == noise()).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_image_is_named(refused: Callable[[Path], str], save: Save, noise: Make, kind: str) -> None:
    data = encoded(noise(size=(64, 64)), kind)
    message = refused(save("a.png", data[: len(data) // 2]))
    assert "truncated" in message
    assert "expected a whole image" in message


@pytest.mark.parametrize("data", [b"", b"hello, world\n" * 20, b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named(refused: Callable[[Path], str], save: Save, data: bytes) -> None:
    assert "not an image; expected PNG or JPEG" in refused(save("a.png", data))


def test_a_missing_image_is_named(refused: Callable[[Path], str], tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "gone.png")


@pytest.mark.parametrize(("side", "pixels"), [(20_000, 400_000_000), (10_000, 100_000_000)])
def test_a_giant_is_refused_by_its_header(
    refused: Callable[[Path], str], save: Save, png_header: Callable[[int, int], bytes], side: int, pixels: int
) -> None:
    """A decoded 20000x20000 image would take 1.2 GB; Pillow only warns of 10000x10000."""
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    message = refused(save("a.png", png_header(side, side)))
    assert f"{side}x{side} = {pixels} pixels; expected at most 50000000" in message
    assert "dataset.max_pixels" in message
    assert time.monotonic() - begin < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_the_limit_of_pixels_is_a_param(config: FilesConfig, save: Save, noise: Make) -> None:
    path = save("a.png", noise())
    ImageFiles(config.model_copy(update={"max_pixels": 12 * 16})).read_image(path)
    with pytest.raises(DataError, match="16x12 = 192 pixels; expected at most 191"):
        ImageFiles(config.model_copy(update={"max_pixels": 191})).read_image(path)


def test_16_bit_is_refused_or_scaled_never_clipped(config: FilesConfig, save: Save) -> None:
    """0 -> 0, 257 -> 1, 65535 -> 255: division by 257, where Pillow's convert would clip to 0, 255, 255."""
    path = save("a.png", np.array([[0, 257, 32896, 65535]], np.uint16))
    with pytest.raises(DataError, match=r"16-bit .* would be clipped .*image_depth: scale"):
        ImageFiles(config).read_image(path)
    scaled = ImageFiles(config.model_copy(update={"image_depth": "scale"})).read_image(path)
    assert scaled[0, :, 0].tolist() == [0, 1, 128, 255]


def test_the_key_to_change_is_that_of_the_files_section(
    config: FilesConfig, save: Save, noise: Make, ids: Make
) -> None:
    """Here a source domain's."""
    files = ImageFiles(config.model_copy(update={"max_pixels": 200}), "dataset.source")
    image, mask = save("a.png", noise()), save("m.png", ids())
    tries = {
        "max_pixels": lambda: files.read_image(save("large.png", noise(size=(20, 20)))),
        "image_depth: scale": lambda: files.read_image(save("deep.png", np.zeros((2, 2), np.uint16))),
        "root": lambda: files.read_image(image.with_name("gone.png")),
        "colours": lambda: files.read_mask(save("rgb.png", noise()), image, LOOKUP),
        "classes": lambda: files.read_mask(mask, image, np.full(256, -1, np.int16) + (np.arange(256) == 0)),
        "allow_symlinks": lambda: files.require_inside(Path("/etc/passwd")),
    }
    for key, attempt in tries.items():
        with pytest.raises(DataError, match=rf"dataset\.source\.{key}"):
            attempt()


@pytest.mark.parametrize(("name", "kind"), [("a.gif", "GIF"), ("a.png", "PNG"), ("a.tif", "TIFF"), ("a.webp", "WEBP")])
def test_more_than_one_frame_is_refused(
    refused: Callable[[Path], str], save: Save, noise: Make, name: str, kind: str
) -> None:
    frames = [Image.fromarray(noise(seed)) for seed in (1, 2)]
    path = save(name, frames[0], format=kind, save_all=True, append_images=frames[1:])
    assert "holds 2 frames; expected one image" in refused(path)


def test_a_phone_s_photo_is_its_first_frame(config: FilesConfig, save: Save, noise: Make, ids: Make) -> None:
    """MPO: a JPEG with a preview or a depth map behind it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    behind = Image.fromarray(noise(2, (6, 8)))
    path = save("a.jpg", noise(), format="MPO", save_all=True, append_images=[behind], exif=exif)
    alone = save("alone.jpg", noise(), exif=exif)
    with Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    assert (ImageFiles(config).read_image(path) == ImageFiles(config).read_image(alone)).all()
    assert ImageFiles(config).read_mask(save("m.png", ids().T), path, LOOKUP).shape == (16, 12)
    with pytest.raises(DataError, match="a MPO mask is lossy"):
        ImageFiles(config).read_mask(path, alone, LOOKUP)


def test_an_image_is_turned_upright(config: FilesConfig, save: Save, noise: Make) -> None:
    """EXIF orientation 6: the camera lay on its side, and the stored rows are the columns of what was seen."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save("a.png", noise(), exif=exif)
    assert (ImageFiles(config).read_image(path) == np.rot90(noise(), -1)).all()


def test_images_come_at_the_working_size(config: FilesConfig, save: Save, noise: Make) -> None:
    small = ImageFiles(config.model_copy(update={"size": (6, 8)})).read_image(save("a.png", noise()))
    assert small.shape == (6, 8, 3)
    assert abs(small.mean() - noise().mean()) < 3


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of damaged EXIF, and goes on
def test_damage_is_never_anything_but_a_data_error(
    config: FilesConfig, save: Save, noise: Make, ids: Make, tmp_path: Path
) -> None:
    """Seeded damage of seven encodings, read as an image, as a mask, and as the partner of a sound mask."""
    rng = random.Random(0)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "text"
    whole, mask = noise(), save("mask.png", ids())
    originals = [encoded(whole, kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")]
    originals.append(encoded(whole, "TIFF", exif=exif))
    refusals = 0
    for data in originals:
        for trial in range(30):
            broken = bytearray(data)
            if trial % 5 == 0:
                del broken[rng.randrange(len(broken)) :]
            for _ in range(trial % 3 + 1 if broken else 0):
                broken[rng.randrange(min(len(broken), rng.choice([40, 200, 5000])))] ^= 1 << rng.randrange(8)
            path = save("broken", bytes(broken))
            tries = [
                lambda path=path: ImageFiles(config).read_image(path),
                lambda path=path: ImageFiles(config).read_mask(path, mask, LOOKUP, COLOURS),
                lambda path=path: ImageFiles(config).read_mask(mask, path, LOOKUP),
            ]
            for attempt in tries:
                try:
                    assert attempt().dtype == np.uint8
                except DataError as error:
                    refusals += 1
                    assert str(tmp_path) in str(error)
    assert refusals > 200


# masks


@pytest.fixture
def read(config: FilesConfig, save: Save, noise: Make) -> Callable[..., np.ndarray]:
    """``read(mask, colours)`` -> the mask beside a sound image."""

    def run(picture: object, colours: np.ndarray | None = None, name: str = "m.png", **options: object) -> np.ndarray:
        image = save("image.png", noise())
        return ImageFiles(config).read_mask(save(name, picture, **options), image, LOOKUP, colours)

    return run


def test_a_grey_mask_is_its_ids(read: Callable[..., np.ndarray], ids: Make) -> None:
    found = read(ids())
    assert found.dtype == np.uint8
    assert (found == ids()).all()


def test_a_palette_mask_is_its_indices_not_its_colours(read: Callable[..., np.ndarray], ids: Make) -> None:
    picture = Image.fromarray(ids())
    picture.putpalette([200, 0, 0] * 256)
    assert picture.mode == "P"
    assert (read(picture) == ids()).all()


def test_a_declared_void_id_becomes_255(read: Callable[..., np.ndarray]) -> None:
    mask = np.full((12, 16), 11, np.uint8)
    mask[0, 0] = 2
    found = read(mask)
    assert (found[0, 0], set(found.flat[1:])) == (2, {IGNORE})


def test_an_id_out_of_range_is_named_with_its_place(read: Callable[..., np.ndarray], ids: Make) -> None:
    mask = ids()
    mask[3, 7] = mask[9, 0] = 21
    with pytest.raises(
        DataError, match=r"m\.png: class id 21 at row 3, column 7; expected 0\.\.2 or 11, 255 \(ignore\)"
    ):
        read(mask)


def test_a_16_bit_mask_with_small_ids_is_fine(read: Callable[..., np.ndarray], ids: Make) -> None:
    assert (read(ids().astype(np.uint16)) == ids()).all()
    large = ids().astype(np.uint16)
    large[1, 1] = 256 + 1
    with pytest.raises(DataError, match="class id 257; expected ids up to 255"):
        read(large)


def test_a_bilevel_mask_is_0_and_1(read: Callable[..., np.ndarray]) -> None:
    mask = np.zeros((12, 16), bool)
    mask[2:5] = True
    assert (read(Image.fromarray(mask)) == mask).all()


def test_an_rgb_mask_needs_its_colours(read: Callable[..., np.ndarray], ids: Make) -> None:
    with pytest.raises(DataError, match=r"an RGB mask needs dataset\.colours"):
        read(COLOURS[ids() % 4])


def test_an_rgb_mask_is_read_by_exact_colour_and_black_is_ignored(read: Callable[..., np.ndarray], ids: Make) -> None:
    rows = np.where(ids() == 255, 3, ids())
    expected = ids()
    assert (read(COLOURS[rows], COLOURS) == expected).all()
    alpha = np.dstack([COLOURS[rows], np.full(rows.shape, 7, np.uint8)])
    assert (read(alpha, COLOURS) == expected).all()


def test_a_class_may_be_black(read: Callable[..., np.ndarray]) -> None:
    colours = np.array([(0, 0, 0), (9, 9, 9), (0, 0, 0)], np.uint8)
    mask = np.zeros((12, 16, 3), np.uint8)
    mask[4] = 9
    found = read(mask, colours)
    assert (found == (np.arange(12) == 4)[:, None]).all()


@pytest.mark.parametrize("colour", [(128, 64, 129), (255, 255, 255), (0, 0, 1), (10, 20, 29)])
def test_an_unknown_colour_is_named_with_its_place(
    read: Callable[..., np.ndarray], colour: tuple[int, int, int]
) -> None:
    mask = np.zeros((12, 16, 3), np.uint8)
    mask[5, 6] = colour
    with pytest.raises(DataError) as caught:
        read(mask, COLOURS)
    assert f"m.png: colour {colour} at row 5, column 6; expected the colours of dataset.colours" in str(caught.value)


@pytest.mark.parametrize(("name", "kind"), [("m.jpg", "JPEG"), ("m.png", "JPEG"), ("m.png", "GIF")])
def test_a_lossy_mask_is_refused(read: Callable[..., np.ndarray], ids: Make, name: str, kind: str) -> None:
    with pytest.raises(DataError, match=f"a {kind} mask is lossy"):
        read(Image.fromarray(ids()), name=name, format=kind)


def test_a_float_mask_is_refused_not_rounded(read: Callable[..., np.ndarray]) -> None:
    with pytest.raises(DataError, match="mode F; expected an 8-bit grey"):
        read(np.full((12, 16), 1.7, np.float32), name="m.tif")


def test_another_size_than_the_image_is_told_with_both(read: Callable[..., np.ndarray], ids: Make) -> None:
    with pytest.raises(DataError, match=r"mask is 8x6, its image image\.png is 16x12; expected one size\. Export"):
        read(ids(size=(6, 8)))


@pytest.mark.parametrize("orientation", [6, 8, 5])
def test_a_mask_that_was_not_turned_with_its_image_is_told_so(
    config: FilesConfig, save: Save, noise: Make, ids: Make, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = save("image.jpg", noise(), exif=exif)
    with pytest.raises(DataError, match=r"mask is 16x12, its image image\.jpg is 12x16; .*EXIF orientation turns it"):
        ImageFiles(config).read_mask(save("m.png", ids()), image, LOOKUP)
    turned = ImageFiles(config).read_mask(save("m.png", ids().T), image, LOOKUP)
    assert turned.shape == ImageFiles(config).read_image(image).shape[:2]


def test_a_mask_is_resized_without_inventing_ids(config: FilesConfig, save: Save, noise: Make) -> None:
    """Between 0 and 2 an interpolation would invent 1."""
    mask = np.zeros((12, 16), np.uint8)
    mask[:, 8:] = 2
    small = config.model_copy(update={"size": (7, 9)})
    found = ImageFiles(small).read_mask(save("m.png", mask), save("image.png", noise()), LOOKUP)
    assert found.shape == (7, 9)
    assert set(np.unique(found)) == {0, 2}


# folders


def test_files_are_listed_by_id_and_others_passed_over(
    config: FilesConfig, save: Save, noise: Make, tmp_path: Path
) -> None:
    for name in ("b.png", "a.jpg", "C.PNG"):
        save("images/" + name, noise())
    for name in ("notes.txt", ".hidden.png", "Thumbs.db"):
        save("images/" + name, b"")
    assert list(ImageFiles(config).images_in(tmp_path / "images")) == ["C", "a", "b"]


def test_one_name_twice_is_refused(config: FilesConfig, save: Save, noise: Make, tmp_path: Path) -> None:
    save("images/a.png", noise())
    save("images/a.jpg", noise())
    with pytest.raises(DataError, match=r"a\.png: has the same name as a\.jpg"):
        ImageFiles(config).images_in(tmp_path / "images")


def test_names_that_differ_in_unicode_form_only_are_one(
    config: FilesConfig, save: Save, noise: Make, tmp_path: Path
) -> None:
    forms = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    save(f"images/{forms[1]}.png", noise())
    assert list(ImageFiles(config).images_in(tmp_path / "images")) == [forms[0]]
    save(f"images/{forms[0]}.png", noise())
    with pytest.raises(DataError, match="has the same name as"):
        ImageFiles(config).images_in(tmp_path / "images")


def test_a_missing_folder_is_named(config: FilesConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images: no such folder\. Fix the path"):
        ImageFiles(config).images_in(tmp_path / "images")


@pytest.mark.parametrize("target", ["../outside.png", "/etc/passwd"])
def test_a_link_out_of_the_root_is_refused_unless_allowed(save: Save, noise: Make, tmp_path: Path, target: str) -> None:
    save("outside.png", noise())
    save("root/images/in.png", noise())
    inside = FilesConfig(root=str(tmp_path / "root"))
    (tmp_path / "root" / "images" / "link.png").symlink_to(Path("..") / target)
    with pytest.raises(DataError, match=r"link\.png: leads outside the data root .*allow_symlinks: true"):
        ImageFiles(inside).images_in(tmp_path / "root" / "images")
    allowed = inside.model_copy(update={"allow_symlinks": True})
    assert set(ImageFiles(allowed).images_in(tmp_path / "root" / "images")) == {"in", "link"}


def test_a_link_within_the_root_is_fine(save: Save, noise: Make, tmp_path: Path) -> None:
    save("root/pool/a.png", noise())
    (tmp_path / "root" / "images").mkdir()
    (tmp_path / "root" / "images" / "a.png").symlink_to("../pool/a.png")
    assert set(ImageFiles(FilesConfig(root=str(tmp_path / "root"))).images_in(tmp_path / "root" / "images")) == {"a"}
