"""The staff's view of the tables."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from tasks.lists import changes, positions
from tasks.models import ImportedFile, ImportRun, Task, TaskList


@admin.register(Task)
class TaskAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "list", "done", "due", "created_at")
    list_filter = ("done",)
    list_select_related = ("list__user",)
    raw_id_fields = ("list",)
    search_fields = ("name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Task | None = None) -> tuple[str, ...]:
        return () if obj is None else ("list",)

    def save_model(self, request: HttpRequest, obj: Task, form: Any, change: bool) -> None:
        with changes.change_of(obj.list_id):
            if not change:
                obj.position = positions.top(obj.list_id)
            super().save_model(request, obj, form, change)


@admin.register(TaskList)
class TaskListAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Lists are made and given to users by the application alone."""

    list_display = ("__str__", "created_at")
    list_select_related = ("user",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: TaskList | None = None) -> bool:
        return False


class WrittenByImport(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows that the import alone writes."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ImportedFile | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ImportedFile | None = None) -> bool:
        return False


@admin.register(ImportedFile)
class ImportedFileAdmin(WrittenByImport):
    list_display = ("path", "size", "media_type", "imported_at")
    search_fields = ("path",)


@admin.register(ImportRun)
class ImportRunAdmin(WrittenByImport):
    list_display = ("source", "started_at", "ended_at", "status", "new", "changed", "failed")
    search_fields = ("source",)
