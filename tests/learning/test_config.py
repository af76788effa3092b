"""Which keys a method has: those that it uses, and no others."""

import pytest
from pydantic import ValidationError

from fewmask.core.errors import ConfigError
from fewmask.learning.config import FitConfig, JoinedLabelsConfig, StoredLabelsConfig
from fewmask.learning.recipe import learner_class, require_use

REQUIRED = {
    "steps": 4000,  # more than the warm-up of contrastive
    "batch": 2,
    "optimiser": {"lr": 0.1},
}
OPTIONAL = {
    "unlabelled": 2,
    "unlabelled_pool": "all",
    "begin_with": "supervised",
    "pseudo": 1,
    "fixed_void": True,
    "source": 0.5,
    "source_until": 0.9,
    "weight_c": 1.1,
    "share": "present",
}
UNLABELLED, SOURCE = ["unlabelled", "unlabelled_pool"], ["source", "source_until"]
METHODS = {
    "supervised.Supervised": ["begin_with", "pseudo", "fixed_void", *SOURCE, "weight_c", "share"],
    "auxiliary.AuxiliaryNetwork": ["weight_c"],
    "three_stage.ThreeStage": [*UNLABELLED, "begin_with", "fixed_void", *SOURCE, "weight_c", "share"],
    "contrastive.Contrastive": [*UNLABELLED, "begin_with", *SOURCE],
    "s4gan.S4GAN": [*UNLABELLED, "begin_with", *SOURCE, "weight_c"],
    "mlmt.MLMT": [*UNLABELLED, "begin_with", "pseudo"],
    "selene.Selene": [*UNLABELLED, "begin_with", *SOURCE, "weight_c"],
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("key", OPTIONAL)
def test_a_key_without_effect_is_refused_as_unknown(name, key):
    schema = learner_class(name).schema
    raw = REQUIRED | ({"unlabelled": 2} if "unlabelled" in METHODS[name] else {})
    if key in METHODS[name]:
        assert getattr(schema.model_validate({**raw, key: OPTIONAL[key]}), key) == OPTIONAL[key]
    else:
        with pytest.raises(ValidationError, match=rf"{key}\n  Extra inputs are not permitted"):
            schema.model_validate({**raw, key: OPTIONAL[key]})


@pytest.mark.parametrize("pseudo", [2, 3])
def test_a_batch_has_room_for_true_labels(pseudo):
    with pytest.raises(ValidationError, match=f"pseudo {pseudo} is not below batch 2"):
        JoinedLabelsConfig.model_validate({**REQUIRED, "pseudo": pseudo})


def test_an_option_of_the_stage_goes_with_its_keys():
    stored = JoinedLabelsConfig.model_validate(REQUIRED)
    assert require_use(stored, StoredLabelsConfig, "--labels") is stored
    with pytest.raises(ConfigError, match=r"--labels: found with config, which has no use for it\. Remove it in dvc"):
        require_use(FitConfig.model_validate(REQUIRED), StoredLabelsConfig, "--labels")
