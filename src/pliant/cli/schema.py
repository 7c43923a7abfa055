"""`pliant schema`: the JSON schema of a study file, for editors."""

from __future__ import annotations

from pliant.cli.output import print_json


def schema_command() -> None:
    """Print the JSON schema of study files, for completion and checking in editors.

    Example: pliant schema > pliant.schema.json, then start a study with
    `# yaml-language-server: $schema=pliant.schema.json`.
    """
    from pliant.study.study import Study

    print_json(Study.model_json_schema())
