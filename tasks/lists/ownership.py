"""Which list belongs to a request.

A user has one list. A visitor's belongs to the session of the browser, which keeps its id, and
becomes part of the user's list at sign-up or log-in. A list is made at the first write: a visitor
that only reads leaves no rows behind.
"""

from typing import Any

from django.contrib import auth, messages
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest

from tasks.lists import changes, queries, sharing
from tasks.lists.capacity import CapacityError, forget_deleted, takes_another_list
from tasks.models import Deletion, Task, TaskList
from tasks.throttling import NEW_LISTS, address_of

SESSION_KEY = "task_list"


def list_id(request: HttpRequest) -> int | None:
    """Return the id of the request's list; None if there is none yet."""
    if request.user.is_authenticated:
        return queries.list_of(request.user.pk)
    return request.session.get(SESSION_KEY)


Viewer = tuple[str | None, str | None, str | None, int | None]
"""A user's id, login backend and session hash; or the id of a visitor's list."""


def viewer(request: HttpRequest) -> Viewer:
    """Return the user or visitor that the request's session names, without a query.

    A page is stored only for a user that the database has. Every change of that user, a new
    password too, invalidates the page. A refused user, such as a deleted one, gets a page that is
    not stored.
    """
    session = request.session
    user_id = session.get(auth.SESSION_KEY)
    if user_id is None:
        return None, None, None, session.get(SESSION_KEY)
    backend, proof = session.get(auth.BACKEND_SESSION_KEY), session.get(auth.HASH_SESSION_KEY)
    return user_id, backend, proof, None


def tags_of_pages(request: HttpRequest) -> list[str]:
    """Return the tags of the pages that show the request's list and who is logged in."""
    user_id, _, _, list_id = viewer(request)
    return [f"user:{user_id}" if user_id else f"list:{list_id}"]


def list_to_write(request: HttpRequest) -> TaskList:
    """Return the request's list, made if there is none; it stays until the transaction ends.
    Raises CapacityError if too many lists were recently made from the address of the request.

    Call this in a transaction.
    """
    if request.user.is_authenticated:
        return _list_of_user(request.user)
    # A session is kept for a time after its last change, and a visitor's list no longer than it.
    request.session.modified = True
    known: int | None = request.session.get(SESSION_KEY)
    tasks = known and TaskList.objects.select_for_update().filter(pk=known, user=None).first()
    if not tasks:
        if NEW_LISTS.count(address_of(request)):
            raise CapacityError(
                "Too many lists without an account were begun from where you are. Log in or sign "
                f"up, or add this in {NEW_LISTS.seconds // 60} minutes."
            )
        tasks = TaskList.objects.create()
        request.session[SESSION_KEY] = tasks.pk
    return tasks


def keep_at_login(request: HttpRequest, user: User, **_: Any) -> None:
    """Move the tasks of the visitor who logs in to the user's list, unless that is too full, and
    say so then. A receiver of user_logged_in, so that no way to log in loses tasks.
    """
    known = request.session.pop(SESSION_KEY, None)
    came_along = 0 if known is None else _move_to(user, known)
    if came_along is None:
        text = "Your list is full: the tasks of this browser were not added to it."
        messages.warning(request, text, fail_silently=True)
        return
    text = f"Welcome, {user.get_username()}"
    if came_along:
        text += f"; {came_along:,} task{' comes' if came_along == 1 else 's come'} along"
    messages.success(request, f"{text}.", fail_silently=True)


def _move_to(user: User, known: int) -> int | None:
    """Move the tasks of a visitor's list to a user's; return their number, None if that is too
    full."""
    with transaction.atomic():
        target = _list_of_user(user)
        with changes.change_of(known, target.pk):
            visitors = TaskList.objects.filter(pk=known, user=None).first()
            if visitors is None:
                return 0
            if not takes_another_list(target):
                return None
            number = Task.objects.filter(list=visitors).count()
            # Deleted tasks too: the deletion can be undone.
            Deletion.objects.filter(list=visitors).update(list=target)
            Task.with_deleted.filter(list=visitors).update(list=target)
            sharing.keep(visitors, target)
            visitors.delete()
            forget_deleted(target)
            return number


def _list_of_user(user: User) -> TaskList:
    # One request after the other: of several that make the list at once, those that are refused
    # would hold locks on it, and on the user, that block each other.
    User.objects.select_for_update().get(pk=user.pk)
    return TaskList.objects.get_or_create(user=user)[0]
