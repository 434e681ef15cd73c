"""Fetching files over HTTP: whole, in the version that is meant, or not at all.

`urls` says which URLs are fetched, `client` makes one request, `versions` tells contents of a URL
apart, `trying` says when and how often a request is made again, and `downloads` continues what
breaks off.
"""
