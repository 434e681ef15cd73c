"""A model of sessions, and a store with another name than Django's: the name is part of the
signature of its data."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models

from beaker_regions.django import sessions


class AccountSession(AbstractBaseSession):
    account_id = models.IntegerField(null=True, db_index=True)

    @classmethod
    def get_session_store_class(cls) -> type[AccountStore]:
        return AccountStore


class AccountStore(sessions.SessionStore):
    @classmethod
    def get_model_class(cls) -> type[AccountSession]:
        return AccountSession

    def create_model_instance(self, data: dict[str, Any]) -> AccountSession:
        row: Any = super().create_model_instance(data)
        try:
            row.account_id = int(data["_auth_user_id"])
        except (KeyError, ValueError):
            row.account_id = None
        return row  # type: ignore[no-any-return]

    def get_session_cookie_age(self) -> int:
        return int(timedelta(days=1).total_seconds())


class RenamedStore(sessions.SessionStore):
    pass


SessionStore = AccountStore
