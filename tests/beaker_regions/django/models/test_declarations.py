"""The declarations of models: templates with fields, and refused ones."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User

from beaker_regions import ConfigurationError
from beaker_regions.django import declare_row_tags, row_tags
from beaker_regions.django.models.declarations import declaration_of, registry
from beaker_regions.django.models.templates import template_of
from beaker_regions.entries.families import tag_families
from tests.beaker_regions.django.models.models import (
    LIMIT,
    Album,
    Book,
    Gadget,
    Item,
    Novel,
    Owner,
    Page,
    Seat,
    Stamped,
    Toy,
)


@pytest.fixture(autouse=True)
def _restored() -> object:
    before = dict(registry.declared)
    yield
    registry.declared = before
    registry.check()


def test_the_tags_of_a_row_are_its_templates_filled() -> None:
    declaration = declaration_of(Book)
    assert declaration is not None
    assert [source.lookup for source in declaration.sources] == [
        "shelf__owner_id",
        "spare_id",
        "code",
        "shelf_id",
    ]
    rows = [(7, 8, 9, 3), (None, None, 9, 3)]
    assert list(declaration.tags(rows)) == [
        "owner books:7",
        "spare books:8",
        "code:   9",
        "shelf books:3",
        "code:   9",
        "shelf books:3",
    ]
    assert (declaration.model_tag, declaration.limit) == ("watched.Book", LIMIT)
    assert set(declaration.families) == {"owner books:", "spare books:", "code:", "shelf books:"}
    assert set(declaration.families) <= tag_families()


def test_proxies_abstract_classes_and_parents() -> None:
    assert declaration_of(Novel) is declaration_of(Book)
    assert declaration_of(Owner) is None
    assert declaration_of(Stamped) is None

    def texts(model: type) -> set[str]:
        declaration = declaration_of(model)
        return {each.text for each in declaration.templates} if declaration else set()

    assert texts(Item) == {"stamp:{}", "item:{}"}
    assert texts(Gadget) == {"stamp:{}", "gadget:{}", "gadgets named:{}"}
    assert texts(Toy) == {"stamp:{}"}


def test_a_tag_without_fields_is_one_of_every_row() -> None:
    declare_row_tags("auth.User", "everybody", "user:{pk}")
    declare_row_tags(User, "name:{username}", limit=3)
    declaration = declaration_of(User)
    assert declaration is not None
    assert declaration.fixed == ("auth.User", "everybody")
    assert declaration.families == ("user:", "name:")
    assert declaration.limit == 3


def test_braces_of_text_stay() -> None:
    assert template_of(Book, "{{x}}:{code}").tag([5]) == "{x}:5"


def test_a_key_that_leads_to_a_row_has_the_rows_primary_key() -> None:
    for name in ("shelf", "shelf_id", "shelf__pk", "shelf__id"):
        (source,) = template_of(Book, f"a:{{{name}}}").sources
        assert source.lookup == "shelf_id"


@pytest.mark.parametrize(
    ("model", "text", "mend"),
    [
        (Book, "a:{shelv_id}", "did you mean 'shelf_id'"),
        (Book, "a:{shelf__ownr_id}", "watched.Shelf has no field 'ownr_id'; did you mean"),
        (Book, "a:{shel__owner_id}", "no foreign key 'shel'; did you mean 'shelf'"),
        (Book, "a:{pages__owner_id}", "no foreign key 'pages'"),
        (Book, "a:{topics}", "has no field 'topics'"),
        (Book, "a:{loans}", "has no field 'loans'"),
        (Book, "a:{shelf.owner_id}", "write 'shelf__owner_id'"),
        (Book, "a:{shelf[0]}", "write 'shelf'"),
        (Book, "{shelf_id}", "begin with text"),
        (Book, "", "begin with text"),
        (Book, "a:{code:{pages}}", "cannot contain fields"),
        (Book, "a:{code", "expected '}'"),
        (Book, "a:{}", "has no field ''"),
        (Seat, "a:{pk}", "composite primary key; name its fields"),
        (Album, "a:{notes}", "'notes' is a JSONField"),
        (Page, "a:{album__notes}", "'notes' is a JSONField"),
        (Book, 3, "a template is text"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(model: type, text: str, mend: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        declare_row_tags(model, text)
    assert mend in str(refused.value)
    assert model.__name__ in str(refused.value)
    registry.check()  # the refused one is forgotten


def test_a_limit_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="limit='many': give a number"):
        row_tags("a:{pk}", limit="many")(Group)  # type: ignore[arg-type]
