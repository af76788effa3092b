"""The page: complete, self-contained, escaped, and the same bytes again."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from fewmask.core.errors import ArtefactError, DataError
from fewmask.core.files import metrics_json, rows_csv
from fewmask.drawing.markup import DASH
from fewmask.drawing.palette import examples, palette_image, save_strip
from fewmask.scoring.overlap import accuracy, iou
from fewmask.selection.filter import curve, summary
from fewmask.selection.measures import joint_histogram, select
from fewmask.stores.codes import EDGES, thresholds
from fewmask.stores.images import Images, write_images
from fewmask.stores.labels import Labelled, write_labels
from fewmask.stores.split import Split
from stages import report

CLASSES = ["road", "<b>&car", "tree"]
COLOURS = [[128, 64, 128], [0, 0, 142], [107, 142, 35]]
SIZE = (8, 12)
TRAIN, VALIDATION, TEST = ([f"{kind}{number}" for number in range(8)] for kind in ("t", "v", "e"))
SPLIT = Split(7, TRAIN[:2], TRAIN[2:], VALIDATION, TEST, "test")
Page = Callable[..., str]


def scene(name: str) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) and its mask (H, W) with void, by its name."""
    random = np.random.default_rng(list(name.encode()))
    mask = random.integers(0, 3, SIZE).astype(np.uint8)
    mask[0] = 255
    return random.integers(0, 256, (*SIZE, 3)).astype(np.uint8), mask


def alike(image: str) -> list[dict[str, object]]:
    """Rows of details/images.csv: all that an image shows is taken for class 0."""
    counts = np.bincount(scene(image)[1].ravel(), minlength=3)[:3]
    return [
        {"image": image, "actual": name, "predicted": CLASSES[0], "pixels": pixels}
        for name, pixels in zip(CLASSES, counts, strict=True)
    ]


def write_method(folder: Path, name: str, **changes: object) -> None:
    """What an evaluation leaves: a prediction of class 0 everywhere."""
    truth = np.stack([scene(image)[1] for image in TEST])
    matrix = np.zeros((3, 3), int)
    matrix[:, 0] = np.bincount(truth[truth < 3], minlength=3)
    metrics = {"miou": 0.5, "mean_accuracy": 0.25, "pixel_accuracy": 0.75, "boundary_iou": 0.125, "ece": 0.0625}
    counts = {"images": len(TEST), "labelled_images": 2, "parameters": 1_234_000, "gmacs": 0.5, "seed": 7}
    columns = zip(CLASSES, iou(matrix), accuracy(matrix), matrix.sum(1), strict=True)
    pairs = [{"actual": CLASSES[i], "predicted": CLASSES[j], "pixels": n} for (i, j), n in np.ndenumerate(matrix)]
    plots = folder / "plots" / name
    plots.mkdir(parents=True)
    (folder / f"{name}.json").write_text(metrics_json({**metrics, **counts, **changes}))
    rows = [dict(zip(("class", "iou", "accuracy", "pixels"), row, strict=True)) for row in columns]
    (plots / "per_class.csv").write_text(rows_csv(rows))
    (plots / "confusion.csv").write_text(rows_csv(pairs))
    shown = np.zeros((len(examples(TEST)) * SIZE[0], SIZE[1]), np.uint8)
    (plots / "details").mkdir()
    (plots / "details/images.csv").write_text(rows_csv([row for image in TEST for row in alike(image)]))
    with Images(folder.parent / "data/images.h5") as images:
        origin = {"images": images.identity, "split": SPLIT.digest}
    save_strip(plots / "details/examples.png", palette_image(shown, COLOURS), origin)


