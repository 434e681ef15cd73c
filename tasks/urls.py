"""Addresses of the tasks and the files."""

from django.urls import path

from tasks.views import file_tasks, files, sending, site, tasks
from tasks.views.viewers import for_its_viewer as own

app_name = "tasks"
urlpatterns = [
    path("favicon.ico", site.favicon, name="favicon"),
    path("manifest.webmanifest", site.manifest, name="manifest"),
    path("", own(tasks.index), name="list"),
    path("tasks/<int:task_id>/edit/", own(tasks.edit), name="edit"),
    path("tasks/<int:task_id>/done/", own(tasks.done), name="done"),
    path("tasks/<int:task_id>/delete/", own(tasks.delete), name="delete"),
    path("tasks/<int:task_id>/move/", own(tasks.move), name="move"),
    path("tasks/clear-done/", own(tasks.clear_done), name="clear_done"),
    path("tasks/undo/<int:deletion_id>/", own(tasks.undo), name="undo"),
    path("files/", files.index, name="files"),
    path("files/<int:pk>/", files.detail, name="file"),
    path("files/<int:pk>/download/", sending.download, name="file_download"),
    path("files/<int:pk>/raw/", sending.raw, name="file_raw"),
    path("files/<int:pk>/attach/", own(file_tasks.attach), name="attach"),
    path("files/<int:pk>/tasks/", own(file_tasks.from_lines), name="tasks_from_lines"),
    path("tasks/<int:task_id>/files/<int:pk>/remove/", own(file_tasks.detach), name="detach"),
]
