"""Make the database, a user with tasks, and a session: ``python -m bench.served.prepare TASKS``.

Prints the cookies of a browser that has been here.
"""

import os
import sys


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.served.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    browser = Client()
    browser.force_login(User.objects.create_user("reader"))
    for number in range(int(sys.argv[1])):
        browser.post("/", {"name": f"Task number {number}"}, HTTP_HOST="127.0.0.1")
    browser.get("/", HTTP_HOST="127.0.0.1")  # what there is to say has been said
    names = (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME)
    print("; ".join(f"{name}={browser.cookies[name].value}" for name in names))


if __name__ == "__main__":
    main()
