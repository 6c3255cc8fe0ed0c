"""Records: JSON files whose keys are declared once, as typed attributes.

Each file of metrics/ has one record, and each object in it is a record too. `write` makes the file and `read` brings
it back:

    scores = ModelScores.read(Path("metrics/test.json"))
    scores.classes[0].recall
"""

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trueslice.errors import UserError
from trueslice.files import printable, whole_file

Share = Annotated[float, Field(ge=0, le=1)]
WITH_A_VALUE: Any = Field(default=None, exclude_if=lambda value: value is None)  # a key that is absent without a value


class Record(BaseModel):
    """An object of a JSON file: its fields are the keys, in their order. NaN and infinity are errors."""

    advice: ClassVar[str] = "`dvc repro` writes it again"  # for the reader of a damaged file

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, populate_by_name=True)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a JSON file.

        Raises:
            UserError: the file is no JSON, a key is missing or unknown, or a value is not of its type.
        """
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            problem = f"{_problem(error):.200}"
        except (ValueError, RecursionError):
            problem = "it is not JSON"
        raise UserError(f"{path} is damaged: {problem}; {cls.advice}")

    def write(self, path: Path) -> None:
        """Write the JSON file, whole or not at all."""
        with whole_file(path) as beside:
            beside.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Return the content of the JSON file."""
        return json.dumps(self.model_dump(by_alias=True), indent=2) + "\n"


def key(name: str) -> Any:
    """Declare a field that has another name in the file, for example a keyword of Python."""
    return Field(validation_alias=name, serialization_alias=name)


def _problem(error: ValidationError) -> str:
    # An unknown key comes first: misspelling a key also makes the right one missing.
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    place = printable(".".join(map(str, first["loc"])))
    if first["type"] == "missing":
        return f"it has no key {place}"
    if first["type"] == "extra_forbidden":
        return f"it has an unknown key {place}"
    if first["type"] == "value_error":
        return f"{place + ': ' if place else ''}{first['ctx']['error']}"
    if first["type"].startswith(("greater_than", "less_than")):
        return f"{place} is {first['input']}; it must be {first['msg'].removeprefix('Input should be ')}"
    return f"the value of {place or 'the whole'} is not of its type"
