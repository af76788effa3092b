"""dvc.yaml is read as DVC reads it."""

from pathlib import Path

import pytest

from fewmask.checking.graph import nodes
from fewmask.core.errors import ConfigError

LIST = """
stages:
  a: {cmd: run, deps: ["${network.name}.py"]}
  b:
    foreach: [x, 1]
    do: {cmd: "run ${item}", params: [seed]}
"""
MAPPING = """
stages:
  a:
    foreach:
      x: "${network.name}"
    do:
      cmd: run ${key} --out ${key}.json
      deps: ["nets/${item}"]
      plots:
        - ${key}.csv: {cache: false}
"""


@pytest.fixture
def graph(tmp_path: Path):
    """``graph(text)`` -> path of a dvc.yaml."""

    def write(text: str) -> Path:
        path = tmp_path / "dvc.yaml"
        path.write_text(text)
        return path

    return write


def test_a_list_gives_a_node_an_item(graph) -> None:
    found = nodes(graph(LIST))
    assert found == {
        "a": {"cmd": "run", "deps": ["${network.name}.py"]},
        "b@x": {"cmd": "run x", "params": ["seed"]},
        "b@1": {"cmd": "run 1", "params": ["seed"]},
    }


def test_a_mapping_gives_a_node_a_key(graph) -> None:
    (node,) = nodes(graph(MAPPING)).items()
    assert node == (
        "a@x",
        {
            "cmd": "run x --out x.json",
            "deps": ["nets/${network.name}"],
            "plots": [{"x.csv": {"cache": False}}],
        },
    )


def test_the_project_s_graph_is_what_dvc_makes_of_it() -> None:
    from dvc.repo import Repo

    root = Path(__file__).resolve().parents[2]
    with Repo(str(root)) as repo:
        theirs = {stage.addressing: stage for stage in repo.index.stages}
        ours = nodes(root / "dvc.yaml")
        assert list(ours) == list(theirs)
        for name, stage in theirs.items():
            assert ours[name]["cmd"] == stage.cmd
            named = {str(dep.def_path) for dep in stage.deps} - {"params.yaml"}
            assert {dep for dep in ours[name].get("deps", []) if "${" not in dep} <= named


@pytest.mark.parametrize(("text", "match"), [(None, "no such file"), ("a: [", "not valid YAML")])
def test_what_is_no_graph_is_refused(graph, tmp_path: Path, text: str | None, match: str) -> None:
    path = tmp_path / "dvc.yaml" if text is None else graph(text)
    with pytest.raises(ConfigError, match=match):
        nodes(path)


@pytest.mark.parametrize("content", ["", "stages:", "stages: {a: python}", "[]"])
def test_a_graph_without_stages_is_refused(tmp_path, content):
    (tmp_path / "dvc.yaml").write_text(content)
    with pytest.raises(ConfigError, match="found no stages"):
        nodes(tmp_path / "dvc.yaml")
