"""Models of every form, with the tags of their rows."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.db import models
from django.db.models import CASCADE, SET_DEFAULT, SET_NULL, F

from beaker_regions.django import row_tags

LIMIT = 20
"""The most rows of one statement whose tags are queried."""


class Owner(models.Model):
    """Not declared: its writes invalidate nothing by themselves."""

    name = models.CharField(max_length=50)


@row_tags("shelf:{pk}", "owner:{owner}", limit=LIMIT)
class Shelf(models.Model):
    owner = models.ForeignKey(Owner, SET_NULL, null=True, related_name="shelves")
    name = models.CharField(max_length=50, default="")


class Topic(models.Model):
    name = models.CharField(max_length=50)


@row_tags("shelf books:{shelf_id}", limit=LIMIT)
@row_tags("owner books:{shelf__owner_id}", "spare books:{spare}", "code:{code!s:>4}")
class Book(models.Model):
    shelf = models.ForeignKey(Shelf, CASCADE, related_name="books")
    spare = models.ForeignKey(Shelf, SET_NULL, null=True, related_name="spares")
    place = models.ForeignKey(Shelf, SET_DEFAULT, null=True, default=None, related_name="places")
    code = models.IntegerField(unique=True, null=True)
    pages = models.IntegerField(default=0)
    topics: models.ManyToManyField[Topic, Any] = models.ManyToManyField(Topic, related_name="books")


class Novel(Book):
    class Meta:
        proxy = True


@row_tags("loans of:{reader}", "lent by:{book__shelf__owner_id}", limit=LIMIT)
class Loan(models.Model):
    """A row between a book and its reader."""

    book = models.ForeignKey(Book, CASCADE, related_name="loans")
    reader = models.ForeignKey("Reader", CASCADE, related_name="loans")

    class Meta:
        ordering = ("book__shelf__name",)


class Reader(Owner):
    """A child of a model that is not declared."""

    borrowed: models.ManyToManyField[Book, Any] = models.ManyToManyField(
        Book, through=Loan, related_name="readers"
    )


@row_tags("stamp:{stamp}")
class Stamped(models.Model):
    stamp = models.IntegerField(default=0)

    class Meta:
        abstract = True


@row_tags("item:{name}", limit=LIMIT)
class Item(Stamped):
    """A parent of other models."""

    name = models.CharField(max_length=50)


@row_tags("gadget:{maker}", "gadgets named:{name}", limit=LIMIT)
class Gadget(Item):
    maker = models.IntegerField(default=0)


class Toy(Item):
    """A child whose only declaration is that of its abstract parent class."""

    age = models.IntegerField(default=0)


@row_tags("double:{double}", "kind:{kind}", "price:{price}", limit=LIMIT)
class Part(models.Model):
    """Values that only the database knows."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    size = models.IntegerField(default=1)
    double = models.GeneratedField(
        expression=F("size") * 2, output_field=models.IntegerField(), db_persist=True
    )
    kind = models.CharField(max_length=20, db_default="plain")
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)


@row_tags("seats in:{row}", limit=LIMIT)
class Seat(models.Model):
    pk = models.CompositePrimaryKey("row", "number")
    row = models.IntegerField()
    number = models.IntegerField()
    taken = models.BooleanField(default=False)


class Album(models.Model):
    """Not declared; its pages are."""

    notes = models.JSONField(default=dict)


@row_tags("pages of:{album_id}")
class Page(models.Model):
    album = models.ForeignKey(Album, getattr(models, "DB_CASCADE", CASCADE))


class Word(models.Model):
    """Not declared; its key is text, which some databases compare without its case."""

    name = models.CharField(max_length=20, primary_key=True)
    language = models.IntegerField()


@row_tags("phrases in:{word__language}")
class Phrase(models.Model):
    word = models.ForeignKey(Word, CASCADE)
    length = models.IntegerField(default=0)
