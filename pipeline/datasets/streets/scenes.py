"""Road scenes drawn procedurally, the embedded data set: how what is laid out is lit and photographed."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fewmask.core.masks import IGNORE
from fewmask.datasets.streets.canvas import (
    CAR,
    CLASSES,
    COLOURS,
    MARKING,
    NEAR,
    NIGHT,
    OVERSAMPLING,
    RANGE,
    ROAD,
    SIDEWALK,
    SKY,
    Scene,
    noise,
)
from fewmask.datasets.streets.layout import street
from fewmask.datasets.streets.looks import LOOKS
from fewmask.datasets.streets.sparse import place

__all__ = ["CLASSES", "COLOURS", "draw", "is_sparse"]

SPARSE = 1871  # seeds what decides which scenes are sparse
GOLDEN = (5**0.5 - 1) / 2


def hide(scene: Scene) -> None:
    """The bonnet of the camera's own car, or a black strip at the right edge: not to be labelled."""
    rng, (h, w) = scene.rng, (scene.rows, scene.columns)
    paint = scene.choose(scene.look.bodies) if (bonnet := rng.random() < 0.7) else (0, 0, 0)
    rise, x, strip = h * rng.uniform(0.012, 0.035), w * rng.uniform(0.4, 0.6), w * rng.uniform(0.01, 0.03)
    for brush, value in scene.fills((IGNORE, paint), 0):
        if bonnet:
            brush.ellipse((x - 0.7 * w, h - rise, x + 0.7 * w, h + rise), fill=value)
        else:
            brush.rectangle((w - strip, 0, w, h), fill=value)


def shadows(scene: Scene) -> np.ndarray:
    """(H, W) share of the light that reaches the ground: what stands on the sunny side shades the street."""
    rng, side = scene.rng, scene.rng.choice((-1, 1))
    canvas = Image.new("L", (scene.columns, scene.rows), 255)
    for z, reach, slant, deep in rng.uniform((NEAR, -3, -3, 1), (25, 6, 3, 12), (rng.integers(1, 5), 4)):
        far, near = (side * reach, z + deep + slant), (side * reach, max(NEAR, z + slant))
        corners = ((-side * 30, z), (-side * 30, z + deep), far, near)
        dark = int(255 * (1 - min(0.75, scene.weather.shadow)))
        ImageDraw.Draw(canvas).polygon([scene.project(x, 0, s) for x, s in corners], fill=dark)
    soft = canvas.filter(ImageFilter.BoxBlur(OVERSAMPLING)).reduce(OVERSAMPLING)
    return np.asarray(soft, np.float32) / 255


def glare(scene: Scene) -> np.ndarray:
    """(H, W) light of lamps by night, and of wet patches on the road."""
    (h, w), light = scene.size, np.zeros(scene.size, np.float32)
    rows, columns = np.ogrid[:h, :w]
    for spot in scene.lamps[-5:] if scene.weather.gain < NIGHT else ():
        x, y, r = np.divide(spot, OVERSAMPLING)
        light += 0.6 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * min(r, 0.08 * h) ** 2))
    patches = scene.rng.uniform((0, 0.45, 0.02, 0.01, -0.2), (1, 1, 0.12, 0.06, 0.4), (3, 5))
    for x, y, wide, tall, power in patches:
        light += max(0, power) * np.exp(-(((columns / w - x) / wide) ** 2) - ((rows / h - y) / tall) ** 2)
    return light


def illuminate(scene: Scene, albedo: np.ndarray, mask: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Albedo (H, W, 3), mask uint8 and nearness (H, W) -> radiance (H, W, 3); the sky shines itself."""
    rng, weather, (h, w), open_sky = scene.rng, scene.weather, scene.size, mask == SKY
    smooth = noise(rng, scene.size, 32, 40) + noise(rng, scene.size, 12, 14)
    grain = 0.6 * rng.standard_normal(scene.size) + 0.7 * smooth
    rough = rng.uniform(*scene.look.rough, 256)[mask]
    tilt = rng.uniform(-0.3, 0.3, 2)
    slope = 1 + tilt[0] * np.linspace(-1, 1, w) + tilt[1] * np.linspace(-1, 1, h)[:, None]
    sun = np.where(np.isin(mask, (ROAD, SIDEWALK, MARKING, CAR)), shadows(scene), 1)
    light = (weather.gain * slope * sun * (1 + rough * grain))[..., None] * weather.cast
    light[open_sky] = 1
    clear = np.where(open_sky, 0.7, near ** (RANGE * weather.fog))[..., None]
    fog = (1 - clear) * np.divide(weather.haze, 255)
    return np.asarray((albedo * light + glare(scene)[..., None]) * clear + fog)


def expose(scene: Scene, radiance: np.ndarray) -> np.ndarray:
    """Radiance (H, W, 3) -> photograph (H, W, 3) uint8: gamma, lens blur, sensor noise."""
    rng, look = scene.rng, scene.look
    least, *most = look.noise
    grains = rng.uniform(least, most[scene.weather.gain < NIGHT])
    image = Image.fromarray((255 * radiance.clip(0, 1) ** rng.uniform(*look.gamma)).astype(np.uint8))
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(*look.blur) * scene.size[0]))
    noisy = np.asarray(blurred) + grains * rng.standard_normal(radiance.shape, np.float32)
    return np.asarray(noisy.clip(0, 255), np.uint8)


def is_sparse(seed: int, index: int, look: str, share: float) -> bool:
    """Whether the scene is one of the ``share`` with few classes; a larger share contains a smaller one.

    Steps of the golden ratio, from a seeded start, spread them evenly: any run of scenes has its share, and so each
    role.
    """
    start = np.random.default_rng([seed, *LOOKS[look].seed, SPARSE]).random()
    return bool((start + index * GOLDEN) % 1 < share)


def draw(
    seed: int, index: int, size: tuple[int, int], look: str = "photograph", sparse: float = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Scene number `index` of the set `seed` in a look: image (H, W, 3) and mask (H, W) of class ids, both uint8.

    Appearance varies more than layout, and the layout does not depend on the size. Shapes are painted back to front;
    then the image alone is lit, fogged, textured and blurred. Trunks and grass are vegetation. ``sparse`` is the share
    of the scenes in which at most four classes are met; it changes no other scene.
    """
    style = LOOKS[look]
    scene = Scene(np.random.default_rng([seed, index, *style.seed]), size, style)
    things = (place if is_sparse(seed, index, look, sparse) else street)(scene)
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
    hide(scene)
    small = [canvas.reduce(OVERSAMPLING) for canvas in (scene.image, scene.nearness)]
    albedo, near = (np.asarray(canvas, np.float32) / 255 for canvas in small)
    mask = np.asarray(scene.mask)[1::OVERSAMPLING, 1::OVERSAMPLING].copy()
    return expose(scene, illuminate(scene, albedo, mask, near)), mask
