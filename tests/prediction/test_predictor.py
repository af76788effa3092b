"""A predictor takes a segmentation model, and as judge only the auxiliary network that was trained on it."""

import numpy as np
import pytest

from fewmask.core.errors import ArtefactError
from fewmask.methods.auxiliary import judge as auxiliary
from fewmask.nets.base.published import Header, build, save_model
from fewmask.nets.dsnet.dsnet import Config
from fewmask.prediction.predictor import Predictor

SMALL = Config(width=0.25, blocks=[1, 1, 1, 1])
JUDGE = auxiliary.Config(width=0.1)


def publish(path, net, section, base=None):
    names, colours = ["sky", "road", "car"], [[0, 0, 0]] * 3
    header = Header(section.model_dump(), names, colours, [0.5] * 3, [0.2] * 3, [32, 48], {}, {"base": base})
    return save_model(path, net, header)


@pytest.fixture
def files(tmp_path):
    digest = publish(tmp_path / "net.safetensors", build(SMALL, 3), SMALL)
    publish(tmp_path / "judge.safetensors", auxiliary.build(JUDGE, 3), JUDGE, digest)
    publish(tmp_path / "other.safetensors", auxiliary.build(JUDGE, 3), JUDGE, "0" * 64)
    return tmp_path


def test_confidence_is_the_largest_probability_or_the_judge_s(files):
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    alone = Predictor(files / "net.safetensors")
    label, confidence = alone(images)
    probabilities = alone.probabilities(images)
    assert (label == probabilities.argmax(1)).all()
    assert (confidence == probabilities.max(1).values).all()
    judged_label, judged = Predictor(files / "net.safetensors", files / "judge.safetensors")(images)
    assert (judged_label == label).all()
    assert (judged != confidence).any()
    assert judged.min() >= 0 and judged.max() <= 1


def test_files_of_the_wrong_kind_are_refused(files):
    with pytest.raises(ArtefactError, match="holds the network 'judge'; expected a segmentation model"):
        Predictor(files / "judge.safetensors")
    with pytest.raises(ArtefactError, match="holds the network 'dsnet'; expected an auxiliary network"):
        Predictor(files / "net.safetensors", files / "net.safetensors")


def test_a_judge_of_another_model_is_refused(files):
    with pytest.raises(ArtefactError, match="was trained on another model"):
        Predictor(files / "net.safetensors", files / "other.safetensors")
