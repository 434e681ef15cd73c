"""Addresses of the tasks and the files."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from tasks.views import (
    account,
    caching,
    deleted,
    file_tasks,
    files,
    lines,
    sample,
    sending,
    shared,
    site,
    tasks,
    transfer,
)
from tasks.views.viewers import for_its_viewer as own


class TokenConverter(StringConverter):
    """The secret in the address of a shared list."""

    regex = "[0-9a-f]{32}"


register_converter(TokenConverter, "token")

app_name = "tasks"
urlpatterns = [
    path("favicon.ico", site.favicon, name="favicon"),
    path("manifest.webmanifest", site.manifest, name="manifest"),
    path("", own(tasks.index), name="list"),
    path("tasks/<int:task_id>/edit/", own(tasks.edit), name="edit"),
    path("tasks/<int:task_id>/done/", own(tasks.done), name="done"),
    path("tasks/<int:task_id>/delete/", own(deleted.delete), name="delete"),
    path("tasks/<int:task_id>/move/", own(tasks.move), name="move"),
    path("tasks/clear-done/", own(deleted.clear_done), name="clear_done"),
    path("tasks/undo/<int:deletion_id>/", own(deleted.undo), name="undo"),
    path("tasks/deleted/", deleted.recently, name="deleted"),
    path("tasks/deleted/forget/", own(deleted.forget), name="forget"),
    path("tasks/delete-added/", own(deleted.delete_added), name="delete_added"),
    path("tasks/lines/", own(lines.add_lines), name="lines"),
    path("account/", account.account, name="account"),
    path("account/share/", own(account.share), name="share"),
    path("account/stop-sharing/", own(account.stop_sharing), name="stop_sharing"),
    path("account/export.csv", transfer.export_csv, name="export_csv"),
    path("account/export.json", transfer.export_json, name="export_json"),
    path("account/import/", own(transfer.import_tasks), name="import"),
    path("shared/<token:token>/", shared.shared, name="shared"),
    path("how-this-works/", caching.how_it_works, name="how_it_works"),
    path("files/", files.index, name="files"),
    path("files/sample/", sample.import_sample, name="import_sample"),
    path("files/<int:pk>/", files.detail, name="file"),
    path("files/<int:pk>/download/", sending.download, name="file_download"),
    path("files/<int:pk>/raw/", sending.raw, name="file_raw"),
    path("files/<int:pk>/attach/", own(file_tasks.attach), name="attach"),
    path("files/<int:pk>/tasks/", own(file_tasks.from_lines), name="tasks_from_lines"),
    path("tasks/<int:task_id>/files/<int:pk>/remove/", own(file_tasks.detach), name="detach"),
]