def write_selection(folder: Path, minimum: Sequence[int]) -> None:
    """What the filter leaves; class 2 is in no validation mask."""
    truth, label = scene("v")[1] % 2, scene("w")[1] % 3
    histogram = joint_histogram(truth, label, scene("c")[0][..., 0], 3)
    found = select(histogram, np.array(minimum))
    plots = folder / "plots" / "selection"
    for made in (plots, folder / "selection"):
        made.mkdir(parents=True)
    values = {"threshold": 0.9, "effective_threshold": 0.9, "kept_unlabelled": 0.5, "images": 8}
    (folder / "selection" / "auxiliary.json").write_text(metrics_json({**values, **summary(found)}))
    (plots / "auxiliary.csv").write_text(rows_csv(curve(histogram, EDGES)))
    columns = zip(CLASSES, found.iou, found.semi_ratio, thresholds()[list(minimum)], strict=True)
    rows = [dict(zip(("class", "iou", "semi_ratio", "threshold"), row, strict=True)) for row in columns]
    (plots / "auxiliary_classes.csv").write_text(rows_csv(rows))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that a report reads."""
    folder = tmp_path_factory.mktemp("built")
    build(folder)
    return folder


@pytest.fixture
def project(tmp_path: Path, built: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(built, tmp_path, dirs_exist_ok=True)


def build(folder: Path, masks: bool = True) -> None:
    roles = {"t": "train", "v": "validation", "e": "test"}
    hidden = set() if masks else set(SPLIT.unlabelled)
    names = [*TRAIN, *VALIDATION, *TEST]
    samples = ((name, roles[name[0]], scene(name)[0], None if name in hidden else scene(name)[1]) for name in names)
    for made in ("data", "metrics/history"):
        (folder / made).mkdir(parents=True)
    write_images(folder / "data/images.h5", samples, len(names), CLASSES, COLOURS)
    items = (Labelled(name, scene(name)[1] % 3, scene(name)[0][..., 0]) for name in [*TRAIN[2:], *VALIDATION])
    write_labels(folder / "data/labels.h5", items, CLASSES)
    (folder / "data/split.json").write_text(SPLIT.dump())
    (folder / "params.yaml").write_text("seed: 7\n")
    write_selection(folder / "metrics", [100, 100, 100])
    (folder / "metrics/history/fit.csv").write_text("step,rate,loss,adv\n1,0.1,2.5,\n2,0.1,1.5,-1\n")
    for name in ("supervised", "auxiliary"):
        write_method(folder / "metrics", name, miou={"supervised": 0.5, "auxiliary": 0.625}[name])


FULL = ["--labels", "data/labels.h5", "--selection", "metrics/selection/auxiliary.json"]
FULL += ["--history", "metrics/history/fit.csv"]


@pytest.fixture
def page(project: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """``page("supervised", ..., options=[...])`` runs the stage and returns what it wrote."""

    def run(*methods: str, options: Sequence[str] = FULL) -> str:
        words = ["report", "--methods", *methods, *options, "--out", "metrics/report.html"]
        monkeypatch.setattr(sys, "argv", words)
        report.main()
        return Path("metrics/report.html").read_text(encoding="utf-8")

    return run


def test_the_difference_has_the_interval_of_its_images(page: Page, project: Path) -> None:
    """Here the other method has every pixel of four of eight images right."""
    table = project / "metrics/plots/auxiliary/details/images.csv"
    right = [row | {"predicted": row["actual"]} if image in TEST[:4] else row for image in TEST for row in alike(image)]
    table.write_text(rows_csv(right))
    low, high = re.search(r"\+12\.5 \(\+(\S+) to \+(\S+)\) points", page("supervised", "auxiliary")).groups()
    assert 10 < float(low) < 30
    assert 45 < float(high) < 85


@pytest.mark.parametrize(
    "table",
    [
        "image,actual,predicted,pixels\nx,tree,tree,1\n",
        "image\nx\n",
        "image,actual,predicted,pixels\ne0,tree,tree,many\n",
        "image,actual,predicted,pixels\n",
        "image,actual,predicted,pixels\ne0,tree,tree,1\n",
    ],
)
def test_scores_of_other_images_by_image_are_refused(page: Page, project: Path, table: str) -> None:
    (project / "metrics/plots/auxiliary/details/images.csv").write_text(table)
    with pytest.raises(ArtefactError, match=r"images\.csv"):
        page("supervised", "auxiliary")


def test_shows_the_measures_the_difference_and_the_conditions(page: Page) -> None:
    text = page("supervised", "auxiliary")
    for shown in (
        "auxiliary reaches 62.5 % mIoU, supervised 50.0 %: +12.5 (0.0 to 0.0) points.",
        ">1.234<",
        ">6.2<",
        "0.500",
    ):
        assert shown in text
    assert "Measured on 8 evaluated images with one seed (7)" in text
    assert "threshold 0.9" in text
    assert text.count('class="pair"') == 6 * 3
    assert text.count("ground truth*</figcaption>") == 6
    assert "never used" in text


def test_needs_nothing_from_elsewhere(page: Page) -> None:
    text = page("supervised", "auxiliary")
    targets = re.findall(r'(?:src|href|srcset|action|data)="([^"]*)"', text)
    assert targets
    assert all(re.match(r"#\w+$|data:image/(png|jpeg);base64,", target) for target in targets)
    named = text.replace('xmlns="http://www.w3.org/2000/svg"', "")  # a name, which nothing fetches
    assert not re.search(r"https?:|<script|@import|@font-face|url\(", named)


def test_the_same_inputs_make_the_same_bytes_anywhere(page: Page, project: Path, tmp_path: Path) -> None:
    first = page("supervised", "auxiliary")
    other = tmp_path / "elsewhere"
    build(other)
    moved = [f"{other}/{word}" if "/" in word else word for word in FULL]
    places = ["--images", f"{other}/data/images.h5", "--split", f"{other}/data/split.json"]
    second = page("supervised", "auxiliary", options=[*moved, *places, "--metrics-folder", f"{other}/metrics"])
    assert first == second
    assert str(tmp_path) not in first


def run_bare(monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    """The page of whatever there is."""
    monkeypatch.setattr(sys, "argv", ["report", *options, "--out", "metrics/report.html"])
    report.main()
    return Path("metrics/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("folder", "words"), [("data/labels", []), ("stores", ["--labels-folder", "stores"])])
def test_without_names_all_that_was_made_is_shown(
    page: Page, project: Path, monkeypatch: pytest.MonkeyPatch, folder: str, words: list[str]
) -> None:
    (project / folder).mkdir()
    (project / "data/labels.h5").rename(project / folder / "auxiliary.h5")
    options = ["--labels", f"{folder}/auxiliary.h5", *FULL[2:]]
    assert run_bare(monkeypatch, *words) == page("supervised", "auxiliary", options=options)


def test_scores_of_other_images_are_left_out_with_a_warning(project, page, monkeypatch, capsys) -> None:
    path = project / "metrics/auxiliary.json"
    path.write_text(path.read_text().replace('"images": 8', '"images": 9'))
    assert ">auxiliary<" not in run_bare(monkeypatch)
    assert "warning: auxiliary is left out: metrics/auxiliary.json: cannot be shown (evaluated images: 9" in (
        capsys.readouterr().err.replace("\n", " ")
    )
    with pytest.raises(ArtefactError, match=r"auxiliary\.json: cannot be shown"):
        page("supervised", "auxiliary")


def test_scores_of_as_many_but_other_images_are_left_out(project, monkeypatch, capsys) -> None:
    picture = project / "metrics/plots/auxiliary/details/examples.png"
    shown = np.zeros((len(examples(TEST)) * SIZE[0], SIZE[1]), np.uint8)
    save_strip(picture, palette_image(shown, COLOURS), {"images": "others", "split": SPLIT.digest})
    assert ">auxiliary<" not in run_bare(monkeypatch)
    assert "warning: auxiliary is left out" in capsys.readouterr().err


def test_no_scores_at_all_say_what_to_run(project, monkeypatch) -> None:
    for path in (project / "metrics").glob("*.json"):
        path.unlink()
    with pytest.raises(ArtefactError, match=r"^metrics: no scores of these images; run 'dvc repro"):
        run_bare(monkeypatch)


def test_names_are_escaped(page: Page) -> None:
    text = page("supervised", "auxiliary")
    assert "&lt;b&gt;&amp;car" in text
    assert "<b>&" not in text


def test_undefined_values_are_a_dash(page: Page, project: Path) -> None:
    write_method(project / "metrics", "broken", miou=None, ece=float("nan"))
    text = page("supervised", "broken", options=[])
    row = re.search(r"<tr><th[^>]*><span[^>]*><i[^>]*></i>broken.*?</tr>", text)
    assert row
    assert row[0].count(f">{DASH}<") == 3
    assert "nan" not in text.lower().replace("base64", "")[: text.index("<img")]
    assert ">None<" not in text


def test_any_number_of_methods_and_another_baseline(page: Page, project: Path) -> None:
    names = [f"method{number}" for number in range(9)]
    for number, name in enumerate(names):
        write_method(project / "metrics", name, miou=number / 10)
    text = page(*names, "supervised")
    assert "Best of the others: method8 reaches 80.0 % mIoU, supervised 50.0 %: +30.0 (0.0 to 0.0) points." in text
    assert text.count('role="img"') == 10 + 3
    assert "vs method0" in page(*names)


def test_one_method_alone_has_no_difference(page: Page) -> None:
    text = page("supervised", options=[])
    assert 'class="lead"></p>' in text
    for missing in ("No pseudo-labels were given.", "No selection was given.", "No history was given."):
        assert missing in text


def test_pseudo_labels_without_a_selection_or_ground_truth(page: Page, project: Path) -> None:
    for file in ("data/images.h5", "data/labels.h5"):
        (project / file).unlink()
    build(project / "bare", masks=False)
    (project / "bare/data/images.h5").rename(project / "data/images.h5")
    text = page("supervised", options=["--labels", "bare/data/labels.h5"])
    assert text.count(">pseudo-label</figcaption>") == 6
    assert "ground truth*</figcaption>" not in text
    assert "kept, " not in text


def test_thresholds_of_single_classes_are_shown(page: Page, project: Path) -> None:
    assert ">threshold</th>" not in page("supervised")
    for folder in ("selection", "plots/selection"):
        for file in (project / "metrics" / folder).iterdir():
            file.unlink()
        (project / "metrics" / folder).rmdir()
    write_selection(project / "metrics", [100, 0, 256])
    text = page("supervised")
    assert ">threshold</th>" in text
    assert ">0.000<" in text
    assert ">1.000<" in text


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("supervised.json", json.dumps({"images": 3})),
        ("supervised.json", json.dumps({"images": 8})),
        ("supervised.json", json.dumps({"images": 8, "gmacs": 1, "role": "validation"})),
        ("plots/supervised/per_class.csv", "class,iou,accuracy,pixels\nroad,1,1,1\n"),
        ("plots/supervised/confusion.csv", "actual,predicted,pixels\nroad,road,1\n"),
        ("plots/supervised/details/examples.png", "no picture"),
        ("plots/selection/auxiliary.csv", ""),
        ("plots/selection/auxiliary_classes.csv", "class,iou\nroad,1\n"),
        ("history/fit.csv", "rate,loss\n1,x\n"),
    ],
)
def test_damaged_inputs_are_named(page: Page, project: Path, file: str, content: str) -> None:
    (project / "metrics" / file).write_text(content)
    with pytest.raises(ArtefactError, match=rf"{Path(file).name}: cannot be shown .*Run 'dvc repro'"):
        page("supervised")


def test_a_missing_input_is_named(page: Page) -> None:
    with pytest.raises(DataError, match=r"metrics/absent\.json: no such file"):
        page("absent")


def test_starts_without_torch() -> None:
    code = "import stages.report, sys; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(report.__file__).parents[1], check=False).returncode == 0
    )


def write_round(path: Path, right: bool) -> None:
    """Pseudo-labels of U and the validation images: the truth, or road everywhere."""
    names = [*SPLIT.unlabelled, *VALIDATION]
    masks = [scene(name)[1] if right else np.zeros(SIZE, np.uint8) for name in names]
    items = [Labelled(name, mask, np.zeros(SIZE, np.uint8)) for name, mask in zip(names, masks, strict=True)]
    write_labels(path, items, CLASSES)


def test_rounds_of_pseudo_labels_are_measured_on_validation_images_and_shown_side_by_side(page, project) -> None:
    """Road everywhere: right for road's share of the valid pixels, IoU the same for road and 0 for the other two."""
    for name, right in (("first", False), ("second", True)):
        write_round(project / f"data/{name}.h5", right)
    text = page("supervised", options=["--rounds", "data/first.h5", "data/second.h5"])
    section = text[text.index('<section id="rounds">') :]
    truth = np.stack([scene(name)[1] for name in VALIDATION])
    share = 100 * (truth == 0).sum() / (truth != 255).sum()
    rows = re.findall(r'<tr><th scope="row">(.+?)</th>(.+?)</tr>', section)
    assert [name for name, _ in rows] == ["first", "second"]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for _, row in rows]
    assert cells[0] == [f"{share / 3:.1f}", "", f"{share:.1f}"]
    assert cells[1] == ["100.0", f"+{100 - share / 3:.1f}", "100.0"]
    assert section.count("<figcaption>second") == len(examples(SPLIT.unlabelled))


