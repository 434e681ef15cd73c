"""What has changed in the list, instead of the whole page.

A script names the rows that it has, in the header `HAVE`: ``12.1f3a5b7c,…``, a task's id and the
row's version. Rows that are still the same are sent empty, and the script puts its own in their
place. So the answer is never about another state of the list than the page itself.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse, HttpResponseBase

HAVE = "X-Have"

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

_ROW = re.compile(rb'(<li id="task-(\d+)" data-v="(\w+)" class="row[^>]*>).*?</li>', re.DOTALL)


def without_known_rows(view: View) -> View:
    @functools.wraps(view)
    def shortened(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        have = request.headers.get(HAVE)
        if have and isinstance(response, HttpResponse) and response.status_code in (200, 422):
            known = set(have.encode().split(b","))
            response.content = _ROW.sub(functools.partial(_short, known), response.content)
        return response

    return shortened  # type: ignore[return-value]


def _short(known: set[bytes], row: re.Match[bytes]) -> bytes:
    return row[1] + b"</li>" if row[2] + b"." + row[3] in known else row[0]
