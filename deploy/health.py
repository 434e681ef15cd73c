"""Ends with status 0 if the application server of this host answers: ``python health.py``."""

import http.client
import os
import sys

HOST = os.environ["ALLOWED_HOSTS"].split(",")[0].lstrip(".")

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=5)
try:
    # This page needs no database and no memcached: their failures say nothing about this server.
    connection.request(
        "HEAD", "/accounts/login/", headers={"Host": HOST, "X-Forwarded-Proto": "https"}
    )
    status = connection.getresponse().status
except OSError as error:
    sys.exit(f"no answer: {error}")
sys.exit(0 if status == http.HTTPStatus.OK else f"answered with status {status}")
