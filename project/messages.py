"""Messages in a cookie that browsers accept only from this host and over TLS."""

from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class HostCookie(CookieStorage):
    cookie_name = "__Host-messages"


class HostMessages(FallbackStorage):
    """Stores messages in the cookie, and in the session if they do not fit, as Django does."""

    storage_classes = (HostCookie, SessionStorage)
