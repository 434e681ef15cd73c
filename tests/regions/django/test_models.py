"""Model instances as arguments of cached functions."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User

from regions import CacheManager, UnkeyableArgument


@pytest.mark.django_db
def test_instances_are_told_apart_by_model_and_primary_key(cache: CacheManager) -> None:
    @cache.region("functions")
    def load(subject: object) -> object:
        return object.__repr__(subject)

    group = Group.objects.create(pk=7, name="group")
    user = User.objects.create(pk=7, username="group")
    permission = Permission.objects.all()[0]
    addresses = {load.entry(subject).address for subject in (group, user, permission)}
    assert len(addresses) == 3
    assert load.entry(group) == load.entry(Group(pk=7, name="other name"))
    assert load.entry(group) != load.entry(Group(pk=8, name="group"))
    assert load.entry(group) == load.entry(Group.objects.defer("name").get(pk=7))


def test_an_instance_that_is_not_saved_is_refused(cache: CacheManager) -> None:
    @cache.region("functions")
    def load(group: Group) -> str:
        return group.name

    with pytest.raises(UnkeyableArgument, match=r"group.*not saved"):
        load(Group(name="new"))
