"""The Django application."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"

    def ready(self) -> None:
        from django.contrib.auth.signals import user_logged_in
        from django.db.models.signals import pre_delete

        from tasks.changes import before_list_deletion
        from tasks.lists import keep_at_login

        user_logged_in.connect(keep_at_login)
        pre_delete.connect(before_list_deletion, sender="tasks.TaskList")
