"""Messages in a cookie that browsers take from this very host and over TLS only."""

from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class HostCookie(CookieStorage):
    cookie_name = "__Host-messages"


class HostMessages(FallbackStorage):
    """As Django's own: in the cookie, and in the session what does not fit."""

    storage_classes = (HostCookie, SessionStorage)
