"""A few files to try the pages of files with."""

import logging
from pathlib import Path

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from tasks.importing.folders import FolderSource
from tasks.importing.importer import Importer
from tasks.importing.reporting import LineReporter, Names
from tasks.importing.room import RegionFullError
from tasks.importing.sources import SourceError
from tasks.models import ImportedFile

logger = logging.getLogger(__name__)

SAMPLE = Path(__file__).parent.parent / "sample"


@require_POST
def import_sample(request: HttpRequest) -> HttpResponse:
    """Import the sample as long as there are no files; they are the same for all visitors."""
    if not ImportedFile.objects.exists():
        reporter = LineReporter(logger.debug, Names(logger.debug, logger.warning))
        try:
            summary = Importer(FolderSource(str(SAMPLE)), reporter).run()
        except (SourceError, RegionFullError):
            logger.exception("The sample cannot be imported")
            messages.error(request, "The sample cannot be imported; the log says why.")
        else:
            messages.success(request, f"Imported {summary.imported} files.")
    return HttpResponseRedirect(reverse("tasks:files"))
