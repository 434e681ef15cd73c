"""Addresses of the tasks and the files."""

from django.urls import path

from tasks.views import files, tasks

app_name = "tasks"
urlpatterns = [
    path("", tasks.index, name="list"),
    path("tasks/<int:task_id>/edit/", tasks.edit, name="edit"),
    path("tasks/<int:task_id>/done/", tasks.done, name="done"),
    path("tasks/<int:task_id>/delete/", tasks.delete, name="delete"),
    path("tasks/clear-done/", tasks.clear_done, name="clear_done"),
    path("files/", files.index, name="files"),
    path("files/<int:pk>/", files.detail, name="file"),
    path("files/<int:pk>/download/", files.download, name="file_download"),
    path("files/<int:pk>/raw/", files.raw, name="file_raw"),
]
