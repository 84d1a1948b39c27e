"""The tiny teacher, student and data set of tests/distill."""

from tests.distill.conftest import dataset, flux_folder, small, t5_folder

__all__ = ["dataset", "flux_folder", "small", "t5_folder"]
