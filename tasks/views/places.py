"""Where on the list somebody is: which tasks, which page, what was searched for."""

from dataclasses import dataclass, replace
from typing import Self

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from tasks.lists.queries import Show
from tasks.lists.searching import is_shortened, words_of
from tasks.views.numbers import number_in

LONGEST_SEARCH = 255
"""Characters: as many as a name may have."""


@dataclass(frozen=True, slots=True)
class Place:
    """A page of the list, as the query string names it."""

    show: Show = Show.ALL
    page: int = 1
    search: str = ""
    """The words to look for."""
    shortened: bool = False
    """Whether words were left out of it."""

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Return the place a request names; what it names wrongly is as if left out."""
        try:
            show = Show(request.GET.get("show", Show.ALL))
        except ValueError:
            show = Show.ALL
        asked = request.GET.get("q", "").replace("\0", "")
        words = words_of(asked[:LONGEST_SEARCH])
        page = number_in(request.GET, "page", 1)
        return cls(show, page, " ".join(words), is_shortened(asked))

    def showing(self, show: Show) -> Self:
        """Return the first page of other tasks."""
        return replace(self, show=show, page=1)

    @property
    def named(self) -> dict[str, str]:
        """The parameters of its address; none for the first page of all tasks."""
        named = {}
        if self.show is not Show.ALL:
            named["show"] = self.show.value
        if self.search:
            named["q"] = self.search
        if self.page > 1:
            named["page"] = str(self.page)
        return named

    @property
    def query(self) -> str:
        """The query string, with its "?"."""
        return f"?{urlencode(self.named)}" if self.named else ""

    @property
    def url(self) -> str:
        return reverse("tasks:list") + self.query
