"""How the project is served: urls, WSGI, ASGI."""