def test_a_round_of_other_images_is_refused(page, project) -> None:
    write_labels(project / "data/first.h5", [], CLASSES)
    with pytest.raises(ArtefactError, match=r"first.h5: lacks 14 of 14 images"):
        page("supervised", options=["--rounds", "data/first.h5"])


# ---- the ways through a routing network, and budgets

EXPERIMENTS = ["--experiments", "metrics/experiments.csv"]
ROUTES = "plots/selene/details/routes.csv"
WAYS = "layer,level,keep,up,down,open\n0,0,0.25,,0.75,1.0\n1,0,1.0,,,1.0\n1,1,0.5,,,0.5\n"
HERE = {"gmacs": 0.5, "gmacs_mean": 0.25, "images": 8, "labelled_images": 2, "miou": 0.625, "seed": 7}
BUDGET, STEPS = "selene.budget.share", "selene.steps"


def write_experiments(path: Path, *rows: dict, prefix: str = "metrics/selene.json:") -> None:
    """As DVC writes them: a row differs from HERE, and has no budget unless it is said."""
    whole = [{"Experiment": "", **HERE, STEPS: 500, BUDGET: "", **row} for row in rows or [{}]]
    named = [{prefix + key if key in HERE else key: value for key, value in row.items()} for row in whole]
    path.write_text(rows_csv(named) if rows else rows_csv(named).splitlines()[0] + "\n")


