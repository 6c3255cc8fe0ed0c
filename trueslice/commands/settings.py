"""Changes of params.yaml in the form in which DVC writes it, so that only the lines of changed parameters differ."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from trueslice import params
from trueslice.errors import ParamsError
from trueslice.files import whole_file

PARAMS = Path("params.yaml")


def change(values: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Set parameters, given by their dotted keys, and return the old and the new value of each that differs.

    Raises:
        ParamsError: params.yaml cannot be read, or would be wrong with these values; it is then left as it is.
    """
    params.load(PARAMS)
    before = PARAMS.read_text(encoding="utf-8")
    yaml = YAML()
    yaml.default_flow_style = False
    content = yaml.load(before)
    for key, value in values.items():
        *sections, name = key.split(".")
        section = content
        for part in sections:
            if not isinstance(section.get(part), Mapping):
                raise ParamsError(f"unknown key {key}: there is no section {part} in {PARAMS}")
            section = section[part]
        if section.get(name, ...) != value:  # else it may be spelt otherwise, as 1e-3 for 0.001
            section[name] = value
    text = io.StringIO()
    yaml.dump(content, text)
    after = text.getvalue()
    params.check(params.Params, YAML(typ="safe").load(after), f"{PARAMS} would be wrong")
    with whole_file(PARAMS) as new:
        new.write_text(after, encoding="utf-8")
    return params.differences(before, after)
