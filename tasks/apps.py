"""The Django application."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"

    def ready(self) -> None:
        from django.contrib.auth.models import User
        from django.contrib.auth.signals import user_logged_in, user_login_failed
        from django.db.backends.signals import connection_created
        from django.db.models.signals import pre_delete

        from beaker_regions.django import declare_row_tags, use_manager
        from beakercache import cache
        from tasks.lists.changes import before_list_deletion
        from tasks.lists.ownership import keep_at_login
        from tasks.lists.searching import add_function
        from tasks.lists.searching import install as install_lookup
        from tasks.throttling import count_failure, forget_tries

        use_manager(cache)
        declare_row_tags(User, "user:{pk}")
        install_lookup()
        connection_created.connect(add_function)
        user_logged_in.connect(keep_at_login)
        user_logged_in.connect(forget_tries)
        user_login_failed.connect(count_failure)
        pre_delete.connect(before_list_deletion, sender="tasks.TaskList")
