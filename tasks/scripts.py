"""The scripts of pages: many small files to read, few requests to load.

`collectstatic` puts those of a page into one file, each in a block, so that its names stay its own.
They import nothing of each other.
"""

from collections.abc import Iterator
from typing import Any

from django.core.files.base import ContentFile
from whitenoise.storage import CompressedManifestStaticFilesStorage

_EVERY = ("forms", "messages")
BUNDLES = {
    "page": _EVERY,
    "list": (*_EVERY, "list", "add", "dates", "edit", "order", "undo", "keys", "drafts"),
}
"""The scripts of each bundle, in the order in which they run."""


def path_of(script: str) -> str:
    return f"tasks/{script}.js"


def path_of_bundle(name: str) -> str:
    return f"tasks/bundles/{name}.js"


class BundlingStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Static files with hashed names, compressed, and the bundles."""

    def post_process(self, paths: dict[str, Any], dry_run: bool = False, **options: Any) -> Any:
        if not dry_run:
            paths.update((path, (self, path)) for path in self._bundles())
        yield from super().post_process(paths, dry_run=dry_run, **options)

    def _bundles(self) -> Iterator[str]:
        for name, scripts in BUNDLES.items():
            path = path_of_bundle(name)
            self.delete(path)
            self.save(path, ContentFile("".join(map(self._block, scripts)).encode()))
            yield path

    def _block(self, script: str) -> str:
        with self.open(path_of(script)) as file:
            return f"// {script}.js\n{{\n{file.read().decode()}\n}}\n"
