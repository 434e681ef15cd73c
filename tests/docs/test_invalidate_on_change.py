"""The code of the page about invalidation does what the page says, in a project of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs/how-to/invalidate-on-change.md"

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "beaker_regions.django", "shop"
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
APPS = """
from django.apps import AppConfig

class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        from beaker_regions.django import use_manager
        from beakercache import cache

        use_manager(cache)
"""
MODELS = """
from django.db import models

class Shop(models.Model): ...

class Author(models.Model):
    shop = models.ForeignKey(Shop, on_delete=models.CASCADE)

class Topic(models.Model): ...

class Vote(models.Model):
    book_id = models.IntegerField()
"""
BEFORE = """
import django

django.setup()
from django.core.management import call_command
from django.db import connection, transaction

call_command("migrate", run_syncdb=True, verbosity=0)

from beaker_regions.testing import assert_loads
from beakercache import cache
from shop.models import *

for pk in (1, 2):
    Author.objects.create(pk=6 + pk, shop=Shop.objects.create(pk=pk))
book = Book.objects.create(pk=7, author_id=7, title="a")
rows, change = [1, 2], lambda row: cache.invalidate_tags(f"row:{row}")
"""
AFTER = """
@cache.region("functions", tags=["book:{pk}"])
def topics_of(pk):
    return list(Topic.objects.filter(book=pk).values_list("pk", flat=True))

@cache.region("functions", tags=["shop:{pk}"])
def sold_by(pk):
    return list(Book.objects.filter(author__shop_id=pk).values_list("title", flat=True))

def assert_fresh():
    for function, *arguments in (
        (books_of, 7), (books_of, 8), (topics_of, 7), (sold_by, 1), (sold_by, 2),
        (number_of_books,), (best_sellers,),
    ):
        assert function(*arguments) == function.uncached(*arguments), (function, arguments)
        with assert_loads(0):
            function(*arguments)

assert books_of(7) == ["A"], books_of(7)
for write in (
    lambda: Book.objects.update(author_id=8),
    lambda: book.topics.add(Topic.objects.create(pk=1)),
    lambda: Author.objects.filter(pk=8).update(shop_id=1),
    lambda: Book.objects.create(author_id=7, title="b"),
    lambda: Book.objects.all().delete(),
):
    assert_fresh()
    write()
assert_fresh()
"""


def test_the_page_holds(tmp_path: Path) -> None:
    model, *rest = [block.text for block in blocks(PAGE) if block.language == "python"]
    (configuration,) = [
        block.text
        for block in blocks(ROOT / "docs/start/tutorial.md")
        if block.options.get("caption") == "beakercache.py"
    ]
    (tmp_path / "shop").mkdir()
    for name, text in {
        "settings.py": SETTINGS,
        "beakercache.py": configuration,
        "shop/__init__.py": "",
        "shop/apps.py": APPS,
        "shop/models.py": MODELS + model,
        "page.py": BEFORE + "\n".join(rest) + AFTER,
    }.items():
        (tmp_path / name).write_text(text)
    environ = os.environ | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
