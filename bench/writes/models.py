"""Rows with every kind of relation between them. No contender's declarations are here."""

from typing import Any, ClassVar

from django.db import models


class Row(models.Model):
    objects: ClassVar[models.Manager[Any]] = models.Manager()

    class Meta:
        abstract = True


class Owner(Row):
    name: Any = models.CharField(max_length=50)
    borrowed: Any = models.ManyToManyField("Book", through="Loan", related_name="readers")


class Shelf(Row):
    owner: Any = models.ForeignKey(Owner, models.SET_NULL, null=True, related_name="shelves")
    name: Any = models.CharField(max_length=50)


class Topic(Row):
    name: Any = models.CharField(max_length=50)


class Book(Row):
    shelf: Any = models.ForeignKey(Shelf, models.CASCADE, related_name="books")
    code: Any = models.IntegerField(unique=True)
    pages: Any = models.IntegerField(default=0)
    topics: Any = models.ManyToManyField(Topic, related_name="books")


class Loan(Row):
    book: Any = models.ForeignKey(Book, models.CASCADE, related_name="loans")
    reader: Any = models.ForeignKey(Owner, models.CASCADE, related_name="loans")
