"""Django's sessions in the database, and cached in a region::

    SESSION_ENGINE = "beaker_regions.django.sessions"
    SESSION_REGION = "functions"  # the default

A session is a row of Django's own table. The region keeps a copy: a request loads the row once, and
needs no SQL until the row changes. So a region that is lost loses no session. The rules of
`beaker_regions.django.transactions` apply: if the transaction is rolled back, so is the session.

**Simultaneous requests of one session.** Django saves the whole session. If two requests change
different keys, the second save overwrites the change of the first. Here a save writes only the keys
that its request changed: it replaces the row if the row is still the one that was read, and
otherwise applies its changes to the current row. If two requests change the same key, the last one
wins. If the session was deleted in the meantime, as by a logout, `save` raises UpdateError, as
Django's does.
"""

from __future__ import annotations

import functools
import pickle
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Self

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
from beaker_regions.django.pages.prefetch import Prefetch
from beaker_regions.engine.region import Region
from beaker_regions.entries.entry import Entry
from beaker_regions.entries.freshness import Policy
from beaker_regions.entries.keys import qualified_name
from beaker_regions.runtime.interruptions import is_interruption

if TYPE_CHECKING:
    # Django imports this module before models may be imported.
    from django.contrib.sessions.base_session import AbstractBaseSession

Rows = CachedFunction[..., "Row | None"]

TRIES = 100
"""How often a save is tried while other requests save the same session."""
BATCH = 1000
"""Expired sessions that are deleted in one statement."""


class Row(NamedTuple):
    """A session as it is cached."""

    data: str
    """The encoded session, as in the database."""
    content: bytes
    """The decoded session, pickled. So nobody can change a row that a region may hand out again. A
    region authenticates its records, so the session's signature is not checked."""
    expires_at: float
    """Seconds since the epoch."""
    decoder: str = ""
    """The name of the store that decoded it; empty: none has. Another store may decode it
    differently."""


class SessionStore(db.SessionStore):
    """One session of Django.

    A subclass may use another region, or another model::

        class SessionStore(sessions.SessionStore):
            region = "sessions"

            @classmethod
            def get_model_class(cls):
                return CustomSession

    Args:
        session_key: The key from the browser's cookie; None: a new session.
    """

    region: str = getattr(settings, "SESSION_REGION", "functions")

    _stored: str | None = None
    """The row's data that this request has read or written; None: a save replaces any row."""
    prefetch: Prefetch | None = None
    """Set while a page's ``vary_by`` runs: fetches the page together with the session."""

    # -- reading ---------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        key = self.session_key
        label, row = self.get_model_class()._meta.label, None
        if key is not None and self.prefetch is not None:
            row = self.prefetch.call(self._rows(), label, key, self)
        elif key is not None:
            row = self._rows()(label, key, self)
        if row is None or row.expires_at <= time.time():
            self._session_key = None
            return {}
        return self._content_of(row)

    @classmethod
    def of_row(cls, session_key: str, row: Row) -> Self:
        """Return the session of a row that was looked up already, and has not expired."""
        session = cls(session_key)
        session._session_cache = session._content_of(row)
        return session

    def _content_of(self, row: Row) -> dict[str, Any]:
        self._stored = row.data
        if row.decoder == qualified_name(type(self)):
            try:
                content: dict[str, Any] = pickle.loads(row.content)
            except Exception as error:
                if is_interruption(error):
                    raise
                # It has an object of another release, whose class has moved.
            else:
                return content
        return self.decode(row.data)

    @classmethod
    def _rows(cls) -> Rows:
        return _rows_in(region_named(cls.region))

    def stored_entry(self) -> tuple[Rows, Entry, str] | None:
        """Return the function that has loaded the session, its entry, and the row's data; None if
        there is no such row."""
        if self._stored is None or self.session_key is None:
            return None
        rows = self._rows()
        return rows, rows.entry(self.get_model_class()._meta.label, self.session_key), self._stored

    @classmethod
    def forget(cls, session_key: str) -> None:
        """Invalidate a session's cached copy. Call it after a change without a signal, such as
        ``QuerySet.update()``.

        Args:
            session_key: The session's key.

        Raises:
            ConfigurationError: There is no such region.
        """
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
        raise UpdateError(f"other requests saved the session {TRIES} times during this save")

    def _replace(self, row: AbstractBaseSession, using: str) -> bool:
        """Replace the row if it is still the one that this request read; return whether it was."""
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
            # The signal of a deleted row invalidates its copy.
            deleted, _ = self.model.objects.using(using).filter(session_key=key).delete()
            if not deleted:
                self.forget(key)

    @classmethod
    def clear_expired(cls) -> None:
        expired = cls.get_model_class().objects.filter(expire_date__lt=timezone.now())
        while keys := list(expired.values_list("pk", flat=True)[:BATCH]):
            expired.filter(pk__in=keys).delete()

    # -- asynchronous ----------------------------------------------------------------------

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
    """Return a session's row of the model ``label``, if it has not expired; decoded by ``store``,
    if there is one."""
    model: Any = apps.get_model(label)
    # Not from a replica, which may be older than the last invalidation.
    rows = model.objects.using(router.db_for_write(model)).filter(
        session_key=session_key, expire_date__gt=timezone.now()
    )
    row = rows.first()
    # Some databases ignore the case of a key. A copy under a key in another case would not be
    # invalidated when the session is deleted.
    if row is None or row.session_key != session_key:
        return None
    data, expires_at = row.session_data, row.expire_date.timestamp()
    undecoded = Row(data, b"", expires_at)
    if store is None:
        return undecoded
    content = store.decode(data)
    try:
        return Row(data, pickle.dumps(content), expires_at, qualified_name(type(store)))
    except Exception as error:
        if is_interruption(error):
            raise
        return undecoded  # a serializer of the application makes what cannot be pickled


@functools.cache
def _rows_in(region: Region) -> Rows:
    options = region.options
    return CachedFunction(
        region,
        stored_session,
        FunctionOptions(ignore=("store",), store_if=lambda row: row is not None, version=2),
        Policy(options.expire, options.grace, options.early),
    )


def _latest(row: AbstractBaseSession, using: str) -> str | None:
    rows = type(row).objects.using(using).filter(session_key=row.session_key)
    if transaction.get_connection(using).in_atomic_block:
        # The current row, not the one of the transaction's snapshot.
        rows = rows.select_for_update()
    data: str | None = rows.values_list("session_data", flat=True).first()
    return data


def _changes(
    after: dict[str, Any], before: dict[str, Any]
) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that applies the changes from ``before`` to ``after`` to a session."""
    written = {key: value for key, value in after.items() if before.get(key, _changes) != value}
    removed = before.keys() - after.keys()
    return lambda found: {k: v for k, v in found.items() if k not in removed} | written


def forget_changed_rows() -> None:
    """Invalidate a session's copy when its row is saved or deleted by other code than the store,
    if this is the store of the settings."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if not issubclass(store, SessionStore):
        return

    def forget(instance: AbstractBaseSession, created: bool = False, **_: Any) -> None:
        if not created:
            store.forget(instance.session_key)

    for signal in (post_delete, post_save):
        signal.connect(forget, sender=store.get_model_class(), weak=False, dispatch_uid=__name__)
