"""Data sets on disk, built in a line."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Picture = np.ndarray | Image.Image | bytes


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """``save("images/a.png", array)``: arrays and pictures are encoded by the suffix, bytes written as they are."""

    def write(name: str, picture: Picture, **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(path, **options)
        return path

    return write


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """``noise(seed)`` -> image (12, 16, 3) uint8."""

    def make(seed: int = 0, size: tuple[int, int] = (12, 16)) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)

    return make


@pytest.fixture
def ids() -> Callable[..., np.ndarray]:
    """``ids(seed, classes)`` -> mask (12, 16) uint8 with every class and void."""

    def make(seed: int = 0, classes: int = 3, size: tuple[int, int] = (12, 16)) -> np.ndarray:
        mask = np.random.default_rng(seed).integers(0, classes, size, np.uint8)
        mask.flat[: classes + 1] = [*range(classes), 255]
        return mask

    return make


@pytest.fixture
def png_header() -> Callable[[int, int], bytes]:
    """``png_header(20000, 20000)``: a PNG of a hundred bytes that claims to be so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def make(width: int, height: int) -> bytes:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")

    return make
