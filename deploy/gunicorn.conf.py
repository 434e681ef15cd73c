"""Configuration of Gunicorn behind a web server: ``gunicorn --config deploy/gunicorn.conf.py``.

The environment has ``HOST``, ``PORT`` and ``WEB_CONCURRENCY`` (processes), as on hosting platforms.
"""

import os

wsgi_app = "project.wsgi:application"
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 4)
# Its threads get only complete requests, so an incomplete request does not occupy a thread.
worker_class = "project.gathering.GatheringWorker"
threads = 8  # in each process; they wait for the database and memcached most of the time

# No header may say where the site is mounted: it would change all links.
forwarder_headers = ""

timeout = 60  # seconds without a sign of life, after which a worker is replaced
graceful_timeout = 30  # seconds for requests to end at a shutdown
# Seconds for which an idle connection is kept. nginx keeps it for less, so nginx closes it.
keepalive = 75

worker_tmp_dir = "/dev/shm"  # noqa: S108 for signs of life, which are late on a busy disk
control_socket_disable = True
