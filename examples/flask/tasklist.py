"""A task list in Flask, on the regions of caching.py."""

from __future__ import annotations

import hmac
import os
import secrets
from typing import TYPE_CHECKING, Any

import storage
from beaker.middleware import SessionMiddleware
from caching import cache
from flask import Flask, abort, g, redirect, render_template, request, url_for
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response
    from werkzeug.wrappers import Response as AnyResponse

LARGEST = 2**63 - 1
"""SQLite's largest number."""
TRIES = 10
"""Log-ins under one name in `TRIES_LAST` seconds."""
TRIES_LAST = 60

app = Flask(__name__)
storage.prepare()

# -- sessions: Beaker's middleware, in a region ------------------------------------------------

app.wsgi_app = SessionMiddleware(  # type: ignore[method-assign]
    app.wsgi_app,
    {
        "session.type": "regions",
        "session.region": "sessions",
        "session.key": "session",
        "session.httponly": True,
        "session.samesite": "Lax",
        "session.secure": os.environ.get("HTTPS") == "on",
    },
)


@app.before_request
def open_session() -> None:
    g.session = request.environ["beaker.session"]
    g.user = g.session.get("user")


def csrf_field() -> Markup:
    """Return the hidden field that every form needs."""
    if "token" not in g.session:
        g.session["token"] = secrets.token_urlsafe()
        g.session.save()
    return Markup('<input type="hidden" name="token" value="{}">').format(g.session["token"])


@app.before_request
def check_token() -> None:
    if request.method == "POST":
        known, given = g.session.get("token", ""), request.form.get("token", "")
        if not (known and hmac.compare_digest(known.encode(), given.encode())):
            abort(400, "This form is too old. Go back, reload the page, and try again.")


@app.after_request
def add_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = "default-src 'self'; frame-ancestors 'none'"
    if request.endpoint != "static":
        # Back must not show a list that has changed since.
        response.headers["Cache-Control"] = "no-store"
    return response


# -- pages ------------------------------------------------------------------------------------


@cache.region("queries", ignore=["tags", "caller"], tags=lambda *_, tags, caller: tags)
def snippet(
    name: str, *key: Any, tags: tuple[str, ...] = (), caller: Callable[[], Markup]
) -> Markup:
    """Return what stands in a template's ``{% call snippet("name", key, tags=[...]) %}`` block,
    which is rendered only where it is not stored."""
    return caller()


app.jinja_env.globals.update(snippet=snippet, csrf_field=csrf_field, totals=storage.totals)


@cache.region("queries", tags=["totals"])
def front_page() -> str:
    """Return the page of those who are not logged in; it has no form, so it has no token."""
    return render_template("front.html")


def own_page(error: str = "", name: str = "") -> str:
    return render_template("list.html", tasks=storage.tasks_of(g.user), error=error, name=name)


@app.get("/")
def index() -> str:
    # A cached view with a condition, Flask-Caching's cached(unless=...), is an if.
    return front_page() if g.user is None else own_page()


# -- changes ----------------------------------------------------------------------------------


def owner() -> int:
    """Return who is logged in; everybody else gets the page to log in."""
    if g.user is None:
        abort(redirect(url_for("log_in"), 303))
    user: int = g.user
    return user


@app.post("/tasks")
def add() -> AnyResponse | tuple[str, int]:
    user, name = owner(), request.form.get("name", "").strip()
    if not 0 < len(name) <= 255:
        return own_page("A task needs a name of at most 255 characters.", name), 400
    storage.add(user, name)
    return redirect(url_for("index"), 303)


@app.post(f"/tasks/<int(max={LARGEST}):task>/tick")
def tick(task: int) -> AnyResponse:
    done = request.form.get("done") == "1"
    return redirect(url_for("index"), 303) if storage.tick(owner(), task, done) else abort(404)


@app.post(f"/tasks/<int(max={LARGEST}):task>/delete")
def delete(task: int) -> AnyResponse:
    return redirect(url_for("index"), 303) if storage.delete(owner(), task) else abort(404)


# -- users ------------------------------------------------------------------------------------


@app.get("/log-in")
def log_in() -> str:
    return render_template("log_in.html")


@app.post("/log-in")
def enter() -> AnyResponse | tuple[str, int]:
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    error, status = "", 400
    if "new" in request.form:
        if not name or len(name) > 50 or not 8 <= len(password) <= 1000:
            error = "A name has up to 50 characters, and a password at least 8."
        elif (user := storage.sign_up(name, password)) is None:
            error = "That name is taken."
    elif (cache.counter("queries", "log-ins", name, expire=TRIES_LAST).add() or 0) > TRIES:
        error, status = "Too many tries. Wait a minute.", 429
    elif (user := storage.log_in(name, password)) is None:
        error = "Name and password do not belong together."
    if error:
        return render_template("log_in.html", error=error, name=name), status
    # A new id: who knew the old one is not logged in.
    g.session.invalidate()
    g.session.update(user=user, name=name)
    g.session.save()
    return redirect(url_for("index"), 303)


@app.post("/log-out")
def log_out() -> AnyResponse:
    g.session.delete()
    return redirect(url_for("index"), 303)
