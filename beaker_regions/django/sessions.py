"""Django's sessions in a region, and in the database: SESSION_ENGINE =
"beaker_regions.django.sessions".

SESSION_REGION names the region, if it is not "functions".

A session is a row of Django's own table; what a request reads of it is kept in the region (one
load, then no SQL until it changes). So a region that is lost loses no session, and the rules of
`beaker_regions.django.transactions` hold: a session saved in a transaction that is rolled back was
not.

**Two requests of one session at once.** Django saves the whole session, so of two requests that
change different keys the first to save loses its change. Here a save changes the keys that this
request has changed: it replaces the row if that is still the one that was read, and else applies
its changes to what is there now. Of changes to one key the last wins. A session that was deleted
meanwhile, as by logging out, stays so: `save` raises UpdateError, as Django's does.
"""

from __future__ import annotations

import functools
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.db import IntegrityError, router, transaction
from django.db.models.signals import post_delete, post_save
from django.utils import timezone

from beaker_regions.api.function import CachedFunction
from beaker_regions.api.function_options import FunctionOptions
from beaker_regions.django.manager import region_named
from beaker_regions.django.pages import prefetch
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.keys import qualified_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.sessions.base_session import AbstractBaseSession

    from beaker_regions.engine.region import Region

    Rows = CachedFunction[..., "Row | None"]

TRIES = 100
"""How often a save is tried while others of the same session are quicker."""
BATCH = 1000
"""Expired sessions that are deleted at once."""


class Row(NamedTuple):
    """What is kept of a session."""

    data: str
    """As the database has it."""
    content: dict[str, Any]
    """What that says: a record of a region is authenticated, so nobody need check it again."""
    expires_at: float
    """Seconds since the epoch."""
    decoder: str = ""
    """The name of the store that says so. Another may read the same data otherwise."""


class SessionStore(db.SessionStore):
    """One session. A subclass may name another region, or another model (`get_model_class`)."""

    region: str = getattr(settings, "SESSION_REGION", "functions")

    _stored: str | None = None
    """The data of the row as this request knows it; None: what is there is replaced unseen."""

    # -- reading ---------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        key = self.session_key
        label = self.get_model_class()._meta.label
        row = None if key is None else prefetch.call(self._rows(), label, key, self)
        if row is None or row.expires_at <= time.time():
            self._session_key = None
            return {}
        self._stored = row.data
        return row.content if row.decoder == qualified_name(type(self)) else self.decode(row.data)

    @classmethod
    def _rows(cls) -> Rows:
        return _rows_in(region_named(cls.region))

    @classmethod
    def forget(cls, session_key: str) -> None:
        """Let no later request see a session as it was; after a change that no signal tells of,
        such as an update of many rows."""
        cls._rows().invalidate(cls.get_model_class()._meta.label, session_key)

    # -- writing ---------------------------------------------------------------------------

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            self.create()
        elif must_create:
            self._insert()
        else:
            self._update()

    def _insert(self) -> None:
        data = self._get_session(no_load=True)  # type: ignore[attr-defined]
        row = self.create_model_instance(data)
        using = router.db_for_write(self.model, instance=row)
        try:
            with transaction.atomic(using=using):
                row.save(force_insert=True, using=using)
        except IntegrityError as error:
            raise CreateError from error
        self._stored = row.session_data

    def _update(self) -> None:
        data: dict[str, Any] = self._get_session()  # type: ignore[attr-defined]
        known = self._stored
        self._session_cache = data
        for _ in range(TRIES):
            row = self.create_model_instance(self._session_cache)
            using = router.db_for_write(self.model, instance=row)
            if self._replace(row, using):
                self._stored = row.session_data
                return
            latest = None if self._stored is None else _latest(row, using)
            if latest is None:
                raise UpdateError("the session was deleted")
            changed = _changes(data, {} if known is None else self.decode(known))
            self._session_cache = changed(self.decode(latest))
            self._stored = latest
        raise UpdateError(f"others have saved the session {TRIES} times meanwhile")

    def _replace(self, row: AbstractBaseSession, using: str) -> bool:
        """Write a row if what is there is what this request knows; return whether it was."""
        rows = self.model.objects.using(using).filter(session_key=row.session_key)
        if self._stored is not None:
            rows = rows.filter(session_data=self._stored)
        fields = [field for field in row._meta.concrete_fields if not field.primary_key]
        with transaction.atomic(using=using):
            written = rows.update(
                **{field.attname: getattr(row, field.attname) for field in fields}
            )
            if written:
                self.forget(row.session_key)
        return bool(written)

    def delete(self, session_key: str | None = None) -> None:
        key = self.session_key if session_key is None else session_key
        if key is None:
            return
        using = router.db_for_write(self.model)
        with transaction.atomic(using=using):
            # What is deleted is forgotten by its signal.
            deleted, _ = self.model.objects.using(using).filter(session_key=key).delete()
            if not deleted:
                self.forget(key)

    @classmethod
    def clear_expired(cls) -> None:
        expired = cls.get_model_class().objects.filter(expire_date__lt=timezone.now())
        while keys := list(expired.values_list("pk", flat=True)[:BATCH]):
            expired.filter(pk__in=keys).delete()

    # -- the same, awaited -----------------------------------------------------------------

    async def aload(self) -> dict[str, Any]:
        return await sync_to_async(self.load)()

    async def asave(self, must_create: bool = False) -> None:
        await sync_to_async(self.save)(must_create)

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(self.delete)(session_key)

    @classmethod
    async def aclear_expired(cls) -> None:
        await sync_to_async(cls.clear_expired)()


