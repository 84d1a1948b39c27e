"""Every exception that promptforge raises on purpose.

    PromptforgeError
    ├── ConfigError      a recipe, flag or parameter is wrong; nothing has run          exit code 2
    ├── EnvironmentFault a tool, font, model or port is missing                         exit code 2
    ├── LockedError      another run holds the store                                    exit code 2
    └── DataFault        a file, shard or table is not what its record says             exit code 1
        ├── SourceFault  an input file cannot be read at all
        ├── SchemaFault  a table breaks its definition in schemas/
        └── StoreFault   a committed file is missing, changed or contradicts its record

Each message says what was seen, what was expected and what to do next. Foreign exceptions are mapped once,
at the edge, with `from exc`. A bad row never raises: it becomes a verdict or an error column.
"""

from __future__ import annotations


class PromptforgeError(Exception):
    """Root of the tree; `exit_code` is what the command line answers with."""

    exit_code = 1


class ConfigError(PromptforgeError):
    """A recipe, flag or parameter is wrong; raised before any work."""

    exit_code = 2


class EnvironmentFault(PromptforgeError):
    """Something that the machine must provide is missing."""

    exit_code = 2


class LockedError(PromptforgeError):
    """Another run holds the store."""

    exit_code = 2


class DataFault(PromptforgeError):
    """A file, shard or table is not what its record says."""


class SourceFault(DataFault):
    """An input file cannot be read at all."""


class SchemaFault(DataFault):
    """A table breaks its definition in schemas/."""


class StoreFault(DataFault):
    """A committed file is missing, changed or contradicts its record."""
