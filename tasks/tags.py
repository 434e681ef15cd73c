"""The cache tags of this application: a change invalidates every entry that has its tag."""

from __future__ import annotations

FILES_TAG = "files"
"""The tag of every entry that is made from the index of imported files."""


def tag_of_list(list_id: int | None) -> str:
    """Return the tag of the entries that show a list. None stands for a visitor without a list."""
    return f"list:{list_id}"


def tag_of_user(user_id: int | str) -> str:
    """Return the tag of a user's pages: they show the user's list and the account."""
    return f"user:{user_id}"
