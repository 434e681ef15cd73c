"""Django's own tests, run on this library's replacements.

The tests of sessions run once in transactions, where regions store nothing, and once outside of
them. A region does not cull by a number of entries: without caches of certain names, Django's tests
of that are skipped.
"""

from cache.tests import (  # type: ignore[import-not-found]
    BaseCacheTests,
    caches_setting_for_tests,
)
from django.contrib.sessions.models import Session
from django.test import TransactionTestCase, override_settings
from sessions_tests.tests import (  # type: ignore[import-not-found]
    CustomDatabaseSessionTests,
    DatabaseSessionTests,
    SessionTestsMixin,
)

from beaker_regions.django.sessions import SessionStore
from tests.beaker_regions.django.upstream.models import AccountStore, RenamedStore


@override_settings(
    CACHES=caches_setting_for_tests(
        exclude={"cull", "zero_cull"},
        BACKEND="beaker_regions.django.cache_backend.RegionCache",
        LOCATION="functions",
    )
)
class BackendTests(BaseCacheTests, TransactionTestCase):  # type: ignore[misc]
    pass


class SessionsTests(SessionTestsMixin, TransactionTestCase):  # type: ignore[misc]
    backend = SessionStore
    model = Session


class SessionsInTransactionsTests(DatabaseSessionTests):  # type: ignore[misc]
    backend = SessionStore
    session_engine = "beaker_regions.django.sessions"


class SessionsOfAnotherModelTests(CustomDatabaseSessionTests):  # type: ignore[misc]
    backend = AccountStore
    session_engine = "tests.beaker_regions.django.upstream.models"


class SessionsOfAnotherNameTests(SessionTestsMixin, TransactionTestCase):  # type: ignore[misc]
    backend = RenamedStore


del (
    BaseCacheTests,
    CustomDatabaseSessionTests,
    DatabaseSessionTests,
    SessionTestsMixin,
    TransactionTestCase,
)
