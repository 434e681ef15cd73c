"""A page of the list, as its address names it: the kind of tasks, the page number, the search."""

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
class ListPage:
    """A page of the list. The query string names it."""

    show: Show = Show.ALL
    page: int = 1
    search: str = ""
    """The words to search for."""
    shortened: bool = False
    """Whether words were left out of the search."""

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Return the page that a request names. Invalid parameters are ignored."""
        try:
            show = Show(request.GET.get("show", Show.ALL))
        except ValueError:
            show = Show.ALL
        text = request.GET.get("q", "").replace("\0", "")
        words = words_of(text[:LONGEST_SEARCH])
        page = number_in(request.GET, "page", 1)
        return cls(show, page, " ".join(words), is_shortened(text))

    def showing(self, show: Show) -> Self:
        """Return the first page of the tasks that ``show`` selects."""
        return replace(self, show=show, page=1)

    @property
    def named(self) -> dict[str, str]:
        """The parameters of its address. The first page of all tasks has none."""
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
