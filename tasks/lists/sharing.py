"""Lists that others may read at a secret address: many readers, one writer.

A reader's page is stored once for all readers. Every change of the list invalidates it, and so does
the end of the sharing: the row of `Share` has the tag of its address.
"""

from beakercache import cache
from tasks.lists.changes import change_of
from tasks.models import Share, TaskList


@cache.region("functions", tags=["share:{token}"], store_if=lambda list_id: list_id is not None)
def list_shared_at(token: str) -> int | None:
    """Return the id of the list; None if there is none. That is not stored: there are too many
    addresses to guess."""
    return Share.objects.filter(token=token).values_list("list_id", flat=True).first()


@cache.region("functions", tags=["list:{list_id}"])
def token_of(list_id: int) -> str | None:
    """Return the address at which a list is shared."""
    return Share.objects.filter(list_id=list_id).values_list("token", flat=True).first()


def share(tasks: TaskList) -> str:
    with change_of(tasks.pk):
        return Share.objects.get_or_create(list=tasks)[0].token


def stop(list_id: int | None) -> bool:
    """End the sharing for all readers; return whether there was any."""
    with change_of(list_id):
        return bool(Share.objects.filter(list_id=list_id).delete()[0])


def keep(source: TaskList, target: TaskList) -> None:
    """Let the readers of a list that becomes part of another read that one, unless it has readers
    already."""
    if not Share.objects.filter(list=target).exists():
        Share.objects.filter(list=source).update(list=target)
