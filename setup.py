"""`pipeline/` is installed as `fewmask`, `stages/` as `fewmask.stages`; all else stands in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=["fewmask", *(f"fewmask.{name}" for name in find_packages("pipeline")), "fewmask.stages"],
    package_dir={"fewmask": "pipeline", "fewmask.stages": "stages"},
)
