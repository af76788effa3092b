"""Confidences as one byte: a code is the number of edges that are <= p.

The edges are float32. So ``code >= minimum_code(t)`` decides every pixel exactly as ``p >= t`` would in float32, where
``t`` is an edge. These thresholds are: every multiple of 0.01 from 0.30 to 0.99, 0.968 and 0.995. Any other threshold
snaps up to the next edge, and what is reported is that effective one. The remaining edges are spaced in log-odds, for
fine quantiles near 0 and 1.
"""

import numpy as np

COUNT = 255
USUAL = np.concatenate([np.arange(30, 100) / 100, [0.968, 0.995]])


def _edges() -> np.ndarray:
    usual = USUAL.astype(np.float32)
    logits = np.linspace(-7.0, 14.0, COUNT - len(usual))
    tail = (1 / (1 + np.exp(-logits))).astype(np.float32)
    edges = np.unique(np.concatenate([usual, tail]))
    assert len(edges) == COUNT and edges[0] > 0 and edges[-1] < 1
    return edges


EDGES = _edges()


def encode(confidence: np.ndarray, edges: np.ndarray = EDGES) -> np.ndarray:
    """confidence float32, any shape, 0..1 -> codes uint8 of that shape; NaN is no confidence at all, code 0."""
    return np.searchsorted(edges, np.nan_to_num(confidence), side="right").astype(np.uint8)


def minimum_code(threshold: float, edges: np.ndarray = EDGES) -> tuple[int, float]:
    """The least code that passes ``threshold`` (0 keeps all, 256 none) and the threshold that it really means.

    T <= 0 keeps all and T >= 1 none; between, T snaps up to the next edge.
    """
    if threshold <= 0:
        return 0, 0.0
    index = int(np.searchsorted(edges, np.float32(threshold), side="left"))
    if threshold >= 1 or index == len(edges):
        return 256, 1.0
    return index + 1, _shortest(edges[index])


def thresholds(edges: np.ndarray = EDGES) -> np.ndarray:
    """The effective threshold of each least code 0..256: 0 (all), the 255 edges, 1 (none); float64 (257,)."""
    return np.array([0.0, *map(_shortest, edges), 1.0])


def _shortest(edge: np.float32) -> float:
    """The shortest decimal that is this float32: 0.9, not 0.89999998; asked for again, it finds this edge again."""
    return float(str(edge))
