"""The tag that loads the scripts of a page."""

from django import template
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.templatetags.static import static
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from tasks.scripts import BUNDLES, path_of, path_of_bundle

register = template.Library()


@register.simple_tag
def scripts(bundle: str) -> SafeString:
    """Load a bundle; or its scripts one by one, where edited files are served at once."""
    path = path_of_bundle(bundle)
    is_collected = path in getattr(staticfiles_storage, "hashed_files", ())
    paths = [path] if is_collected and not settings.DEBUG else map(path_of, BUNDLES[bundle])
    return format_html_join(
        "\n", '<script type="module" src="{}"></script>', ((static(each),) for each in paths)
    )
