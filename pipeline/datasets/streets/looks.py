"""The two looks of the drawn road scenes, two domains: photographs in all weathers, and a game's rendering."""

from typing import NamedTuple

Pair = tuple[float, float]
Colour = tuple[float, ...]
Palette = tuple[Colour, ...]


class Weather(NamedTuple):
    """Zenith and horizon colours, cast and gain of the light, fog a metre, strength of shadows and clouds."""

    zenith: Colour
    haze: Colour
    cast: Colour
    gain: float
    fog: float
    shadow: float
    clouds: float


class Look(NamedTuple):
    """What scenes are made of and how they are seen; pairs are the least and the greatest of what is drawn."""

    facades: Palette
    bodies: Palette
    asphalts: Palette
    pavings: Palette
    leaves: Palette
    plates: Palette
    lines: Palette
    trunk: Colour
    weathers: tuple[Weather, ...]
    horizon: Pair  # share of the image's height
    focal: Pair  # share of its width
    camera: Pair  # metres above the road
    kerb: Pair  # metres from the camera to either side
    storeys: tuple[int, int]
    woods: tuple[float, float, float]  # share of trees among what lines a street: few, some, many
    rough: Pair  # contrast of a material's texture
    gamma: Pair
    blur: Pair  # share of the image's height
    noise: tuple[float, float, float]  # of the sensor, grey levels: least, greatest by day and by night
    seed: tuple[int, ...]  # so that no scene of one look is laid out as one of another


# The palettes overlap on purpose: grey cars on grey roads, sky-blue walls, green cars by trees.
PHOTOGRAPH = Look(
    facades=((182, 156, 126), (150, 82, 66), (135, 135, 140), (208, 203, 195), (132, 166, 198), (118, 138, 108),
             (88, 84, 84), (200, 168, 108), (176, 128, 112), (150, 150, 165)),
    bodies=((92, 92, 95), (225, 225, 225), (28, 28, 32), (165, 30, 32), (40, 65, 140), (62, 98, 56),
            (150, 152, 156), (188, 170, 140), (205, 170, 40), (110, 150, 185)),
    asphalts=((88, 88, 92), (62, 62, 66), (128, 126, 122), (112, 100, 92), (88, 96, 110), (148, 144, 140)),
    pavings=((152, 150, 147), (170, 154, 132), (150, 108, 92), (112, 110, 112), (128, 132, 142), (186, 182, 176)),
    leaves=((62, 98, 42), (40, 72, 38), (92, 118, 52), (150, 110, 40), (128, 66, 36), (96, 90, 70), (76, 110, 84)),
    plates=((30, 70, 160), (190, 30, 35), (235, 235, 235), (225, 185, 30), (30, 110, 60), (215, 120, 30)),
    lines=((235, 235, 230), (235, 235, 230), (225, 180, 60)),
    trunk=(80, 66, 54),
    weathers=(
        Weather((70, 120, 200), (190, 210, 235), (1.02, 1.0, 0.97), 1.0, 0.002, 0.5, 0.1),
        Weather((95, 145, 215), (205, 220, 240), (1.0, 1.0, 1.0), 1.0, 0.004, 0.35, 0.8),
        Weather((165, 170, 180), (205, 205, 208), (0.95, 1.0, 1.05), 0.8, 0.008, 0.1, 0.2),
        Weather((75, 80, 135), (240, 165, 110), (1.2, 0.95, 0.78), 0.6, 0.006, 0.3, 0.4),
        Weather((14, 16, 32), (48, 42, 52), (1.15, 0.95, 0.72), 0.34, 0.004, 0.2, 0.1),
        Weather((188, 190, 192), (200, 200, 200), (1.0, 1.0, 1.0), 0.85, 0.03, 0.05, 0.05),
        Weather((150, 190, 240), (240, 243, 250), (1.05, 1.0, 0.92), 1.35, 0.003, 0.6, 0.2),
        Weather((45, 60, 95), (120, 125, 150), (0.8, 0.92, 1.2), 0.42, 0.012, 0.1, 0.5),
    ),
    horizon=(0.3, 0.52),
    focal=(0.65, 1.05),
    camera=(1.25, 2.2),
    kerb=(2.2, 6),
    storeys=(1, 7),
    woods=(0.08, 0.25, 0.7),
    rough=(0.02, 0.11),
    gamma=(0.75, 1.2),
    blur=(0, 0.007),
    noise=(1, 5, 9),
    seed=(),
)  # fmt: skip

# Pastel houses, pale concrete, yellow lines, dry greens; wide roads seen from above, sharp and without texture.
GAME = Look(
    facades=((238, 196, 148), (226, 150, 128), (244, 226, 186), (198, 214, 168), (168, 206, 206), (232, 176, 178),
             (214, 122, 82), (250, 244, 230)),
    bodies=((214, 28, 46), (250, 248, 244), (20, 20, 26), (24, 96, 200), (248, 196, 20), (236, 104, 20),
            (30, 150, 120), (176, 182, 192)),
    asphalts=((142, 134, 128), (166, 158, 150), (120, 112, 110), (154, 140, 132)),
    pavings=((216, 206, 190), (204, 188, 164), (226, 214, 206)),
    leaves=((118, 142, 34), (148, 150, 48), (86, 132, 40), (172, 158, 84)),
    plates=((0, 110, 60), (210, 20, 30), (250, 250, 250), (250, 200, 0)),
    lines=((250, 196, 40), (250, 196, 40), (246, 242, 232)),
    trunk=(142, 108, 72),
    weathers=(
        Weather((36, 104, 214), (150, 200, 246), (1.06, 1.0, 0.9), 1.05, 0.001, 0.7, 0.3),
        Weather((64, 128, 206), (246, 224, 176), (1.14, 1.02, 0.82), 0.95, 0.004, 0.7, 0.2),
        Weather((92, 70, 158), (252, 150, 96), (1.25, 0.92, 0.8), 0.75, 0.005, 0.5, 0.6),
        Weather((28, 30, 82), (126, 66, 130), (0.95, 0.85, 1.2), 0.45, 0.003, 0.2, 0.2),
    ),
    horizon=(0.2, 0.36),
    focal=(0.6, 0.85),
    camera=(2, 3),
    kerb=(3.5, 8),
    storeys=(1, 4),
    woods=(0.25, 0.5, 0.7),
    rough=(0, 0.015),
    gamma=(0.95, 1.25),
    blur=(0, 0.001),
    noise=(0, 0.5, 0.5),
    seed=(1,),
)  # fmt: skip

LOOKS = {"photograph": PHOTOGRAPH, "game": GAME}
