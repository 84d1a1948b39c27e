"""promptforge makes, filters, renders, scores and publishes distillation prompts for text-to-image models.

Importing this package loads neither prefect nor torch. Start reading at `promptforge.protocols`.
"""

from importlib.metadata import version as _version

__version__ = _version("promptforge")
__all__ = ["__version__"]
