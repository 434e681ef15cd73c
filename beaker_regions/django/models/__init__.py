"""Models declare the tags of their rows; every write of Django's ORM then invalidates them.

Django imports this package while it loads the models, so it imports none itself.
"""
