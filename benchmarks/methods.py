"""Which trainings and rows the ablations of a method consist of, for benchmarks/variants.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """What lies in one folder.

    settings: how its params differ from the preset.
    scores: what is evaluated, label -> the model and, with two networks, the tagger. Under "" the scores are the row's
        own; a part without any is no row.
    makes: stages run beside those of the scored models.
    own: shared stages that it makes itself.
    takes: part -> the stage that is linked from it.
    """

    settings: tuple[str, ...] = ()
    scores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    makes: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    takes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """``base`` is the part whose folder makes the ``shared`` stages; ``default`` rows are run where none are named.

    Rows are compared with the rows ``against`` that have scores in the folder, or else with the first one.
    """

    base: str
    shared: tuple[str, ...]
    parts: dict[str, Part]
    default: tuple[str, ...]
    against: tuple[str, ...] = ()

    @property
    def rows(self) -> list[str]:
        return [name for name, part in self.parts.items() if part.scores]

    def needed(self, rows: list[str]) -> list[str]:
        """The rows, and the parts that they take something from before them."""
        wanted = {*rows, *(other for row in rows for other in self.parts[row].takes)}
        return sorted(wanted, key=list(self.parts).index)


STAGES = {"S1": ("supervised",), "S2": ("three_stage_2",), "S3": ("three_stage",)}
THREE_STAGE = {  # Tables V and VI
    "full": (),
    "without CR": ("three_stage.recipe.lambda_1=0",),
    "without T2": ("three_stage.recipe.lambda_2=0",),
    "without SA": ("three_stage.recipe.strong=null",),
    "without N2": ("three_stage.stage_3.branch={own_blocks: 2, width: 0.5}",),
    "without EMA": ("three_stage.recipe.decay=[[0, 0]]",),
}
CONTRASTIVE = {  # Table 5, one term after another
    "supervised": ("contrastive.lambda_pseudo=0", "contrastive.lambda_ent=0", "contrastive.lambda_contr=0"),
    "pseudo": ("contrastive.lambda_ent=0", "contrastive.lambda_contr=0"),
    "pseudo, entropy": ("contrastive.lambda_contr=0",),
    "full": (),
    "full, 1024 pixels a class": ("contrastive.contrast.max_pixels_per_class=1024",),
    "adaptation": ("contrastive.source=0.5",),
}
S4GAN = {  # Table 6
    "ce": ("s4gan.lambda_fm=0", "s4gan.lambda_st=0"),
    "sgan": ("s4gan.adversarial=standard", "s4gan.lambda_st=0"),
    "fm": ("s4gan.lambda_st=0",),
    "full": (),
}
TAGGERS = {  # Tables 5 and 7; the tags are in the images store, and the split must come out the same beside them
    "mlmt": Part(makes=("mlmt",)),
    "cnn": Part(("mlmt.lambda_cons=0", "mlmt.publish=student"), makes=("mlmt",)),
    "tags": Part(("dataset.tags=masks", "mlmt.steps=1600"), makes=("mlmt",), own=("prepare", "split")),
}


def fused(tagger: str, *settings: str) -> Part:
    """The network of the part ``full`` and the classifier of the part ``tagger``."""
    return Part(settings, {"": ("s4gan", "mlmt")}, takes={"full": "s4gan", tagger: "mlmt"})


FUSED = {
    "supervised + mlmt": Part(scores={"": ("supervised", "mlmt")}, takes={"mlmt": "mlmt"}),
    "full + pixels": fused("mlmt", "fusion.rule=pixels"),
    "full + pixels_per_class": fused("mlmt", "fusion.rule=pixels_per_class"),
    "full + cnn": fused("cnn"),
    "full + mlmt": fused("mlmt"),
    "full + tags": fused("tags"),
}
DEEPLAB = (  # as many multiply-accumulates as the routing network of the streets
    "selene.network={name: deeplabv3plus, encoder: 'timm:mobilenetv2_050', output_stride: 16, deep_stages: drop, "
    "aspp_rates: [2, 4, 6], aspp_channels: 32, low_channels: 12, decoder_channels: 32}"
)
PLAIN = ("selene.semi=none", "selene.jigsaw=false")
SELENE = {  # Table 4, then Tables 2 and 3, then budgets
    "supervised": PLAIN,
    "jigsaw": ("selene.semi=none",),
    "mean teacher": ("selene.jigsaw=false",),
    "full": (),
    "co-teaching": ("selene.semi=co_teaching", "selene.jigsaw=false", "selene.lambda_2=1"),
    "deeplabv3plus": (*PLAIN, DEEPLAB),
    "deeplabv3plus, full": (DEEPLAB,),
    **{f"budget {share}": (f"selene.budget.share={share}",) for share in (0.4, 0.55, 0.7, 0.85)},
}
METHODS = {
    "three_stage": Method(
        base="full",
        shared=("prepare", "split", "supervised", "supervised-label"),
        parts={name: Part(settings, STAGES) for name, settings in THREE_STAGE.items()},
        default=("full",),
    ),
    "contrastive": Method(
        base="shared",
        shared=("prepare", "prepare-source", "split", "supervised"),
        parts={"shared": Part()} | {name: Part(s, {"": ("contrastive",)}) for name, s in CONTRASTIVE.items()},
        default=tuple(CONTRASTIVE)[:4],
        against=("supervised",),
    ),
    "s4gan": Method(
        base="supervised",
        shared=("prepare", "split", "supervised"),
        parts={"supervised": Part(scores={"": ("supervised",)})}
        | {name: Part(settings, {"": ("s4gan",)}) for name, settings in S4GAN.items()}
        | TAGGERS
        | FUSED,
        default=("supervised", *S4GAN, *FUSED),
        against=("supervised", "ce"),
    ),
    "selene": Method(
        base="shared",
        shared=("prepare", "split", "supervised"),
        parts={"shared": Part()} | {name: Part(settings, {"": ("selene",)}) for name, settings in SELENE.items()},
        default=tuple(SELENE)[:4],
        against=("supervised",),
    ),
}
