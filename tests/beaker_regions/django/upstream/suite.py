"""Django's own tests, of what stands in for it here.

The sessions once in transactions, where regions keep nothing, and once outside of them. Culling by
a number of entries is what a region does not do: without caches of these names Django's tests
leave it out.
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
