"""metrics/report.html: one file that opens without a network; the same inputs make the same bytes."""

from pathlib import Path
from string import Template

from fewmask.drawing.gate_grid import drawing
from fewmask.drawing.markup import Html, join, swatch, tag, text
from fewmask.reporting import budgets, comparison, curves, gallery
from fewmask.reporting.pictures import confidence_scale
from fewmask.reporting.results import Study
from fewmask.reporting.rounds import rounds

FOLDER = Path(__file__).parent


def report(study: Study) -> str:
    """The page: page.html with page.css and every section filled in."""
    template = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
    parts = {
        "style": Html((FOLDER / "page.css").read_text(encoding="utf-8")),
        "summary": comparison.summary(study),
        "facts": facts(study),
        "classes": legend(study),
        "warnings": warnings(study),
        "caution": caution(study),
        "baseline": study.baseline.name,
        "role": study.split.evaluated,
        "validation": len(study.split.validation),
        "comparison": comparison.comparison(study),
        "per_class": comparison.per_class(study),
        "selection": curves.selection(study),
        "training": curves.training(study.histories),
        "confusions": comparison.confusions(study),
        "evaluated": gallery.evaluated(study),
        "unlabelled": gallery.unlabelled(study),
        "rounds": rounds(study),
        "routes": drawing(study.routes),
        "budgets": budgets.budgets(study),
        "confidence_scale": confidence_scale(),
    }
    return template.substitute({key: text(value) for key, value in parts.items()})


def facts(study: Study) -> Html:
    """How many images of each use, and what they are."""
    split, (height, width) = study.split, study.images.size
    entries = [
        (len(split.labelled), "labelled images"),
        (len(split.unlabelled), "unlabelled images"),
        (len(split.validation), "validation images"),
        (len(split.test), f"evaluated images (role: {split.evaluated})"),
        (len(study.images.class_names), "classes"),
        (f"{width}\u2009\u00d7\u2009{height}", "pixels an image"),
        (split.seed, "seed"),
    ]
    return join(tag("div", tag("dd", value), tag("dt", name)) for value, name in entries)


def legend(study: Study) -> Html:
    """The classes and their colours."""
    pairs = zip(study.images.class_names, study.images.colours, strict=True)
    return join(tag("li", swatch(colour), name) for name, colour in pairs)


def warnings(study: Study) -> Html:
    """What the split had to warn of."""
    entries = [tag("li", warning) for warning in study.split.warnings]
    return tag("ul", *entries, class_="warnings") if entries else Html()


def caution(study: Study) -> str:
    """How far the numbers can be trusted."""
    count, seed = len(study.split.test), study.split.seed
    measured = f"Measured on {count} evaluated image{'' if count == 1 else 's'} with one seed ({seed})."
    return f"{measured} A difference found with one seed is no evidence by itself: repeat it with other seeds."
