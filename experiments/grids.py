"""The experiments of docs/results/index.md as data: what each row of a table changes, and which scores it has."""

from collections.abc import Mapping
from dataclasses import dataclass

PLAIN = ()  # a row without settings is the method as params.yaml has it
UNLABELLED_KEYS = (  # of unlabelled images: in nothing else may a control differ from its method
    "three_stage.recipe.unlabelled",
    "auxiliary.retrain.pseudo",
    "auxiliary.retrain.batch",
    "contrastive.unlabelled",
    "s4gan.unlabelled",
    "mlmt.unlabelled",
    "selene.unlabelled",
    "consistency.unlabelled",
)


@dataclass(frozen=True)
class Row:
    """One row of a result.

    settings: how its params differ, as ``dvc exp run -S`` takes them; a bare ``key=value`` may add a key.
    scores: label -> the evaluation of dvc.yaml that it reads. Under "" the scores are the row's own.
    control: what its control has besides: the same training without unlabelled images. ``{true}`` stands for the true
        labels of one of its steps. The control is a row of its own, named as ``control_of`` says.
    """

    settings: tuple[str, ...]
    scores: Mapping[str, str]
    control: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """``shared`` stages are made once a seed, before the rows; ``default`` rows are run where none are named.

    Rows are compared by seed with those of ``against`` that are run, or else with the first one.
    """

    rows: dict[str, Row]
    shared: tuple[str, ...]
    default: tuple[str, ...]
    against: tuple[str, ...] = ("supervised",)


def control_of(name: str) -> str:
    """The name of the row that is a row's control."""
    return f"{name}, control"


def rows(evaluation: str, table: Mapping[str, tuple[str, ...]]) -> dict[str, Row]:
    """Rows that are scored by the same evaluation."""
    return {name: Row(settings, {"": evaluation}) for name, settings in table.items()}


AUXILIARY = rows("supervised", {"supervised": PLAIN}) | rows("auxiliary", {"auxiliary": PLAIN})
STAGES = {"S1": "supervised", "S3": "three_stage"}
THREE_STAGE = {  # Tables V and VI
    "full": PLAIN,
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
    "full": PLAIN,
    "full, 1024 pixels a class": ("contrastive.contrast.max_pixels_per_class=1024",),
    "adaptation": ("contrastive.source=0.5",),
}
S4GAN = {  # Table 6
    "ce": ("s4gan.lambda_fm=0", "s4gan.lambda_st=0"),
    "sgan": ("s4gan.adversarial=standard", "s4gan.lambda_st=0"),
    "fm": ("s4gan.lambda_st=0",),
    "full": PLAIN,
}
FUSED = {  # Tables 5 and 7
    "full + pixels": ("fusion.rule=pixels",),
    "full + pixels_per_class": ("fusion.rule=pixels_per_class",),
    "full + cnn": ("mlmt.lambda_cons=0", "mlmt.publish=student"),
    "full + mlmt": PLAIN,
    "full + tags": ("dataset.tags=masks", "mlmt.steps=1600"),
}
DEEPLAB = (  # as many multiply-accumulates as the routing network of the streets
    "~selene.network",  # a mapping would be merged into the one that is there
    "+selene.network={name: deeplabv3plus, encoder: 'timm:mobilenetv2_050', output_stride: 16, deep_stages: drop, "
    "aspp_rates: [2, 4, 6], aspp_channels: 32, low_channels: 12, decoder_channels: 32}",
)
WITHOUT = ("selene.semi=none", "selene.jigsaw=false")
SELENE = {  # Table 4, then Tables 2 and 3, then budgets
    "supervised": WITHOUT,
    "jigsaw": ("selene.semi=none",),
    "mean teacher": ("selene.jigsaw=false",),
    "full": PLAIN,
    "co-teaching": ("selene.semi=co_teaching", "selene.jigsaw=false", "selene.lambda_2=1"),
    "deeplabv3plus": (*WITHOUT, *DEEPLAB),
    "deeplabv3plus, full": DEEPLAB,
    **{f"budget {share}": (f"selene.budget.share={share}",) for share in (0.4, 0.55, 0.7, 0.85)},
}
BOTH = ("s4gan.unlabelled=0", "mlmt.unlabelled=0")
CONTROLS = {  # method: what its control has besides; rows with equal settings are one experiment
    "supervised": PLAIN,
    "three_stage": ("three_stage.recipe.unlabelled=0",),
    "auxiliary": ("auxiliary.retrain.pseudo=0", "auxiliary.retrain.batch={true}"),
    "contrastive": ("contrastive.unlabelled=0",),
    "s4gan": BOTH,
    "s4gan_mlmt": BOTH,
    "selene": ("selene.unlabelled=0",),
    "consistency": ("consistency.unlabelled=0",),
}
TRIALS = rows(  # as many choices for the baseline as for the method; scored on validation images of unreported seeds
    "supervised",
    {
        "supervised": PLAIN,
        "supervised, encoder at the whole rate": ("supervised.optimiser.rates={blocks.: 1.0}",),
        "supervised, encoder at 0.03": ("supervised.optimiser.rates={blocks.: 0.03}",),
        "supervised, rate 0.001": ("supervised.optimiser.lr=0.001",),
        "supervised, no average": ("supervised.decay=null",),
        "supervised, no other colours": ("supervised.views.colours=null",),
    },
) | rows(
    "consistency",
    {
        "consistency": PLAIN,
        "consistency, CutMix": ("consistency.strong.mixing=cutmix",),
        "consistency, threshold 0.8": ("consistency.threshold=0.8",),
        "consistency, half of each class": ("consistency.class_share=0.5",),
        "consistency, two strong views": ("consistency.strong_views=2",),
        "consistency, no other colours": ("consistency.views.colours=null",),
    },
)
METHODS = {name: Row(PLAIN, {"": name}, control) for name, control in CONTROLS.items()}
GRIDS = {
    "methods": Grid(METHODS, shared=("evaluate@supervised", "supervised-label"), default=tuple(METHODS)),
    "trials": Grid(TRIALS, shared=(), default=tuple(TRIALS)),
    "auxiliary": Grid(AUXILIARY, shared=(), default=tuple(AUXILIARY)),
    "three_stage": Grid(
        {name: Row(settings, STAGES) for name, settings in THREE_STAGE.items()},
        shared=("supervised-label", "evaluate@supervised"),
        default=("full",),
    ),
    "contrastive": Grid(rows("contrastive", CONTRASTIVE), shared=("supervised",), default=tuple(CONTRASTIVE)[:4]),
    "s4gan": Grid(
        rows("supervised", {"supervised": PLAIN}) | rows("s4gan", S4GAN) | rows("s4gan_mlmt", FUSED),
        shared=("s4gan", "mlmt"),
        default=("supervised", *S4GAN, *FUSED),
        against=("supervised", "ce"),
    ),
    "selene": Grid(rows("selene", SELENE), shared=("supervised",), default=tuple(SELENE)[:4]),
}
