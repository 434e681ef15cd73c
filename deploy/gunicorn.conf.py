"""Gunicorn, behind a web server: ``gunicorn --config deploy/gunicorn.conf.py``.

``HOST``, ``PORT`` and ``WEB_CONCURRENCY`` (processes) come from the environment, as hosting
platforms give them.
"""

import os

wsgi_app = "project.wsgi:application"
bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_CONCURRENCY") or 4)
# Its threads are given whole requests: one that never ends keeps none of them.
worker_class = "project.gathering.GatheringWorker"
threads = 8  # a process; they wait for the database and memcached most of the time

# Where the site is mounted is no header's to say: every link that is made would lead there.
forwarder_headers = ""

timeout = 60  # seconds without a sign of life, after which a worker is replaced
graceful_timeout = 30  # seconds for requests to end when the server is told to
# Seconds for which an idle connection is kept: longer than nginx keeps it, which ends it then.
keepalive = 75

worker_tmp_dir = "/dev/shm"  # noqa: S108 signs of life; on a disk that is busy they come late
control_socket_disable = True
