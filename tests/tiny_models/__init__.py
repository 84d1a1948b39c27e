"""Pipelines of a few kilobytes with random weights, saved and loaded as the real ones are.

from tests.tiny_models.pipelines import tiny_flux
folder = tiny_flux(tmp_path / "flux")
"""
