"""Fetching files over HTTP. A file arrives whole and in the expected version, or not at all.

`urls` checks URLs, `client` makes one request, `versions` has the versions of a URL's content,
`trying` repeats failed requests, and `downloads` continues broken transfers.
"""
