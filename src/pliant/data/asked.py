"""What a model is asked, whatever the right answers are: images, texts, or questions, with labels that nobody looks at or with none."""

from __future__ import annotations

import json

from pydantic import Field

from pliant.data.choices import ChoiceQuestion, QuestionSet, choice_format
from pliant.data.image_sources import BUILTIN, Columns, found
from pliant.data.labelled_texts import Texts
from pliant.data.located import Located
from pliant.data.pictures import Pictures, built
from pliant.data.problems import Problem, ProblemSet
from pliant.data.rows import first_record
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.spec import digest

_FORMAT = 1  # raise it when the same source would give other pixels


class Asked(Located):
    """Images, texts or questions; a plain string is its `source`."""

    image_column: str | None = Field(None, description="Column of a table that holds the images; by default image or img")
    size: int | None = Field(
        None, ge=1, le=4096, description="Pixels of a side that images are brought to; by default what the model reads"
    )
    text_column: str | None = Field(None, description="Column of the text; by default text, sentence, or a usual pair")
    pair_column: str | None = Field(None, description="Column of a second text, where each example is a pair")
    question: str | None = Field(
        None, min_length=1, description="The column of the question, or a template such as `Where was {sub_label} born?`"
    )
    skip_bad: bool = Field(False, description="Leave out, and count, what cannot be read, instead of refusing all")

    def fingerprint(self) -> str:
        """Of what the source holds. Raises PliantError for a source that cannot be read."""
        return self.source if self.source == BUILTIN else super().fingerprint()

    def pictures(self, size: tuple[int, int]) -> Pictures:
        """The images, of `size` unless these fields say another. Raises PliantError for whatever is wrong with the source."""
        wanted = (self.size, self.size) if self.size is not None else size
        columns = Columns(self.image_column, None)
        key = digest(json.dumps([_FORMAT, self.fingerprint(), self.image_column, wanted, self.skip_bad]))
        images = found(self.source, columns, labelled=False)
        return built(cache_folder() / "unlabelled" / key, self.source, images, lambda: (), wanted, self.skip_bad, labelled=False)

    def texts(self) -> Texts:
        """The texts."""
        return Texts(source=self.source, text_column=self.text_column, pair_column=self.pair_column, skip_bad=self.skip_bad)

    def choices(self) -> list[ChoiceQuestion]:
        """The questions with answers to choose from; none where its columns hold none. Raises PliantError that names the line at fault."""
        record = first_record(self.source)
        try:
            choice_format(list(record or ()))
        except PliantError:
            if "choices" in (record or ()):  # which would be left out of the question otherwise
                raise
            return []
        return [] if self.question is not None else list(QuestionSet(source=self.source).questions())

    def questions(self) -> list[Problem]:
        """The questions alone. Raises PliantError that names the line at fault."""
        return list(ProblemSet(source=self.source, question=self.question).problems(answered=False))
