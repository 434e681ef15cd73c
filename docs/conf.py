"""How the documentation is built: ``make docs``, with Sphinx, MyST and Furo."""

import django
from django.conf import settings

# The reference is made of docstrings, so modules that need Django are imported.
settings.configure(
    INSTALLED_APPS=[
        "beaker_regions.django",
        "beaker_regions.django.outbox",
        "beaker_regions.django.staff",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
    ]
)
django.setup()

project = "beaker-regions"
copyright = "the authors of beaker-regions"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "beaker-regions"
html_show_sphinx = False
html_copy_source = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# A signature shows the types as they are written in the code.
autodoc_typehints = "signature"
# Else a default such as os.environ would show its value: the environment of the build.
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
# Docstrings name things of Python, of Django and of the engine in single backquotes.
default_role = "code"
# Types in signatures: Python's, Django's and the engine's own have no page here.
nitpick_ignore_regex = [("py:(class|obj)", ".*")]