def stored_session(label: str, session_key: str, store: SessionStore | None = None) -> Row | None:
    """Return a session's row of the model ``label``, if it has not expired; read by ``store``, or
    by the one that the model names."""
    model: Any = apps.get_model(label)
    # Not from a replica, which may lag behind what has been invalidated.
    rows = model.objects.using(router.db_for_write(model)).filter(
        session_key=session_key, expire_date__gt=timezone.now()
    )
    row = rows.first()
    # Some databases find a key whose letters differ in case. Under such a key a session would
    # outlive its deletion.
    if row is None or row.session_key != session_key:
        return None
    data, expires_at = row.session_data, row.expire_date.timestamp()
    if store is None:
        return Row(data, row.get_decoded(), expires_at)
    return Row(data, store.decode(data), expires_at, qualified_name(type(store)))


@functools.cache
def _rows_in(region: Region) -> Rows:
    options = region.options
    return CachedFunction(
        region,
        stored_session,
        FunctionOptions(ignore=("store",), store_if=lambda row: row is not None),
        Policy(options.expire, options.grace, options.early),
    )


def _latest(row: AbstractBaseSession, using: str) -> str | None:
    rows = type(row).objects.using(using).filter(session_key=row.session_key)
    if transaction.get_connection(using).in_atomic_block:
        # As it is now, not as it was when the transaction began.
        rows = rows.select_for_update()
    data: str | None = rows.values_list("session_data", flat=True).first()
    return data


def _changes(
    after: dict[str, Any], before: dict[str, Any]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what makes of a session the one with these changes."""
    written = {key: value for key, value in after.items() if before.get(key, _changes) != value}
    removed = before.keys() - after.keys()
    return lambda found: {k: v for k, v in found.items() if k not in removed} | written


def forget_changed_rows() -> None:
    """Let the region forget the sessions whose rows are deleted, or saved, by somebody else than
    their store, if this is the store that the settings name."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not issubclass(store, SessionStore):
        return

    def forget(instance: AbstractBaseSession, created: bool = False, **_: Any) -> None:
        if not created:
            store.forget(instance.session_key)

    for signal in (post_delete, post_save):
        signal.connect(forget, sender=store.get_model_class(), weak=False, dispatch_uid=__name__)
