"""Addresses of the tasks and the files."""

from django.urls import path

from tasks.views import file_tasks, files, sending, tasks

app_name = "tasks"
urlpatterns = [
    path("", tasks.index, name="list"),
    path("tasks/<int:task_id>/edit/", tasks.edit, name="edit"),
    path("tasks/<int:task_id>/done/", tasks.done, name="done"),
    path("tasks/<int:task_id>/delete/", tasks.delete, name="delete"),
    path("tasks/<int:task_id>/move/", tasks.move, name="move"),
    path("tasks/clear-done/", tasks.clear_done, name="clear_done"),
    path("tasks/undo/<int:deletion_id>/", tasks.undo, name="undo"),
    path("files/", files.index, name="files"),
    path("files/<int:pk>/", files.detail, name="file"),
    path("files/<int:pk>/download/", sending.download, name="file_download"),
    path("files/<int:pk>/raw/", sending.raw, name="file_raw"),
    path("files/<int:pk>/attach/", file_tasks.attach, name="attach"),
    path("files/<int:pk>/tasks/", file_tasks.from_lines, name="tasks_from_lines"),
    path("tasks/<int:task_id>/files/<int:pk>/remove/", file_tasks.detach, name="detach"),
]