@pytest.fixture
def routed(page: Page, project: Path) -> Page:
    """``routed({"miou": 0.7, "selene.budget.share": 0.4}, ...)`` -> the section of the page."""

    write_method(project / "metrics", "selene")

    def run(*rows: dict, **options: str) -> str:
        write_experiments(project / "metrics/experiments.csv", *rows, **options)
        (project / "metrics" / ROUTES).write_text(WAYS)
        text = page("supervised", "selene", options=EXPERIMENTS)
        return text[text.index('<section id="routes">') : text.index('<section id="confusion">')]

    return run


def table(section: str) -> list[list[str]]:
    """The cells of the experiments, row by row."""
    rows = re.findall('<tr><th scope="row">.*?</tr>', section)
    return [re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_ways_are_drawn(routed: Page) -> None:
    section = routed()
    assert "layer 0, stride 4, down: mean gate 0.75" in section
    assert "layer 1, stride 8: used by 50.0 %" in section


def test_a_factor_of_a_fixed_network_may_be_above_1(routed: Page, page: Page, project: Path) -> None:
    """It is told as it is and drawn as an open path."""
    routed()
    path = project / "metrics" / ROUTES
    path.write_text(path.read_text().replace("0.75", "1.25"))
    text = page("supervised", "selene", options=EXPERIMENTS)
    assert re.search(r'stroke-opacity="1\.00"[^>]*><title>layer 0, stride 4, down: mean gate 1\.25', text)


def test_experiments_with_budgets_are_a_table_by_cost(routed: Page) -> None:
    """0.1 and 0.25 of 0.5 GMACs are 20 and 50 %."""
    without = {"gmacs_mean": 0.3, "miou": 0.75, STEPS: 1000}
    section = routed(without, {BUDGET: 0.6}, {BUDGET: 0.25, "gmacs_mean": 0.1, "miou": 0.5})
    assert table(section) == [
        ["0.25", "500", "0.1000", "20.0", "50.0"],
        ["0.60", "500", "0.2500", "50.0", "62.5"],
        ["none", "1000", "0.3000", "60.0", "75.0"],
    ]
    assert "make sweep" not in section
    lines = re.findall('<path d="([^"]*)" class="line s1 strong"', section)
    assert sorted(line.count("L") for line in lines) == [0, 1]  # a curve joins trainings of as many steps


@pytest.mark.parametrize("prefix", ["metrics/selene.json:", ""])
def test_columns_are_read_however_dvc_names_them(routed: Page, prefix: str) -> None:
    assert len(table(routed({BUDGET: 0.6}, prefix=prefix))) == 1


def test_experiments_on_other_images_are_left_out(routed: Page) -> None:
    """So are those that have not been run, and what cannot be."""
    others = [
        {"seed": 8},
        {"images": 9},
        {"labelled_images": 3},
        {"gmacs": 0.75},
        {"miou": "", "seed": "", "images": ""},
        {"miou": 5},
        {"gmacs_mean": "inf"},
    ]
    section = routed({BUDGET: 0.6}, *({BUDGET: 0.1, **other} for other in others))
    assert [row[0] for row in table(section)] == ["0.60"]


def test_an_experiment_is_shown_once(routed: Page) -> None:
    """The working folder, the branch and the experiment may be the same; another budget is another."""
    same = [{BUDGET: 0.6, "Experiment": name} for name in ("", "main", "rainy-day")]
    assert sorted(row[0] for row in table(routed(*same, {BUDGET: 0.5}))) == ["0.50", "0.60"]


def test_without_budgets_it_is_said_how_to_get_them(routed: Page) -> None:
    """Of no experiment, of one without a budget, of one on other images."""
    for rows in ([], [{}], [{BUDGET: 0.6, "seed": 8}]):
        section = routed(*rows)
        assert "<code>make sweep</code> runs some." in section
        assert "<table" not in section


def test_experiments_whose_metrics_are_missing_are_left_out(routed: Page) -> None:
    """DVC writes an exclamation mark where it cannot read a file."""
    assert len(table(routed(dict.fromkeys(HERE, "!"), {BUDGET: 0.6}))) == 1


def test_without_them_the_section_says_so(page: Page, project: Path) -> None:
    text = page("supervised", options=[])
    assert "This network has no gates." in text
    assert "make sweep" in text


def test_names_of_experiments_are_escaped(routed: Page) -> None:
    assert "<b>" not in routed({BUDGET: 0.6, "Experiment": "<b>bold</b>"})


def test_ways_and_budgets_are_the_same_bytes_again(routed: Page, project: Path) -> None:
    rows = [{BUDGET: 0.6}, {BUDGET: 0.25, "gmacs_mean": 0.1}, {BUDGET: 0.4, "gmacs_mean": 0.2}]
    assert routed(*rows) == routed(*rows) == routed(*reversed(rows))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("routes", ".+", ""),
        ("routes", "0.25", "much"),
        ("routes", ",,,0.5", ""),
        ("routes", "open", "shut"),
        ("routes", "0.75,1.0", "0.75,"),
        ("routes", "0.75", "-0.75"),
        ("routes", "0.75", "inf"),
        ("routes", "0.75,1.0", "0.75,5.0"),
        ("experiments", ".+", ""),
        ("experiments", ":miou", ":iou"),
        ("experiments", "0.625", "high"),
        ("experiments", "0.625", "6" * 200_000),
        ("experiments", "selene.steps", "steps"),
    ],
)
def test_damaged_ways_and_budgets_are_named(routed, page, project, file: str, old: str, new: str) -> None:
    routed({BUDGET: 0.6})
    name = ROUTES if file == "routes" else "experiments.csv"
    path = project / "metrics" / name
    path.write_text(re.sub(old, new, path.read_text(), count=1, flags=re.DOTALL))
    with pytest.raises(ArtefactError, match=rf"^metrics/{name}: cannot be shown") as told:
        page("supervised", "selene", options=EXPERIMENTS)
    assert len(str(told.value).splitlines()) == 1
